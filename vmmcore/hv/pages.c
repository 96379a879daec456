/* SPDX-License-Identifier: Apache-2.0
 *
 * The pages a guest gives to the personality, and what we write there.
 */
#include <errno.h>
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

#define PAGE_BYTES 4096u
#define PAGE_MASK  (~(uint64_t)(PAGE_BYTES - 1))

bool hv_page_valid(struct hv *hv, uint64_t page_msr)
{
	return !(page_msr & HV_PAGE_ENABLE) || vm_memory_is_ram(&hv->vm->mem, page_msr & PAGE_MASK);
}

void *hv_page(struct hv *hv, uint64_t page_msr)
{
	uint64_t gpa = page_msr & PAGE_MASK;

	if (!(page_msr & HV_PAGE_ENABLE) || !vm_memory_is_ram(&hv->vm->mem, gpa))
		return NULL;
	return hv->vm->mem.base + gpa;
}

void hv_page_wrote(struct hv *hv, uint64_t page_msr)
{
	const struct vm_memory *m = &hv->vm->mem;

	if (m->page_gen)
		__atomic_fetch_add(&m->page_gen[vm_memory_page(m, page_msr & PAGE_MASK)], 1,
				   __ATOMIC_RELEASE);
}

static bool within_a_page(const struct vm_memory *m, uint64_t gpa, size_t len)
{
	return len <= PAGE_BYTES && (gpa & ~PAGE_MASK) + len <= PAGE_BYTES && vm_memory_is_ram(m, gpa);
}

/* Copies from guest RAM within one page, as hypercall inputs must lie (TLFS 3.7). */
int hv_copy_in(struct hv *hv, uint64_t gpa, void *buf, size_t len)
{
	if (!within_a_page(&hv->vm->mem, gpa, len))
		return -EFAULT;
	memcpy(buf, hv->vm->mem.base + gpa, len);
	return 0;
}

/* And to it, as outputs. */
int hv_copy_out(struct hv *hv, uint64_t gpa, const void *buf, size_t len)
{
	if (!within_a_page(&hv->vm->mem, gpa, len))
		return -EFAULT;
	memcpy(hv->vm->mem.base + gpa, buf, len);
	hv_page_wrote(hv, gpa);
	return 0;
}

/* The hypercall page: one instruction that leaves the guest, and a return (TLFS 3.13). */
void hv_install_hypercall_page(struct hv *hv)
{
	static const uint8_t by_vmcall[] = {0x0f, 0x01, 0xc1, 0xc3};      /* vmcall; ret */
	static const uint8_t by_port[] = {0xe7, HV_HYPERCALL_PORT, 0xc3}; /* out imm8, eax; ret */
	uint8_t *page = hv_page(hv, hv->hypercall);

	if (!page)
		return;
	memset(page, 0xcc, PAGE_BYTES); /* int3 */
	if (hv->flags & HV_HYPERCALL_BY_PORT)
		memcpy(page, by_port, sizeof(by_port));
	else
		memcpy(page, by_vmcall, sizeof(by_vmcall));
	hv_page_wrote(hv, hv->hypercall);
}

/* Reference TSC page (TLFS 12.7.3): time = (tsc * scale >> 64) + offset, in 100 ns. Both the guest
 * clock and its TSC begin at 0 and stand still together, so the offset is 0. */
void hv_install_reference_tsc(struct hv *hv)
{
	uint64_t *page = hv_page(hv, hv->reference_tsc);
	uint64_t khz = clock_tsc_khz(hv->clock);

	uint32_t sequence;

	if (!page || khz == 0)
		return;
	/* The guest reads the sequence before and after: another number each time, and 0, "do not
	 * use", in between. */
	sequence = __atomic_exchange_n((uint32_t *)page, 0, __ATOMIC_SEQ_CST) + 1;
	if (sequence == 0 || sequence == UINT32_MAX) /* earlier interfaces: not valid, either */
		sequence = 1;
	page[1] = (uint64_t)(((unsigned __int128)10000 << 64) / khz);
	page[2] = 0;
	__atomic_store_n((uint32_t *)page, sequence, __ATOMIC_RELEASE);
	hv_page_wrote(hv, hv->reference_tsc);
}
