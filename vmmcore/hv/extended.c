/* SPDX-License-Identifier: Apache-2.0
 *
 * Extended hypercalls: which there are (TLFS, HvExtCallQueryCapabilities), and the one that there is
 * (HvExtCallMemoryHeatHint): a guest names memory that it has no use for, whose contents may go. Linux
 * reports its free memory by it (drivers/hv/hv_balloon.c), in pages of 2 MiB.
 */
#include "vmmcore/hv/hv_internal.h"

#define CAPABILITY_COLD_DISCARD (1ull << 8)
#define HEAT_COLD_DISCARD       2u

#define BLOCK_WORDS 512u /* an input block lies within a page */

enum hv_status hv_call_extended_capabilities(struct hv_call *c)
{
	uint64_t capabilities = CAPABILITY_COLD_DISCARD;

	if (c->fast)
		return HV_STATUS_INVALID_INPUT;
	if (c->out & 7 || hv_copy_out(c->h->hv, c->out, &capabilities, sizeof(capabilities)))
		return HV_STATUS_INVALID_ALIGNMENT;
	return HV_STATUS_SUCCESS;
}

static bool in_ram(const struct vm_memory *m, uint64_t gpa, uint64_t bytes)
{
	if (gpa < m->low_size)
		return bytes <= m->low_size - gpa;
	return vm_memory_is_ram(m, gpa) && bytes <= m->high_size - (gpa - GPA_HIGH_BASE);
}

/* One element of the list (TLFS, HV_GPA_PAGE_RANGE): how many pages more than one, whether they are
 * large, and where the first is. Large ones have 2 MiB; those of 1 GiB are not taken. */
static bool discard(const struct hv *hv, uint64_t range)
{
	bool large = range >> 11 & 1;
	uint64_t page = large ? 2ull << 20 : 4096, gpa = range & ~(page - 1);
	uint64_t bytes = ((range & 0x7ff) + 1) * page;

	if ((large && range >> 12 & 0x1ff) || !in_ram(&hv->vm->mem, gpa, bytes))
		return false;
	hv->ops->discard(hv->arg, gpa, bytes);
	return true;
}

enum hv_status hv_call_memory_heat_hint(struct hv_call *c)
{
	uint64_t block[BLOCK_WORDS];
	enum hv_status st;

	if (1 + c->rep_count > BLOCK_WORDS)
		return HV_STATUS_INVALID_INPUT;
	st = hv_call_fetch(c, block, (1 + c->rep_count) * sizeof(block[0]));
	if (st != HV_STATUS_SUCCESS)
		return st;
	c->reps_done = c->rep_start;
	if (block[0] != HEAT_COLD_DISCARD)
		return HV_STATUS_INVALID_PARAMETER;
	for (; c->reps_done < c->rep_count; c->reps_done++)
		if (!discard(c->h->hv, block[1 + c->reps_done]))
			return HV_STATUS_INVALID_PARAMETER;
	return HV_STATUS_SUCCESS;
}
