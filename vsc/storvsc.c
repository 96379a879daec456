/* SPDX-License-Identifier: Apache-2.0 */
#include "vsc/storvsc.h"

#include <errno.h>
#include <string.h>

static int send(struct storvsc *s, uint16_t type, uint64_t id, const struct iovec *iov, int n,
		uint32_t header_bytes)
{
	bool signal = false;
	int err = ring_write(&s->out, type, RING_FLAG_COMPLETION_REQUESTED, id, iov, n,
			     header_bytes, &signal);

	if (signal)
		s->signal(s->arg);
	return err;
}

int storvsc_send(struct storvsc *s, const struct vstor_packet *packet, uint64_t id)
{
	const struct iovec iov = {(void *)packet, sizeof(*packet)};

	return send(s, RING_INBAND, id, &iov, 1, 0);
}

int storvsc_submit(struct storvsc *s, const struct storvsc_io *io)
{
	struct {
		uint32_t reserved, ranges;
		uint32_t bytes, offset;
	} header = {0, 1, io->bytes, io->offset};
	struct vstor_packet p = {.operation = VSTOR_EXECUTE_SRB, .flags = 1};
	const struct iovec iov[] = {{&header, sizeof(header)},
				    {(void *)io->pages, io->npages * sizeof(*io->pages)},
				    {&p, sizeof(p)}};

	if (io->npages > STORVSC_PAGES_MAX || io->cdb_bytes > sizeof(io->cdb))
		return -EINVAL;
	p.srb.length = sizeof(p.srb);
	p.srb.path = io->path;
	p.srb.target = io->target;
	p.srb.lun = io->lun;
	p.srb.cdb_bytes = io->cdb_bytes;
	p.srb.sense_bytes = VSTOR_SENSE_BYTES;
	p.srb.data_in = io->bytes ? io->from_device : 2;
	p.srb.data_bytes = io->bytes;
	memcpy(p.srb.cdb, io->cdb, io->cdb_bytes);
	if (!io->bytes)
		return storvsc_send(s, &p, io->id);
	return send(s, RING_GPA_DIRECT, io->id, iov, 3, sizeof(header) + iov[1].iov_len);
}

int storvsc_receive(struct storvsc *s, struct vstor_packet *answer, uint64_t *id)
{
	struct ring_packet pkt;
	bool signal = false;
	ptrdiff_t n = ring_read(&s->in, &pkt, answer, sizeof(*answer), &signal);

	if (signal)
		s->signal(s->arg);
	if (n < 0)
		return (int)n;
	*id = pkt.transaction_id;
	return n == sizeof(*answer) && !pkt.header_bytes ? 0 : -EPROTO;
}
