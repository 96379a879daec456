/* SPDX-License-Identifier: Apache-2.0
 *
 * Hypercalls upon other processors: interrupts (TLFS, HvCallSendSyntheticClusterIpi) and dropping
 * of translations (HvCallFlushVirtualAddressSpace and ...List). Each has a form with a mask of the
 * first 64 processors and one, "Ex", with a sparse set of banks of 64, whose contents are the
 * call's variable header.
 */
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

_Static_assert(VCPU_MAX <= 64, "the processors of a VM are one bank");

enum {
	SET_SPARSE = 0, /* banks of 64 */
	SET_ALL = 1,
};

struct vp_set {
	uint64_t format;
	uint64_t valid_banks;
};

/* The processors of a set whose banks' contents are bank[0..banks). */
static enum hv_status set_mask(const struct vp_set *set, const uint64_t *bank, unsigned banks,
			       uint64_t *mask)
{
	*mask = UINT64_MAX;
	if (set->format == SET_ALL)
		return HV_STATUS_SUCCESS;
	if (set->format != SET_SPARSE)
		return HV_STATUS_INVALID_PARAMETER;
	if (__builtin_popcountll(set->valid_banks) > (int)banks)
		return HV_STATUS_INVALID_INPUT;
	*mask = set->valid_banks & 1 ? bank[0] : 0; /* there are no others */
	return HV_STATUS_SUCCESS;
}

/* ---- interrupts ---- */

struct ipi {
	uint32_t vector;
	uint8_t target_vtl, padding[3];
};

static enum hv_status post(const struct hv_call *c, const struct ipi *ipi, uint64_t mask)
{
	const struct vm *vm = c->h->hv->vm;

	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (mask >> i & 1)
			irq_post(vm->vcpu[i], (uint8_t)ipi->vector);
	return HV_STATUS_SUCCESS;
}

static bool ipi_valid(const struct ipi *ipi)
{
	return ipi->vector >= 16 && ipi->vector <= 255 && ipi->target_vtl == 0;
}

enum hv_status hv_call_send_ipi(struct hv_call *c)
{
	struct {
		struct ipi ipi;
		uint64_t mask;
	} in;
	enum hv_status st = hv_call_fetch(c, &in, sizeof(in));

	if (st != HV_STATUS_SUCCESS)
		return st;
	if (!ipi_valid(&in.ipi))
		return HV_STATUS_INVALID_PARAMETER;
	return post(c, &in.ipi, in.mask);
}

enum hv_status hv_call_send_ipi_ex(struct hv_call *c)
{
	struct {
		struct ipi ipi;
		struct vp_set set;
		uint64_t bank[64];
	} in = {0};
	size_t fixed = sizeof(in) - sizeof(in.bank);
	uint64_t mask;
	enum hv_status st;

	if (c->variable > 64)
		return HV_STATUS_INVALID_INPUT;
	st = hv_call_fetch(c, &in, fixed + c->variable * 8);
	if (st != HV_STATUS_SUCCESS)
		return st;
	if (!ipi_valid(&in.ipi))
		return HV_STATUS_INVALID_PARAMETER;
	st = set_mask(&in.set, in.bank, c->variable, &mask);
	return st == HV_STATUS_SUCCESS ? post(c, &in.ipi, mask) : st;
}

/* ---- translations ---- */

#define FLUSH_ALL_PROCESSORS     1ull
#define FLUSH_ALL_ADDRESS_SPACES 2ull
#define FLUSH_NON_GLOBAL_ONLY    4ull /* not with a list */

/* More pages than this one by one cost more than all at once. */
#define PAGES_MAX 32u

struct flush {
	uint64_t address_space; /* no matter: a vCPU keeps nothing of those it does not run in */
	uint64_t flags;
};

/* The block of a call, which lies within a page: header, variable header, list. */
union block {
	uint64_t word[512];
	struct flush flush;
};

static enum hv_status flush(const struct hv_call *c, const struct flush *f, uint64_t mask,
			    const struct vcpu_flush *what)
{
	const struct vm *vm = c->h->hv->vm;

	if (f->flags & FLUSH_ALL_PROCESSORS)
		mask = UINT64_MAX;
	if (vm->vcpu_count < 64)
		mask &= (1ull << vm->vcpu_count) - 1;
	if (mask)
		vm->ops->flush_tlb(c->h->v, mask, what);
	return HV_STATUS_SUCCESS;
}

/* A list's entry is a page and, in its low 12 bits, how many more follow it. */
static enum hv_status flush_list(struct hv_call *c, const struct flush *f, uint64_t mask,
				 const uint64_t *range)
{
	uint64_t page[PAGES_MAX];
	struct vcpu_flush what = {.global = true, .page = page};
	unsigned n = 0;
	enum hv_status st;

	for (unsigned i = c->rep_start; i < c->rep_count && n <= PAGES_MAX; i++)
		for (uint64_t k = 0; k <= (range[i] & 0xfff) && n <= PAGES_MAX; k++, n++)
			if (n < PAGES_MAX)
				page[n] = (range[i] & ~0xfffull) + k * 4096;
	what.pages = n <= PAGES_MAX ? n : 0;
	st = flush(c, f, mask, &what);
	if (st == HV_STATUS_SUCCESS)
		c->reps_done = c->rep_count;
	return st;
}

/* header: words before the list, without the variable header. */
static enum hv_status fetch_flush(struct hv_call *c, union block *b, unsigned header)
{
	unsigned words = header + c->variable + c->rep_count;
	enum hv_status st;

	if (!c->h->hv->vm->ops->flush_tlb)
		return HV_STATUS_INVALID_CODE;
	if (words > sizeof(b->word) / sizeof(b->word[0]))
		return HV_STATUS_INVALID_INPUT;
	st = hv_call_fetch(c, b, words * sizeof(b->word[0]));
	if (st != HV_STATUS_SUCCESS)
		return st;
	if (b->flush.flags & ~(FLUSH_ALL_PROCESSORS | FLUSH_ALL_ADDRESS_SPACES |
			       (c->rep_count ? 0 : FLUSH_NON_GLOBAL_ONLY)))
		return HV_STATUS_INVALID_PARAMETER;
	return HV_STATUS_SUCCESS;
}

static enum hv_status flush_either(struct hv_call *c, const union block *b, uint64_t mask,
				   unsigned header)
{
	struct vcpu_flush all = {.global = !(b->flush.flags & FLUSH_NON_GLOBAL_ONLY)};

	return c->rep_count ? flush_list(c, &b->flush, mask, b->word + header + c->variable)
			    : flush(c, &b->flush, mask, &all);
}

/* HvCallFlushVirtualAddressSpace, HvCallFlushVirtualAddressList: the latter has reps. */
enum hv_status hv_call_flush(struct hv_call *c)
{
	enum { HEADER = 3, MASK = 2 };
	union block b;
	enum hv_status st = fetch_flush(c, &b, HEADER);

	return st == HV_STATUS_SUCCESS ? flush_either(c, &b, b.word[MASK], HEADER) : st;
}

enum hv_status hv_call_flush_ex(struct hv_call *c)
{
	enum { HEADER = 4, SET = 2 };
	union block b;
	enum hv_status st = fetch_flush(c, &b, HEADER);
	struct vp_set set;
	uint64_t mask;

	if (st != HV_STATUS_SUCCESS)
		return st;
	memcpy(&set, b.word + SET, sizeof(set));
	st = set_mask(&set, b.word + HEADER, c->variable, &mask);
	return st == HV_STATUS_SUCCESS ? flush_either(c, &b, mask, HEADER) : st;
}
