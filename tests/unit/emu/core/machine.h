/* SPDX-License-Identifier: Apache-2.0
 *
 * A processor with nothing around it: RAM, a platform that records, and ready-made modes. For tests
 * of vmmcore/emu that need no other process.
 *
 * Guest-physical layout (the modes below use it):
 *   0x1000  page tables      0x6000  GDT      0x7000  IDT      0x8000  TSS
 *   0x9000  exception handlers, 16 bytes each: HLT
 *   0xb000  one more page table of 4 KiB pages, for linear 0x40000000 to 0x401fffff
 *   0x10000 top of the stack of level 0, 0x18000 of level 3, 0x1c000 of IST 1
 *   0x20000 code
 * Port 92h, bit 1, is the A20 gate. Linear addresses are physical ones below 1 GiB (pages of 2 MiB,
 * writable, user).
 */
#ifndef TESTS_EMU_MACHINE_H
#define TESTS_EMU_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "vmmcore/vcpu.h"

enum {
	M_TABLES = 0x1000,
	M_GDT = 0x6000,
	M_IDT = 0x7000,
	M_TSS = 0x8000,
	M_HANDLERS = 0x9000,
	M_PT = 0xb000,
	M_STACK0 = 0x10000,
	M_STACK3 = 0x18000,
	M_STACK_IST = 0x1c000,
	M_CODE = 0x20000,
	M_WINDOW = 0x40000000, /* linear address that M_PT maps */
};
/* Selectors. */
enum {
	SEL_CODE64 = 0x08,
	SEL_DATA = 0x10,
	SEL_CODE32 = 0x18,
	SEL_UDATA = 0x23,
	SEL_UCODE64 = 0x2b,
	SEL_UCODE32 = 0x33,
	SEL_TSS = 0x38,
	SEL_CODE16 = 0x48,
	SEL_DATA16 = 0x50,
};

struct machine {
	struct vm vm;
	struct vcpu vcpu[4];
	uint64_t tsc;
	int irq; /* vector to deliver, -1 none */
	uint8_t cr8;
	/* The last accesses, and what reads return. */
	struct {
		unsigned reads, writes;
		uint64_t addr, value, answer;
		unsigned size;
	} pio, mmio;
	unsigned hypercalls;
};

struct machine *machine_new(unsigned vcpus, uint64_t ram);
void machine_free(struct machine *m);
uint8_t *machine_ram(struct machine *m, uint64_t gpa);
/* As a device would: and tells that the page changed. */
void machine_write(struct machine *m, uint64_t gpa, const void *p, size_t n);
void machine_write64(struct machine *m, uint64_t gpa, uint64_t v);

/* States at M_CODE with interrupts off. */
void machine_long(struct machine *m, struct vcpu_state *st, unsigned cpl);
void machine_protected(struct machine *m, struct vcpu_state *st, unsigned cpl);
void machine_real(struct machine *m, struct vcpu_state *st);

/* Puts code at M_CODE, the state into vCPU 0, runs it, and returns the state. */
enum vcpu_stop machine_run(struct machine *m, struct vcpu_state *st, const void *code, size_t n);
/* The exception in whose handler the vCPU halted, or -1. Fills its frame. */
struct frame {
	int vector;
	uint64_t error, rip, cs, rflags, rsp, ss;
};
int machine_exception(struct machine *m, const struct vcpu_state *st, struct frame *f);

#endif
