/* SPDX-License-Identifier: Apache-2.0
 *
 * PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16; the rules: 5.9).
 */
#include "vsp/storage/scsi/internal.h"
#include "vsp/storage/scsi/reserve_internal.h"

#include <errno.h>
#include <string.h>

enum { READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS };
enum {
	REGISTER,
	RESERVE,
	RELEASE,
	CLEAR,
	PREEMPT,
	PREEMPT_AND_ABORT,
	REGISTER_AND_IGNORE,
	REGISTER_AND_MOVE,
};
enum { SCOPE_LU = 0, PARAMETERS = 24, TRANSPORT_ID = 24, STATUS = 24 + TRANSPORT_ID };
#define PARAMETER_SPEC_I_PT 0x08
#define PARAMETER_APTPL     0x01
#define PARAMETER_UNREG     0x02 /* of REGISTER AND MOVE */
#define SRP_PORT            0x04 /* protocol identifier of our TransportIDs */
#define RELATIVE_PORT       1

/* ---- IN ---- */

static size_t read_keys(const struct reserve_state *st, uint8_t *d)
{
	size_t n = 8;

	for (unsigned i = 0; i < RESERVE_SEATS; i++) {
		if (!st->seat[i].key)
			continue;
		put64(d + n, st->seat[i].key);
		n += 8;
	}
	return n;
}

static size_t read_reservation(const struct reserve_state *st, uint8_t *d)
{
	if (st->type == RESERVE_NONE)
		return 8;
	if (!reserve_all_registrants(st->type))
		put64(d + 8, st->seat[st->holder].key);
	d[21] = SCOPE_LU << 4 | st->type;
	return 24;
}

/* A descriptor for each registered machine, with a TransportID of the SRP form, whose 16-byte port
 * identifier is the machine's UUID (SPC-4 7.6.4.6). */
static size_t read_full_status(const struct reserve_state *st, uint8_t *d)
{
	size_t n = 8;

	for (unsigned i = 0; i < RESERVE_SEATS; i++) {
		uint8_t *p = d + n;

		if (!st->seat[i].key)
			continue;
		put64(p, st->seat[i].key);
		if (st->type && (reserve_all_registrants(st->type) || st->holder == i)) {
			p[12] = 0x01; /* R_HOLDER */
			p[13] = SCOPE_LU << 4 | st->type;
		}
		put16(p + 18, RELATIVE_PORT);
		put32(p + 20, TRANSPORT_ID);
		p[24] = SRP_PORT;
		memcpy(p + 32, st->seat[i].owner, 16);
		n += STATUS;
	}
	return n;
}

#define PTPL_C 0x01 /* can survive power loss, */
#define PTPL_A 0x01 /* and does, as it is now */

/* All six types. */
static void report_capabilities(const struct reserve *r, const struct reserve_state *st,
				struct scsi_command *cmd)
{
	uint8_t d[8] = {0, sizeof(d), r->keep ? PTPL_C : 0, 0x80 | (st->kept ? PTPL_A : 0), 0xea, 0x01};

	scsi_reply(cmd, d, sizeof(d), be16(&cmd->cdb[7]));
}

void reserve_in(struct reserve *r, struct scsi_command *cmd)
{
	uint8_t d[8 + RESERVE_SEATS * STATUS] = {0};
	unsigned action = cmd->cdb[1] & 0x1f;
	struct reserve_state st;
	size_t n;

	if (action > READ_FULL_STATUS) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	if (reserve_read(r, &st)) {
		scsi_fail(cmd, SENSE_INTERNAL_FAILURE);
		return;
	}
	if (action == REPORT_CAPABILITIES) {
		report_capabilities(r, &st, cmd);
		return;
	}
	n = action == READ_KEYS          ? read_keys(&st, d)
	    : action == READ_RESERVATION ? read_reservation(&st, d)
					 : read_full_status(&st, d);
	put32(d, st.generation);
	put32(d + 4, n - 8);
	scsi_reply(cmd, d, n, be16(&cmd->cdb[7]));
}

/* ---- OUT: each changes st, a private copy, and says what becomes of the command ---- */

struct out {
	struct reserve *r;
	struct scsi_command *cmd;
	struct reserve_state *st;
	uint64_t key, service_key;
	unsigned type;
	bool keep;            /* the disk's state is to survive power loss from now on: of a registration */
	bool unregister;      /* of REGISTER AND MOVE: who moves it leaves, */
	uint8_t to_whom[16];  /* and who gets it */
	uint32_t tell[ATTENTIONS]; /* seats, by attention */
	uint32_t drain;            /* seats whose commands must have ended */
};

static void conflict(struct out *o)
{
	o->cmd->status = SCSI_RESERVATION_CONFLICT;
}

static bool holds(const struct reserve_state *st, unsigned seat)
{
	return st->type != RESERVE_NONE &&
	       (reserve_all_registrants(st->type) ? st->seat[seat].key != 0 : st->holder == seat);
}

