/* SPDX-License-Identifier: Apache-2.0
 *
 * The storage protocol: what a packet, in private memory, asks for. What it names (LUN, ranges,
 * lengths) is checked here, what the command block says in scsi/.
 */
#include "vsp/storage/storage.h"

#include <string.h>

/* ---- initialization ---- */

static uint16_t max_sub_channels(const struct storage *s)
{
	return s->process.config.vcpus - 1 < SUB_CHANNELS ? s->process.config.vcpus - 1 : SUB_CHANNELS;
}

static void query_version(struct controller *c, struct request *r)
{
	uint16_t v = r->packet.version;
	bool known = v == VSTOR_V5_1 || v == VSTOR_V6_0 || v == VSTOR_V6_2;

	if (c->state != PROTO_BEGUN && c->state != PROTO_VERSION) {
		storvsp_answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	if (known) {
		c->version = v;
		c->state = PROTO_VERSION;
	}
	storvsp_answer_status(r, known ? VSTOR_OK : VSTOR_REVISION_MISMATCH);
}

static void query_properties(struct controller *c, struct request *r)
{
	uint16_t subs = max_sub_channels(c->storage);

	if (c->state != PROTO_VERSION) {
		storvsp_answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	memset(r->packet.bytes, 0, sizeof(r->packet.bytes));
	r->packet.properties.max_channels = subs;
	r->packet.properties.flags = subs ? VSTOR_MULTI_CHANNEL : 0;
	r->packet.properties.max_transfer = VSTOR_MAX_TRANSFER;
	storvsp_answer_status(r, VSTOR_OK);
}

static void end_initialization(struct controller *c, struct request *r)
{
	if (c->state != PROTO_VERSION) {
		storvsp_answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	c->state = PROTO_READY;
	c->announce = false; /* it looks anyway */
	storvsp_answer_status(r, VSTOR_OK);
}

static void create_sub_channels(struct controller *c, struct request *r)
{
	uint16_t n = r->packet.sub_channels;

	if (c->state != PROTO_READY || n > max_sub_channels(c->storage)) {
		storvsp_answer_status(r, c->state != PROTO_READY ? VSTOR_INVALID_STATE
							 : VSTOR_INVALID_PARAMETER);
		return;
	}
	for (unsigned i = 1; i <= n; i++)
		if (!c->channel[i].ch)
			storvsp_offer_channel(c, i);
	storvsp_answer_status(r, VSTOR_OK);
}

/* ---- commands ---- */

static void srb_failed(struct request *r, uint8_t srb_status)
{
	r->packet.srb.srb_status = srb_status;
	r->packet.srb.scsi_status = 0;
	r->packet.srb.data_bytes = 0;
	storvsp_answer_status(r, VSTOR_OK);
}

/* The data area is what the packet's ranges describe, but no more than the request says. */
static int map_data(struct request *r, const struct guestmem *gm, const void *header,
		    size_t header_bytes)
{
	uint64_t total = 0, want = r->packet.srb.data_bytes;
	int n = 0;

	r->cmd.data_bytes = 0;
	r->cmd.iov = r->iov;
	r->cmd.iovcnt = 0;
	if (header_bytes) {
		n = guest_ranges(gm, header, header_bytes, r->iov, REQUEST_IOVS, &total);
		if (n < 0)
			return n;
	}
	for (int i = 0; i < n && r->cmd.data_bytes < want; i++) {
		if (r->iov[i].iov_len > want - r->cmd.data_bytes)
			r->iov[i].iov_len = want - r->cmd.data_bytes;
		r->cmd.data_bytes += r->iov[i].iov_len;
		r->cmd.iovcnt++;
	}
	return 0;
}

static void execute(struct controller *c, struct request *r, const void *header,
		    size_t header_bytes)
{
	struct storage *s = c->storage;
	const struct vstor_srb *srb = &r->packet.srb;
	bool here = srb->path == 0 && srb->target == 0;

	if (c->state != PROTO_READY) {
		storvsp_answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	if (srb->cdb_bytes > sizeof(srb->cdb) || map_data(r, &s->process.gm, header, header_bytes)) {
		srb_failed(r, SRB_INVALID_REQUEST);
		return;
	}
	memset(r->cmd.cdb, 0, sizeof(r->cmd.cdb));
	memcpy(r->cmd.cdb, srb->cdb, srb->cdb_bytes);
	r->cmd.cdb_bytes = srb->cdb_bytes;
	r->cmd.luns = here ? c->luns : 0;
	r->began_ns = s->now_ns;
	counters_begun(s);
	if (here && srb->lun < CONTROL_LUNS && !storvsp_address(c, r, srb->lun))
		return;
	request_submit(s, r);
}

void storvsp_dispatch(struct controller *c, struct request *r, const void *header,
		      size_t header_bytes)
{
	bool first = r->channel == &c->channel[0];

	switch (r->packet.operation) {
	case VSTOR_EXECUTE_SRB:
		execute(c, r, header, header_bytes);
		return;
	case VSTOR_RESET_LUN:
	case VSTOR_RESET_ADAPTER:
	case VSTOR_RESET_BUS: /* what is under way ends by itself; the guest waits for it */
		storvsp_answer_status(r, VSTOR_OK);
		return;
	}
	if (!first) { /* the rest is for a controller's first channel */
		storvsp_answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	switch (r->packet.operation) {
	case VSTOR_BEGIN_INITIALIZATION:
		c->state = PROTO_BEGUN;
		storvsp_answer_status(r, VSTOR_OK);
		break;
	case VSTOR_QUERY_PROTOCOL_VERSION:
		query_version(c, r);
		break;
	case VSTOR_QUERY_PROPERTIES:
		query_properties(c, r);
		break;
	case VSTOR_END_INITIALIZATION:
		end_initialization(c, r);
		break;
	case VSTOR_CREATE_SUB_CHANNELS:
		create_sub_channels(c, r);
		break;
	default:
		storvsp_answer_status(r, VSTOR_NOT_SUPPORTED);
	}
}
