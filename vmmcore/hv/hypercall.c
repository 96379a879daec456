/* SPDX-License-Identifier: Apache-2.0
 *
 * Hypercalls (TLFS chapter 3). The input value is in RCX (EDX:EAX for 32-bit callers), parameters
 * in registers ("fast") or in guest RAM, within one page.
 */
#include <errno.h>
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

enum {
	CALL_NOTIFY_LONG_SPIN_WAIT = 0x0008,
	CALL_SEND_IPI = 0x000b,
	CALL_SEND_IPI_EX = 0x0015,
	CALL_POST_MESSAGE = 0x005c,
	CALL_SIGNAL_EVENT = 0x005d,
};

enum status {
	STATUS_SUCCESS = 0,
	STATUS_INVALID_CODE = 2,
	STATUS_INVALID_INPUT = 3,
	STATUS_INVALID_ALIGNMENT = 4,
	STATUS_INVALID_PARAMETER = 5,
	STATUS_INVALID_CONNECTION = 18,
	STATUS_INSUFFICIENT_BUFFERS = 19,
};

#define INPUT_CODE(c)       ((uint16_t)(c))
#define INPUT_FAST          (1ull << 16)
#define INPUT_VAR_QWORDS(c) (((c) >> 17) & 0x3ff)
#define INPUT_RESERVED      (0xf8000000ull | 0xf000ull << 32 | 0xfull << 60)
#define INPUT_REPS          (0x0fff0fffull << 32) /* rep count and rep start */

struct call {
	struct hv_vcpu *h;
	bool fast;
	unsigned variable; /* qwords of variable header */
	uint64_t in, out;  /* guest-physical, or the two register values if fast */
};

struct post_message_input {
	uint32_t connection, reserved, type, payload_bytes;
	uint8_t payload[HV_MESSAGE_PAYLOAD];
};

struct send_ipi_input {
	uint32_t vector;
	uint8_t target_vtl, padding[3];
	uint64_t mask; /* processors 0 to 63 */
};

struct send_ipi_ex_input {
	uint32_t vector;
	uint8_t target_vtl, padding[3];
	uint64_t format; /* 0: sparse banks of 64, 1: all */
	uint64_t valid_banks;
	uint64_t bank[64];
};

/* Fetches the input block: from the two registers, or from guest RAM. */
static enum status fetch(const struct call *c, void *buf, size_t len)
{
	uint64_t registers[2] = {c->in, c->out};

	if (c->fast) {
		if (len > sizeof(registers))
			return STATUS_INVALID_INPUT;
		memcpy(buf, registers, len);
		return STATUS_SUCCESS;
	}
	if (c->in & 7)
		return STATUS_INVALID_ALIGNMENT;
	/* TLFS, "common hypercall status codes": so are a list that spans pages and one outside
	 * RAM. */
	return hv_copy_in(c->h->hv, c->in, buf, len) ? STATUS_INVALID_ALIGNMENT : STATUS_SUCCESS;
}

static enum status post_message(const struct call *c)
{
	const struct hv *hv = c->h->hv;
	struct post_message_input in;
	enum status st = fetch(c, &in, sizeof(in));
	int rc;

	if (st != STATUS_SUCCESS)
		return st;
	if (in.payload_bytes > HV_MESSAGE_PAYLOAD || (in.type & 0x80000000u))
		return STATUS_INVALID_PARAMETER;
	if (!hv->ops->post_message)
		return STATUS_INVALID_CONNECTION;
	rc = hv->ops->post_message(hv->arg, c->h->v, in.connection & 0xffffff, in.type, in.payload,
				   in.payload_bytes);
	if (rc == -EAGAIN)
		return STATUS_INSUFFICIENT_BUFFERS;
	return rc ? STATUS_INVALID_CONNECTION : STATUS_SUCCESS;
}

