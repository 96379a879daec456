/* SPDX-License-Identifier: Apache-2.0
 *
 * Consistent backup: a program in the guest (Linux: hv_vss_daemon) freezes its file systems, so that
 * a copy of its disks needs no repair, until it is told to thaw them.
 *
 *   thawed ──services_freeze()──► asking ──► freezing ──► frozen ──services_thaw()──► thawing ──► thawed
 *
 * The guest is asked first whether such a program is there. A thaw that comes before the freeze has
 * been answered is sent after it: one request at a time. One that has no room is tried again at the
 * next tick: whatever is frozen is told to thaw.
 */
#include <errno.h>

#include "vsp/integration/services.h"

static int ask(struct service *s, enum ic_vss_operation operation)
{
	struct ic_vss m = {.operation = operation};

	return service_ask(s, IC_VSS, &m, sizeof(m));
}

static void set(struct service *s, enum freeze_state state)
{
	struct freeze *f = &s->all->freeze;
	bool frozen = state == FREEZE_FROZEN || state == FREEZE_THAWING;

	f->state = state;
	if (f->frozen == frozen)
		return;
	f->frozen = frozen;
	s->all->ops->changed(s->all->arg);
}

static void freeze_done(struct service *s, int error)
{
	set(s, error ? FREEZE_THAWED : FREEZE_FROZEN);
	s->all->ops->freeze_done(s->all->arg, error);
}

static void thaw_done(struct service *s, int error)
{
	s->all->freeze.thaw_due = false;
	set(s, FREEZE_THAWED);
	s->all->ops->thaw_done(s->all->arg, error);
}

static void thaw(struct service *s)
{
	if (s->all->freeze.state != FREEZE_FROZEN || s->asked || ask(s, IC_VSS_THAW))
		return; /* the next tick */
	s->all->freeze.thaw_due = false;
	set(s, FREEZE_THAWING);
}

void freeze_tick(struct service *s)
{
	if (s->all->freeze.thaw_due)
		thaw(s);
}

int services_freeze(struct services *all)
{
	struct service *s = &all->service[SERVICE_FREEZE];

	if (s->state != SERVICE_READY)
		return -ENOTCONN;
	if (all->freeze.state != FREEZE_THAWED)
		return -EALREADY;
	if (ask(s, IC_VSS_HOT_BACKUP))
		return -EAGAIN;
	set(s, FREEZE_ASKING);
	return 0;
}

int services_thaw(struct services *all)
{
	struct service *s = &all->service[SERVICE_FREEZE];

	if (all->freeze.state == FREEZE_THAWED)
		return -EALREADY;
	all->freeze.thaw_due = all->freeze.state != FREEZE_THAWING;
	thaw(s);
	return 0;
}

static void answer(struct service *s, uint32_t status, const void *data)
{
	struct freeze *f = &s->all->freeze;

	switch (f->state) {
	case FREEZE_ASKING:
		if (status || f->thaw_due)
			freeze_done(s, status ? -ENOTCONN : -ECANCELED);
		else if (ask(s, IC_VSS_FREEZE))
			freeze_done(s, -EAGAIN);
		else
			set(s, FREEZE_FREEZING);
		if (f->state == FREEZE_THAWED && f->thaw_due)
			thaw_done(s, 0);
		break;
	case FREEZE_FREEZING:
		freeze_done(s, status ? -EREMOTEIO : 0);
		if (status && f->thaw_due)
			thaw_done(s, 0);
		else if (f->thaw_due)
			thaw(s);
		break;
	case FREEZE_THAWING:
		thaw_done(s, status ? -EREMOTEIO : 0);
		break;
	case FREEZE_THAWED:
	case FREEZE_FROZEN:
	default:
		break;
	}
}

void freeze_reset(struct service *s)
{
	enum freeze_state was = s->all->freeze.state;
	bool thaw_waits = s->all->freeze.thaw_due || was == FREEZE_THAWING;

	if (was == FREEZE_ASKING || was == FREEZE_FREEZING)
		freeze_done(s, -ECONNRESET);
	set(s, FREEZE_THAWED);
	if (thaw_waits)
		thaw_done(s, -ECONNRESET);
}

const struct service_type freeze_type = {
	.name = "freeze and thaw",
	.interface = {{0x29, 0x2e, 0xfa, 0x35, 0x23, 0xea, 0x36, 0x42, 0x96, 0xae, 0x3a, 0x6e, 0xba,
		       0xcb, 0xa4, 0x40}},
	.instance = {{0x40, 0xee, 0x50, 0x24, 0xbf, 0x33, 0xbd, 0x4f, 0x89, 0x2e, 0x9f, 0xb0, 0x6e,
		      0x92, 0x14, 0xcf}},
	.message = IC_VSS,
	.version = {IC_VERSION(5, 0)},
	.minimum_bytes = sizeof(struct ic_vss),
	.closed = freeze_reset,
	.answer = answer,
};
