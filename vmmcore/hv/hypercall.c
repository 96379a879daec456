/* SPDX-License-Identifier: Apache-2.0
 *
 * Hypercalls (TLFS chapter 3). The input value is in RCX (EDX:EAX for 32-bit callers), parameters
 * in registers ("fast") or in guest RAM, within one page. Those upon other processors are in
 * processors.c.
 */
#include <errno.h>
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

enum {
	CALL_FLUSH_SPACE = 0x0002,
	CALL_FLUSH_LIST = 0x0003,
	CALL_NOTIFY_LONG_SPIN_WAIT = 0x0008,
	CALL_SEND_IPI = 0x000b,
	CALL_FLUSH_SPACE_EX = 0x0013,
	CALL_FLUSH_LIST_EX = 0x0014,
	CALL_SEND_IPI_EX = 0x0015,
	CALL_POST_MESSAGE = 0x005c,
	CALL_SIGNAL_EVENT = 0x005d,
	CALL_EXTENDED_CAPABILITIES = 0x8001,
	CALL_MEMORY_HEAT_HINT = 0x8003,
};

#define INPUT_CODE(c)       ((uint16_t)(c))
#define INPUT_FAST          (1ull << 16)
#define INPUT_VAR_QWORDS(c) (((c) >> 17) & 0x3ff)
#define INPUT_RESERVED      (0xf8000000ull | 0xf000ull << 32 | 0xfull << 60)
#define INPUT_REP_COUNT(c)  (((c) >> 32) & 0xfff)
#define INPUT_REP_START(c)  (((c) >> 48) & 0xfff)

struct post_message_input {
	uint32_t connection, reserved, type, payload_bytes;
	uint8_t payload[HV_MESSAGE_PAYLOAD];
};

/* Fetches the input block: from the two registers, or from guest RAM. */
enum hv_status hv_call_fetch(const struct hv_call *c, void *buf, size_t len)
{
	uint64_t registers[2] = {c->in, c->out};

	if (c->fast) {
		if (len > sizeof(registers))
			return HV_STATUS_INVALID_INPUT;
		memcpy(buf, registers, len);
		return HV_STATUS_SUCCESS;
	}
	if (c->in & 7)
		return HV_STATUS_INVALID_ALIGNMENT;
	/* TLFS, "common hypercall status codes": so are a list that spans pages and one outside
	 * RAM. */
	return hv_copy_in(c->h->hv, c->in, buf, len) ? HV_STATUS_INVALID_ALIGNMENT
						     : HV_STATUS_SUCCESS;
}

static enum hv_status post_message(struct hv_call *c)
{
	const struct hv *hv = c->h->hv;
	struct post_message_input in;
	enum hv_status st = hv_call_fetch(c, &in, sizeof(in));
	int rc;

	if (st != HV_STATUS_SUCCESS)
		return st;
	if (in.payload_bytes > HV_MESSAGE_PAYLOAD || (in.type & 0x80000000u))
		return HV_STATUS_INVALID_PARAMETER;
	if (!hv->ops->post_message)
		return HV_STATUS_INVALID_CONNECTION;
	rc = hv->ops->post_message(hv->arg, c->h->v, in.connection & 0xffffff, in.type, in.payload,
				   in.payload_bytes);
	if (rc == -EAGAIN)
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	return rc ? HV_STATUS_INVALID_CONNECTION : HV_STATUS_SUCCESS;
}

static enum hv_status signal_event(struct hv_call *c)
{
	const struct hv *hv = c->h->hv;
	uint64_t in;
	enum hv_status st = hv_call_fetch(c, &in, sizeof(in));

	if (st != HV_STATUS_SUCCESS)
		return st;
	if (in >> 48)
		return HV_STATUS_INVALID_PARAMETER;
	if (!hv->ops->signal_event || (in & 0xff000000u) ||
	    hv->ops->signal_event(hv->arg, c->h->v, in & 0xffffff, in >> 32))
		return HV_STATUS_INVALID_CONNECTION;
	return HV_STATUS_SUCCESS;
}

