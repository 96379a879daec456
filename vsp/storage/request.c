/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests and the threads that carry them out.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <string.h>

#include "bus/log.h"

#define STACK_BYTES (512u << 10)

/* Main has a stock of its own, and fills it with all that there is when it is empty. */
struct request *request_get(struct storage *s)
{
	struct request *r;

	if (!s->spare) {
		pthread_mutex_lock(&s->pool.lock);
		s->spare = s->pool.free;
		s->pool.free = NULL;
		pthread_mutex_unlock(&s->pool.lock);
	}
	r = s->spare;
	if (r)
		s->spare = r->next;
	return r;
}

void request_put_main(struct storage *s, struct request *r)
{
	r->next = s->spare;
	s->spare = r;
}

void request_put(struct storage *s, struct request *r)
{
	pthread_mutex_lock(&s->pool.lock);
	r->next = s->pool.free;
	s->pool.free = r;
	pthread_mutex_unlock(&s->pool.lock);
}

void request_reserve(struct storage *s, struct request *r)
{
	struct request **at = &s->pool.free;

	pthread_mutex_lock(&s->pool.lock);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	pthread_mutex_unlock(&s->pool.lock);
}

void request_work(struct storage *s, struct request *r)
{
	r->next = NULL;
	pthread_mutex_lock(&s->pool.lock);
	*s->pool.last = r;
	s->pool.last = &r->next;
	pthread_cond_signal(&s->pool.work);
	pthread_mutex_unlock(&s->pool.lock);
}

/* One that need not be durable. */
static bool is_quick_write(const struct request *r)
{
	return scsi_work(&r->cmd) == SCSI_WRITES && !scsi_writes_through(&r->cmd) &&
	       r->cmd.data_bytes <= INLINE_BYTES && (!r->unit || !r->unit->scsi.write_through);
}

/* The outcome as the guest's driver expects it. */
void request_answer(struct request *r)
{
	struct vstor_srb *srb = &r->packet.srb;
	bool failed = r->cmd.status == SCSI_CHECK_CONDITION;
	uint8_t room = srb->sense_bytes < VSTOR_SENSE_BYTES ? srb->sense_bytes : VSTOR_SENSE_BYTES;

	r->packet.operation = VSTOR_COMPLETE_IO;
	r->packet.flags = 0;
	r->packet.status = VSTOR_OK;
	srb->scsi_status = r->cmd.status;
	srb->srb_status = r->cmd.status == SCSI_GOOD ? SRB_SUCCESS : SRB_ERROR;
	srb->data_bytes = r->cmd.transferred;
	srb->sense_bytes = 0;
	if (!failed) {
		/* A status without sense (BUSY, RESERVATION CONFLICT, TASK SET FULL): Linux takes an
		 * error that has no sense for the host adapter's, unless it is said to have some. */
		if (r->cmd.status != SCSI_GOOD)
			srb->srb_status |= SRB_AUTOSENSE_VALID;
		return;
	}
	if (room > SCSI_SENSE_BYTES)
		room = SCSI_SENSE_BYTES;
	memset(srb->sense, 0, sizeof(srb->sense));
	memcpy(srb->sense, r->cmd.sense, room);
	srb->sense_bytes = room;
	if (room)
		srb->srb_status |= SRB_AUTOSENSE_VALID;
}

void request_ended(struct storage *s, struct request *r, uint64_t now_ns)
{
	if (r->packet.srb.data_in == 1 && r->cmd.transferred)
		guest_ranges_wrote(&s->process.gm, r->cmd.iov, r->cmd.iovcnt);
	if (r->unit)
		counters_ended(r->unit, r, now_ns);
	request_answer(r);
	/* No such unit: that, not sense, is what makes a driver forget a disk. */
	if (!r->unit && r->cmd.status != SCSI_GOOD) {
		r->packet.srb.srb_status = SRB_INVALID_LUN;
		r->packet.srb.scsi_status = 0;
	}
}