static uint32_t registered(const struct reserve_state *st)
{
	uint32_t seats = 0;

	for (unsigned i = 0; i < RESERVE_SEATS; i++)
		seats |= st->seat[i].key ? 1u << i : 0;
	return seats;
}

/* The reservation goes; those that it let write with it are told. */
static void release(struct out *o)
{
	if (o->st->type >= RESERVE_WRITE_EXCLUSIVE_REGISTRANTS)
		o->tell[ATTENTION_RESERVATIONS_RELEASED] |= registered(o->st);
	o->st->type = RESERVE_NONE;
	o->st->holder = 0;
}

static void unregister(struct out *o, unsigned seat)
{
	bool held = holds(o->st, seat);

	o->st->seat[seat].key = 0;
	if (held && (!reserve_all_registrants(o->st->type) || !registered(o->st)))
		release(o);
}

static void do_register(struct out *o, bool ignore)
{
	unsigned seat = o->r->seat;

	if (!ignore && o->key != o->st->seat[seat].key) {
		conflict(o);
		return;
	}
	if (o->service_key)
		o->st->seat[seat].key = o->service_key;
	else if (o->st->seat[seat].key)
		unregister(o, seat);
	o->st->kept = o->keep;
	o->st->generation++;
}

static void do_reserve(struct out *o)
{
	if (o->st->type == RESERVE_NONE) {
		o->st->type = (uint8_t)o->type;
		o->st->holder = (uint8_t)o->r->seat;
	} else if (!holds(o->st, o->r->seat) || o->st->type != o->type) {
		conflict(o);
	}
}

static void do_release(struct out *o)
{
	if (!holds(o->st, o->r->seat))
		return;
	if (o->st->type != o->type)
		scsi_fail(o->cmd, SENSE_INVALID_RELEASE);
	else
		release(o);
}

static void do_clear(struct out *o)
{
	o->tell[ATTENTION_RESERVATIONS_PREEMPTED] |= registered(o->st);
	for (unsigned i = 0; i < RESERVE_SEATS; i++)
		o->st->seat[i].key = 0;
	o->st->type = RESERVE_NONE;
	o->st->holder = 0;
	o->st->generation++;
}

/* All registrations with that key (any: all) but our own; which seats those were. */
static uint32_t remove_others(struct out *o, bool any)
{
	uint32_t gone = 0;

	for (unsigned i = 0; i < RESERVE_SEATS; i++) {
		struct reserve_seat *s = &o->st->seat[i];

		if (i == o->r->seat || !s->key || (!any && s->key != o->service_key))
			continue;
		s->key = 0;
		gone |= 1u << i;
	}
	o->tell[ATTENTION_REGISTRATIONS_PREEMPTED] |= gone;
	o->drain |= gone;
	return gone;
}