static enum status signal_event(const struct call *c)
{
	const struct hv *hv = c->h->hv;
	uint64_t in;
	enum status st = fetch(c, &in, sizeof(in));

	if (st != STATUS_SUCCESS)
		return st;
	if (in >> 48)
		return STATUS_INVALID_PARAMETER;
	if (!hv->ops->signal_event || (in & 0xff000000u) ||
	    hv->ops->signal_event(hv->arg, c->h->v, in & 0xffffff, in >> 32))
		return STATUS_INVALID_CONNECTION;
	return STATUS_SUCCESS;
}

static void post_bank(struct vm *vm, unsigned first, uint64_t mask, uint8_t vector)
{
	for (unsigned i = 0; i < 64 && first + i < vm->vcpu_count; i++)
		if (mask & (1ull << i))
			irq_post(vm->vcpu[first + i], vector);
}

static enum status send_ipi(const struct call *c)
{
	struct send_ipi_input in;
	enum status st = fetch(c, &in, sizeof(in));

	if (st != STATUS_SUCCESS)
		return st;
	if (in.vector < 16 || in.vector > 255 || in.target_vtl != 0)
		return STATUS_INVALID_PARAMETER;
	post_bank(c->h->hv->vm, 0, in.mask, in.vector);
	return STATUS_SUCCESS;
}

static enum status send_ipi_ex(const struct call *c)
{
	struct send_ipi_ex_input in = {0};
	size_t fixed = offsetof(struct send_ipi_ex_input, bank);
	unsigned banks = 0;
	enum status st;

	if (c->variable > 64)
		return STATUS_INVALID_INPUT;
	st = fetch(c, &in, fixed + c->variable * 8);
	if (st != STATUS_SUCCESS)
		return st;
	if (in.vector < 16 || in.vector > 255 || in.target_vtl != 0 || in.format > 1)
		return STATUS_INVALID_PARAMETER;
	if (in.format == 0 && __builtin_popcountll(in.valid_banks) > (int)c->variable)
		return STATUS_INVALID_INPUT;
	for (unsigned b = 0; b < 64; b++) {
		if (in.format == 1)
			post_bank(c->h->hv->vm, b * 64, UINT64_MAX, in.vector);
		else if (in.valid_banks & (1ull << b))
			post_bank(c->h->hv->vm, b * 64, in.bank[banks++], in.vector);
	}
	return STATUS_SUCCESS;
}

static enum status notify_long_spin_wait(const struct call *c)
{
	return STATUS_SUCCESS;
}

static enum status dispatch(const struct call *c, uint64_t control)
{
	static const struct {
		uint16_t code;
		bool variable; /* may have a variable header */
		enum status (*fn)(const struct call *c);
	} calls[] = {
		{CALL_NOTIFY_LONG_SPIN_WAIT, false, notify_long_spin_wait},
		{CALL_SEND_IPI, false, send_ipi},
		{CALL_SEND_IPI_EX, true, send_ipi_ex},
		{CALL_POST_MESSAGE, false, post_message},
		{CALL_SIGNAL_EVENT, false, signal_event},
	};

	if (control & INPUT_RESERVED)
		return STATUS_INVALID_INPUT;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i].code != INPUT_CODE(control))
			continue;
		/* None of ours is a rep hypercall. */
		if ((control & INPUT_REPS) || (c->variable && !calls[i].variable))
			return STATUS_INVALID_INPUT;
		return calls[i].fn(c);
	}
	return STATUS_INVALID_CODE;
}

static uint64_t join(uint64_t high, uint64_t low)
{
	return high << 32 | (uint32_t)low;
}

bool hv_hypercall(struct vcpu *v, uint64_t gpr[16], bool long_mode)
{
	struct hv_vcpu *h = hv_of(v);
	struct call c = {.h = h};
	uint64_t control;

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
	gpr[R_AX] = dispatch(&c, control);
	if (!long_mode)
		gpr[R_DX] = 0;
	return true;
}
