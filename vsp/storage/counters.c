/* SPDX-License-Identifier: Apache-2.0
 *
 * What each disk has done: counted by the threads that do it, told mgmtd about once a second while
 * there is something to tell. An idle machine costs nothing.
 */
#include "vsp/storage/storage.h"

#include <string.h>

#include "bus/log.h"
#include "proto/disk_counters.h"

#define EVERY_NS 1000000000ull

static void add(_Atomic uint64_t *n, uint64_t more)
{
	atomic_fetch_add_explicit(n, more, memory_order_relaxed);
}

void counters_ended(struct stor_unit *u, const struct request *r, uint64_t now_ns)
{
	struct unit_counters *n = u->counters;
	enum scsi_work work = scsi_work(&r->cmd);

	add(&n->latency_ns, now_ns - r->began_ns);
	if (r->cmd.status != SCSI_GOOD) {
		add(&n->errors, 1);
	} else if (work == SCSI_READS) {
		add(&n->reads, 1);
		add(&n->read_bytes, r->cmd.transferred);
	} else if (work == SCSI_WRITES) {
		add(&n->writes, 1);
		add(&n->written_bytes, r->cmd.transferred);
	} else if (work == SCSI_FLUSHES) {
		add(&n->flushes, 1);
	} else if (work == SCSI_UNMAPS || work == SCSI_FILLS) {
		add(&n->unmaps, 1);
	}
}

void counters_were_read(struct stor_unit *u, const struct reads_done *d)
{
	add(&u->counters->latency_ns, d->latency_ns);
	add(&u->counters->reads, d->reads);
	add(&u->counters->read_bytes, d->bytes);
}

static struct disk_counted counted(const struct stor_unit *u)
{
	const struct unit_counters *n = u->counters;

	return (struct disk_counted){
		.controller = u->disk.controller,
		.lun = u->disk.lun,
		.queue = u->outstanding,
		.reads = n->reads,
		.read_bytes = n->read_bytes,
		.writes = n->writes,
		.written_bytes = n->written_bytes,
		.flushes = n->flushes,
		.unmaps = n->unmaps,
		.errors = n->errors,
		.latency_ns = n->latency_ns,
		.limited = n->limited,
	};
}

/* Whether there is more to tell soon. What has no room in mgmtd's socket is told the next time. */
static bool tell(struct storage *s, const struct controller *c)
{
	static struct msg_event_disks m;
	bool busy = false;

	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_EVENT_DISKS, 0);
	m.controller = c->index;
	for (unsigned i = 0; i < CONTROL_LUNS; i++) {
		if (!c->unit[i])
			continue;
		m.disk[m.count++] = counted(c->unit[i]);
		busy |= c->unit[i]->outstanding != 0;
	}
	return process_event(&s->process, &m.h) != 0 || busy;
}

static void on_timer(void *arg)
{
	struct storage *s = arg;
	bool more = false;

	s->telling = false;
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++)
		if (s->controller[i].channel[0].ch)
			more |= tell(s, &s->controller[i]);
	if (more)
		counters_begun(s);
}

void counters_begun(struct storage *s)
{
	if (s->telling)
		return;
	if (!s->tell_timer)
		s->tell_timer = loop_add_timer(s->process.loop, on_timer, s);
	if (!s->tell_timer)
		return;
	loop_timer_set(s->tell_timer, monotonic_ns() + EVERY_NS);
	s->telling = true;
}