/* False: it would have to wait, and was told not to. */
static bool carry_out(struct storage *s, struct request *r, bool nowait)
{
	enum scsi_result result = SCSI_DONE;

	r->cmd.nowait = nowait;
	if (!r->unit)
		scsi_no_unit(&r->cmd);
	else
		result = scsi_execute(&r->unit->scsi, &r->cmd);
	if (result == SCSI_AGAIN)
		return false;
	if (result == SCSI_NO_SPACE) {
		space_hold(s, r);
		return true;
	}
	request_ended(s, r, monotonic_ns());
	storvsp_complete(s, r);
	return true;
}

/* A write cannot be told not to wait on every file system: if one was slow, the next few go to the
 * pool. */
static bool write_here(struct storage *s, struct request *r)
{
	uint64_t began;

	if (s->pool_only) {
		s->pool_only--;
		return false;
	}
	began = monotonic_ns();
	carry_out(s, r, false);
	if (monotonic_ns() - began <= INLINE_NS) {
		s->slow /= 2;
		return true;
	}
	s->slow = s->slow * 2 + 2 < INLINE_PAUSE ? s->slow * 2 + 2 : INLINE_PAUSE;
	s->pool_only = s->slow;
	return true;
}

/* Carries it out in this thread if that is quick. */
static bool here(struct storage *s, struct request *r)
{
	if (scsi_work(&r->cmd) == SCSI_READS)
		return carry_out(s, r, true);
	return is_quick_write(r) && write_here(s, r);
}

void request_submit(struct storage *s, struct request *r)
{
	if (reads_take(s, r) || (r->cmd.data_bytes <= SMALL_BYTES && here(s, r)))
		return;
	if (s->held)
		request_work(s, s->held);
	s->held = r;
}

void request_flush(struct storage *s)
{
	struct request *r = s->held;

	reads_flush(s);
	s->held = NULL;
	if (r && (r->cmd.data_bytes <= SMALL_BYTES || !here(s, r)))
		request_work(s, r);
}

static void *pool_thread(void *arg)
{
	struct storage *s = arg;
	struct pool *p = &s->pool;

	pthread_mutex_lock(&p->lock);
	p->started++;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (;;) {
		struct request *r;

		pthread_mutex_lock(&p->lock);
		while (!p->first)
			pthread_cond_wait(&p->work, &p->lock);
		r = p->first;
		p->first = r->next;
		if (!p->first)
			p->last = &p->first;
		pthread_mutex_unlock(&p->lock);
		if (r->work)
			r->work(s);
		else
			carry_out(s, r, false);
	}
	return NULL;
}

static int start_all(struct storage *s, void *(*fn)(void *), unsigned *started)
{
	pthread_attr_t attr;
	int r = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (*started = 0; *started < POOL_THREADS; ++*started) {
		r = pthread_create(&s->pool.thread[*started], &attr, fn, s);
		if (r)
			break;
	}
	pthread_attr_destroy(&attr);
	return -r;
}

static void *rehearsal(void *arg)
{
	struct pool *p = &((struct storage *)arg)->pool;

	pthread_mutex_lock(&p->lock);
	while (!p->rehearsal_over)
		pthread_cond_wait(&p->work, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_rehearse(struct storage *s)
{
	struct pool *p = &s->pool;
	unsigned n;
	int r;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->last = &p->first;
	space_init(s);
	limits_init(s);
	keep_init(s);
	for (unsigned i = 0; i < REQUESTS; i++) {
		s->request[i].next = p->free;
		p->free = &s->request[i];
	}
	r = start_all(s, rehearsal, &n);
	pthread_mutex_lock(&p->lock);
	p->rehearsal_over = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	while (n)
		pthread_join(p->thread[--n], NULL);
	return r;
}

int pool_start(struct storage *s)
{
	struct pool *p = &s->pool;
	unsigned n;
	int r = start_all(s, pool_thread, &n);

	/* What glibc does at the start of a thread is forbidden soon. */
	pthread_mutex_lock(&p->lock);
	while (p->started < n)
		pthread_cond_wait(&p->work, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return r;
}
