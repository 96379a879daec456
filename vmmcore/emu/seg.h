/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptor fields (Intel SDM vol. 3A, 3.4.5 and 3.5), and what seg.c offers to far.c, except.c
 * and task.c only.
 */
#ifndef BULKHEAD_EMU_SEG_H
#define BULKHEAD_EMU_SEG_H

#include "vmmcore/emu/emu.h"

#define DESC_A (1ull << 40)
#define DESC_S (1ull << 44)
#define DESC_P (1ull << 47)
#define DESC_L (1ull << 53)
#define DESC_D (1ull << 54)

/* System descriptor types. */
enum {
	SYS_TSS16 = 1,
	SYS_LDT = 2,
	SYS_TSS16_BUSY = 3,
	SYS_CALL16 = 4,
	SYS_TASK = 5,
	SYS_INT16 = 6,
	SYS_TRAP16 = 7,
	SYS_TSS32 = 9,
	SYS_TSS32_BUSY = 11,
	SYS_CALL32 = 12,
	SYS_INT32 = 14,
	SYS_TRAP32 = 15,
};

static inline unsigned desc_dpl(uint64_t d)
{
	return (d >> 45) & 3;
}

/* Type and S bit: below 16 a system descriptor. */
static inline unsigned desc_type(uint64_t d)
{
	return (d >> 40) & 0x1f;
}

static inline bool desc_code(uint64_t d)
{
	return (desc_type(d) & 0x18) == 0x18;
}

static inline bool desc_conforming(uint64_t d)
{
	return (desc_type(d) & 0x1c) == 0x1c;
}

static inline bool desc_writable(uint64_t d)
{
	return (desc_type(d) & 0x1a) == 0x12;
}

/* Data, or code that may be read. */
static inline bool desc_readable(uint64_t d)
{
	return (d & DESC_S) && (!(desc_type(d) & 8) || (desc_type(d) & 2));
}

bool emu_read_desc_high(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t *high);
void emu_desc_set_type(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint8_t set,
		       uint8_t clear);
void emu_desc_accessed(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc);
void emu_drop_inner_segs(struct emu_cpu *cpu);

/* far.c */
/* Loads CS from a checked descriptor and sets the CPL. */
void emu_set_cs(struct emu_cpu *cpu, uint16_t sel, uint64_t desc, unsigned cpl);
/* Raises #GP(0) unless rip is inside the code segment that desc describes. */
void emu_check_target(struct emu_cpu *cpu, struct emu_insn *i, uint64_t desc, uint64_t rip);
/* Checks SS:SP for a new privilege level; #TS(sel) and the like. Returns the descriptor. */
uint64_t emu_check_new_ss(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, unsigned cpl,
			  uint32_t ext);

/* A stack other than the current one, on which an event or a far call puts its frame before
 * anything changes. */
struct emu_frame {
	uint64_t base, mask, sp;
	uint32_t limit, attr;
	bool flat;      /* 64-bit mode: no segmentation */
	unsigned idx;   /* kind of access */
	uint32_t error; /* of the #SS when it does not fit */
};

void emu_frame_init(struct emu_cpu *cpu, struct emu_frame *f, const struct vcpu_seg *ss,
		    uint64_t sp, unsigned cpl);
void emu_frame_probe(struct emu_cpu *cpu, struct emu_insn *i, struct emu_frame *f, unsigned size,
		     unsigned n);
void emu_frame_push(struct emu_cpu *cpu, struct emu_insn *i, struct emu_frame *f, unsigned size,
		    uint64_t v);

#endif
