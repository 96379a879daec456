/* SPDX-License-Identifier: Apache-2.0
 *
 * Units at their places on the controllers, and what the guest hears of them.
 */
#include "vsp/storage/storage.h"

#include <errno.h>

/* Whom a command is for. */
bool storvsp_address(struct controller *c, struct request *r, unsigned lun)
{
	struct stor_unit *u = r->unit = c->unit[lun];

	if (!u) {
		c->vanished &= ~(1ull << lun); /* it is being told */
		return true;
	}
	if (!(c->known & 1ull << lun)) {
		c->known |= 1ull << lun;
		inflight_controller(c);
	}
	if (u->frozen) {
		r->next = NULL;
		*u->last = r;
		u->last = &r->next;
		return false;
	}
	if (!limit_admit(c->storage, u, r))
		return false;
	atomic_fetch_add(&u->outstanding, 1);
	return true;
}

void storvsp_thaw(struct storage *s, struct stor_unit *u)
{
	struct request *r = u->held;

	u->frozen = false;
	u->held = NULL;
	while (r) {
		struct request *next = r->next;

		if (limit_admit(s, u, r)) {
			atomic_fetch_add(&u->outstanding, 1);
			request_submit(s, r);
		}
		r = next;
	}
	request_flush(s);
}

/* The guest is to look at its units again. */
void storvsp_announce(struct controller *c)
{
	const struct vstor_packet p = {.operation = VSTOR_ENUMERATE_BUS};
	struct provider_channel *ch = c->channel[0].ch;

	if (c->announce && c->storage->running && c->state == PROTO_READY && ch &&
	    ch->state == PROVIDER_OPEN_NOW)
		c->announce = provider_send(ch, RING_INBAND, 0, &p, sizeof(p)) == -EAGAIN;
}

void storvsp_install(struct storage *s, struct stor_unit *u)
{
	struct controller *c = &s->controller[u->disk.controller];

	u->used = true;
	c->unit[u->disk.lun] = u;
	c->luns |= 1ull << u->disk.lun;
	if (c->storage && !s->to_come) { /* one that has come later */
		inflight_controller(c);
		inflight_unit(s, u);
	}
}

void storvsp_remove(struct storage *s, struct stor_unit *u)
{
	struct controller *c = &s->controller[u->disk.controller];
	uint64_t bit = 1ull << u->disk.lun;

	c->unit[u->disk.lun] = NULL;
	c->luns &= ~bit;
	c->vanished |= c->known & bit;
	c->known &= ~bit;
	inflight_controller(c);
}

/* CD/DVD drives are not told: drivers take each attention of theirs for another medium. */
void storvsp_changed(struct storage *s, const struct stor_unit *u)
{
	struct controller *c = &s->controller[u->disk.controller];

	for (unsigned i = 0; i < CONTROL_LUNS; i++)
		if (c->unit[i] && c->unit[i] != u && c->unit[i]->scsi.kind == SCSI_DISK)
			scsi_attention(&c->unit[i]->scsi, ATTENTION_LUNS_CHANGED);
	storvsp_look(c);
}

void storvsp_look(struct controller *c)
{
	c->announce = true;
	if (c->channel[0].ch)
		storvsp_announce(c);
	else
		storvsp_offer_channel(c, 0);
}
