/* SPDX-License-Identifier: Apache-2.0
 *
 * Registers of a VM that starts: the boot vCPU's as the worker's loader wants them, the others' as
 * after reset. What the worker sends is its guest's to choose for all we know; the back end checks
 * what it must.
 */
#include <stdio.h>
#include <string.h>

#include "vmmcore/partition/partition.h"

static struct vcpu_seg segment(const struct boot_segment *b)
{
	return (struct vcpu_seg){
		.base = b->base, .limit = b->limit, .attr = b->attr, .selector = b->selector};
}

static void boot_state(const struct platform_boot *b, struct vcpu_state *st)
{
	static const uint8_t data[] = {S_DS, S_ES, S_SS, S_FS, S_GS};

	vcpu_state_reset(st);
	memcpy(st->gpr, b->gpr, sizeof(st->gpr));
	st->rip = b->rip;
	st->rflags = b->rflags | 2;
	st->cr0 = b->cr0;
	st->cr3 = b->cr3;
	st->cr4 = b->cr4;
	st->efer = b->efer;
	st->seg[S_CS] = segment(&b->cs);
	st->seg[S_TR] = segment(&b->tr);
	for (unsigned i = 0; i < sizeof(data); i++)
		st->seg[data[i]] = segment(&b->data);
	st->gdt.base = b->gdt_base;
	st->gdt.limit = b->gdt_limit;
	st->idt.base = b->idt_base;
	st->idt.limit = b->idt_limit;
	/* As firmware leaves them: memory is write-back unless said otherwise. */
	st->mtrr_def_type = 0x806;
}

int boot_registers(struct partition *p, char *why, size_t why_size)
{
	struct vcpu_state st;

	boot_state(&p->boot, &st);
	for (unsigned i = 0; i < p->config.vcpus; i++) {
		int r = p->backend->set_state(&p->thread[i].vcpu, &st);

		if (r) {
			snprintf(why, why_size, "vCPU %u: the back end refuses its start state: %s",
				 i, strerror(-r));
			return r;
		}
		vcpu_state_reset(&st);
	}
	return 0;
}