/* Takes the reservation: the others' registrations go, and it is ours, of a type of our choice. */
static void take_over(struct out *o, bool any)
{
	unsigned old = o->st->type;

	if (o->cmd->cdb[2] >> 4 != SCOPE_LU || !reserve_type_ok(o->type)) {
		scsi_fail(o->cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	remove_others(o, any);
	if (old != o->type)
		o->tell[ATTENTION_RESERVATIONS_RELEASED] |= registered(o->st);
	o->st->type = (uint8_t)o->type;
	o->st->holder = (uint8_t)o->r->seat;
	o->st->generation++;
}

static void do_preempt(struct out *o)
{
	const struct reserve_state *st = o->st;
	bool all = reserve_all_registrants(st->type);
	uint64_t own = st->seat[o->r->seat].key;

	if (all && !o->service_key) {
		take_over(o, true);
	} else if (st->type && !all && o->service_key == st->seat[st->holder].key) {
		take_over(o, false);
	} else if (!o->service_key) {
		scsi_fail(o->cmd, SENSE_INVALID_PARAMETER);
	} else if (remove_others(o, false)) {
		o->st->generation++;
	} else if (o->service_key != own) {
		conflict(o);
	}
}

static unsigned seat_of(const struct reserve_state *st, const uint8_t owner[16])
{
	static const uint8_t nobody[16];
	unsigned seat = 0;

	if (!memcmp(owner, nobody, sizeof(nobody)))
		return RESERVE_SEATS;
	while (seat < RESERVE_SEATS && memcmp(st->seat[seat].owner, owner, 16))
		seat++;
	return seat;
}

/* The holder gives the reservation to another machine, registered with this key from now on (SPC-4
 * 5.9.8). That must have a seat: it shares the disk, or did. */
static void do_move(struct out *o)
{
	unsigned own = o->r->seat, to = seat_of(o->st, o->to_whom);

	if (o->st->type == RESERVE_NONE) {
		scsi_fail(o->cmd, SENSE_INVALID_FIELD_IN_CDB);
	} else if (reserve_all_registrants(o->st->type) || !holds(o->st, own)) {
		conflict(o);
	} else if (!o->service_key || to == own || to == RESERVE_SEATS) {
		scsi_fail(o->cmd, SENSE_INVALID_PARAMETER);
	} else {
		o->st->seat[to].key = o->service_key;
		o->st->holder = (uint8_t)to;
		if (o->unregister)
			o->st->seat[own].key = 0;
		o->st->kept = o->keep;
		o->st->generation++;
	}
}

static void act(struct out *o, unsigned action)
{
	bool reg = action == REGISTER || action == REGISTER_AND_IGNORE;
	uint64_t own = o->st->seat[o->r->seat].key;

	if (!reg && (!own || o->key != own)) {
		conflict(o);
		return;
	}
	switch (action) {
	case REGISTER:
	case REGISTER_AND_IGNORE:
		do_register(o, action == REGISTER_AND_IGNORE);
		break;
	case RESERVE:
		do_reserve(o);
		break;
	case RELEASE:
		do_release(o);
		break;
	case CLEAR:
		do_clear(o);
		break;
	case REGISTER_AND_MOVE:
		do_move(o);
		break;
	default:
		do_preempt(o);
	}
}

/* Its parameter list is longer, by the TransportID, and differs in the flags' place. */
static bool parse_move(struct out *o)
{
	struct scsi_command *cmd = o->cmd;
	uint8_t p[PARAMETERS + TRANSPORT_ID];
	const uint8_t *id = p + PARAMETERS;

	if (be32(&cmd->cdb[5]) != sizeof(p)) {
		scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
		return false;
	}
	if (!scsi_parameters(cmd, p, sizeof(p)))
		return false;
	o->key = be64(p);
	o->service_key = be64(p + 8);
	o->unregister = p[17] & PARAMETER_UNREG;
	o->keep = p[17] & PARAMETER_APTPL;
	memcpy(o->to_whom, id + 8, sizeof(o->to_whom));
	if ((!o->keep || o->r->keep) && be16(p + 18) == RELATIVE_PORT &&
	    be32(p + 20) == TRANSPORT_ID && id[0] == SRP_PORT)
		return true;
	scsi_fail(cmd, SENSE_INVALID_PARAMETER);
	return false;
}

/* Reads the command: false: it has failed. */
static bool parse(struct out *o)
{
	struct scsi_command *cmd = o->cmd;
	unsigned action = cmd->cdb[1] & 0x1f;
	bool typed = action == RESERVE || action == RELEASE;
	uint8_t p[PARAMETERS];

	o->type = cmd->cdb[2] & 0x0f;
	if (action == REGISTER_AND_MOVE)
		return parse_move(o);
	if (action > REGISTER_AND_IGNORE ||
	    (typed && (cmd->cdb[2] >> 4 != SCOPE_LU || !reserve_type_ok(o->type)))) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return false;
	}
	if (be32(&cmd->cdb[5]) != PARAMETERS) {
		scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
		return false;
	}
	if (!scsi_parameters(cmd, p, sizeof(p)))
		return false;
	o->key = be64(p);
	o->service_key = be64(p + 8);
	/* Of the others' APTPL the standard says that it is ignored. */
	o->keep = (action == REGISTER || action == REGISTER_AND_IGNORE) && p[20] & PARAMETER_APTPL;
	if (p[20] & PARAMETER_SPEC_I_PT || (o->keep && !o->r->keep)) {
		scsi_fail(cmd, SENSE_INVALID_PARAMETER);
		return false;
	}
	return true;
}

/* What survives power loss does so before it counts. */
static bool keep(struct out *o, bool was_kept)
{
	const struct reserve *r = o->r;

	return (!was_kept && !o->st->kept) || (r->keep && !r->keep(r->keep_arg, o->st));
}

static void carry_out(struct out *o, unsigned action)
{
	bool was_kept = o->st->kept;

	act(o, action);
	if (o->cmd->status != SCSI_GOOD)
		return;
	if (!keep(o, was_kept)) {
		scsi_fail(o->cmd, SENSE_INTERNAL_FAILURE);
		return;
	}
	reserve_write(o->r, o->st);
	for (unsigned a = 0; a < ATTENTIONS; a++)
		for (unsigned i = 0; i < RESERVE_SEATS; i++)
			if (o->tell[a] & 1u << i)
				reserve_tell(o->r, i, a);
}

void reserve_out(struct reserve *r, struct scsi_command *cmd)
{
	unsigned action = cmd->cdb[1] & 0x1f;
	struct reserve_state st;
	struct out o = {.r = r, .cmd = cmd, .st = &st};

	if (!parse(&o))
		return;
	if (reserve_lock(r)) {
		cmd->status = SCSI_BUSY;
		return;
	}
	if (reserve_read(r, &st))
		scsi_fail(cmd, SENSE_INTERNAL_FAILURE);
	else
		carry_out(&o, action);
	reserve_unlock(r);
	/* What those that lost their registration had begun must not come after our next write. */
	if (cmd->status == SCSI_GOOD && action == PREEMPT_AND_ABORT && !reserve_drain(r, o.drain))
		scsi_fail(cmd, SENSE_INTERNAL_FAILURE);
}
