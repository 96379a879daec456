/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads of one run of one file, which the kernel carries out by itself: several are handed over with
 * one system call. Those that the page cache has are complete when it returns; the others complete
 * later, in any number, without a thread that waits. A read that comes back short or failed is left
 * to the pool, which does it again in the ordinary way: what is to be said of it is said there.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bus/log.h"

/* What is handed over, and so answered, together at most. */
#define TOGETHER_BYTES 262144u

void reads_init(struct storage *s)
{
	int err = uring_open(&s->uring, REQUESTS);

	if (err)
		log_note("no io_uring (%s): threads read the images", strerror(-err));
}

/* The outcome of the first reads of the list, which are one unit's; the rest of it. What is counted of
 * each is counted of all together: each count is a locked instruction. */
static struct request *were_read(struct storage *s, struct request *r)
{
	struct stor_unit *u = r->unit;
	struct reads_done done = {0};

	for (; r && r->unit == u; r = r->next) {
		scsi_was_read(&r->cmd);
		guest_ranges_wrote(&s->process.gm, r->cmd.iov, r->cmd.iovcnt);
		request_answer(r);
		done.reads++;
		done.bytes += r->cmd.data_bytes;
		done.latency_ns += s->now_ns - r->began_ns;
	}
	disk_was_read(u->scsi.disk, done.reads, done.bytes);
	counters_were_read(u, &done);
	return r;
}

/* Answers what has completed. */
static bool reap(struct storage *s)
{
	struct request *first = NULL, **last = &first, *r;
	bool any = false;
	int result;

	while ((r = uring_next(&s->uring, &result))) {
		any = true;
		if (result < 0 || (size_t)result != r->cmd.data_bytes) {
			request_work(s, r);
			continue;
		}
		*last = r;
		last = &r->next;
	}
	*last = NULL;
	if (!first)
		return any;
	s->now_ns = monotonic_ns();
	for (r = first; r; r = were_read(s, r))
		;
	storvsp_complete_all(s, first);
	return true;
}

bool reads_take(struct storage *s, struct request *r)
{
	struct disk_extent where;

	if (s->uring.fd < 0 || !r->unit || !scsi_just_reads(&r->unit->scsi, &r->cmd, &where))
		return false;
	uring_read(&s->uring, where.fd, r->cmd.iov, r->cmd.iovcnt, where.file_offset, r);
	s->read_bytes += r->cmd.data_bytes;
	if (s->read_bytes >= TOGETHER_BYTES)
		reads_flush(s);
	return true;
}

void reads_flush(struct storage *s)
{
	struct request *r;

	if (!s->read_bytes)
		return;
	s->read_bytes = 0;
	uring_submit(&s->uring);
	while ((r = uring_untaken(&s->uring)))
		request_work(s, r);
	reap(s);
}

/* ---- what completes later ---- */

static bool poll_reads(void *arg)
{
	return reap(arg);
}

static bool arm_reads(void *arg, bool sleep)
{
	struct storage *s = arg;

	return uring_arm(&s->uring, sleep);
}

static void on_event(void *arg, uint32_t events)
{
	struct storage *s = arg;
	uint64_t count;

	if (read(s->uring.event, &count, sizeof(count)) == sizeof(count))
		reap(s);
}

int reads_watch(struct storage *s)
{
	if (s->uring.fd < 0)
		return 0;
	if (!loop_add_fd(s->process.loop, s->uring.event, EPOLLIN, on_event, s) ||
	    !loop_add_poll(s->process.loop, poll_reads, arm_reads, s))
		return -errno;
	return 0;
}