static enum hv_status notify_long_spin_wait(struct hv_call *c)
{
	return HV_STATUS_SUCCESS;
}

/* What a call may have, and what it needs: a back end that can flush, a partition that can discard. */
enum { REPS = 1, VARIABLE = 2, FLUSH = 4, DISCARD = 8 };

static const struct known {
	uint16_t code;
	uint8_t may;
	enum hv_status (*fn)(struct hv_call *c);
} known[] = {
	{CALL_FLUSH_SPACE, FLUSH, hv_call_flush},
	{CALL_FLUSH_LIST, REPS | FLUSH, hv_call_flush},
	{CALL_NOTIFY_LONG_SPIN_WAIT, 0, notify_long_spin_wait},
	{CALL_SEND_IPI, 0, hv_call_send_ipi},
	{CALL_FLUSH_SPACE_EX, VARIABLE | FLUSH, hv_call_flush_ex},
	{CALL_FLUSH_LIST_EX, REPS | VARIABLE | FLUSH, hv_call_flush_ex},
	{CALL_SEND_IPI_EX, VARIABLE, hv_call_send_ipi_ex},
	{CALL_POST_MESSAGE, 0, post_message},
	{CALL_SIGNAL_EVENT, 0, signal_event},
	{CALL_EXTENDED_CAPABILITIES, DISCARD, hv_call_extended_capabilities},
	{CALL_MEMORY_HEAT_HINT, REPS | DISCARD, hv_call_memory_heat_hint},
};

static bool can(const struct hv *hv, const struct known *k)
{
	return (!(k->may & FLUSH) || hv->vm->ops->flush_tlb) && (!(k->may & DISCARD) || hv->ops->discard);
}

static const struct known *find(const struct hv *hv, uint16_t code)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].code == code && can(hv, &known[i]))
			return &known[i];
	return NULL;
}

/* TLFS 3.5: a rep call has a list, and starts within it; a simple call has none. */
static bool reps_valid(const struct known *k, const struct hv_call *c)
{
	return k->may & REPS ? c->rep_start < c->rep_count : c->rep_count + c->rep_start == 0;
}

static enum hv_status dispatch(struct hv_call *c, uint64_t control)
{
	const struct known *k = find(c->h->hv, INPUT_CODE(control));

	if (control & INPUT_RESERVED)
		return HV_STATUS_INVALID_INPUT;
	if (!k)
		return HV_STATUS_INVALID_CODE;
	if (!reps_valid(k, c) || (c->variable && !(k->may & VARIABLE)))
		return HV_STATUS_INVALID_INPUT;
	return k->fn(c);
}

static uint64_t join(uint64_t high, uint64_t low)
{
	return high << 32 | (uint32_t)low;
}

bool hv_hypercall(struct vcpu *v, uint64_t gpr[16], bool long_mode)
{
	struct hv_vcpu *h = hv_of(v);
	struct hv_call c = {.h = h};
	uint64_t control, result;

	if (!(h->hv->hypercall & HV_PAGE_ENABLE))
		return false;
	if (long_mode) {
		control = gpr[R_CX];
		c.in = gpr[R_DX];
		c.out = gpr[R_8];
	} else {
		control = join(gpr[R_DX], gpr[R_AX]);
		c.in = join(gpr[R_BX], gpr[R_CX]);
		c.out = join(gpr[R_DI], gpr[R_SI]);
	}
	c.fast = control & INPUT_FAST;
	c.variable = INPUT_VAR_QWORDS(control);
	c.rep_count = INPUT_REP_COUNT(control);
	c.rep_start = INPUT_REP_START(control);
	result = dispatch(&c, control);
	result |= (uint64_t)c.reps_done << 32;
	gpr[R_AX] = long_mode ? result : (uint32_t)result;
	if (!long_mode)
		gpr[R_DX] = result >> 32;
	return true;
}
