/* SPDX-License-Identifier: Apache-2.0
 *
 * Protected mode outside long mode, and virtual-8086 mode, one piece of code at a time.
 * legacy_run() (legacy_run.S) leaves long mode, loads the tables and registers, goes by IRET where
 * the frame says, and comes back by whatever vector comes next.
 *
 * Here also what the guests with stated answers share (legacy.c); sysdiff_legacy makes tables of
 * its own.
 */
#ifndef BULKHEAD_TESTS_GUEST_LEGACY_H
#define BULKHEAD_TESTS_GUEST_LEGACY_H

#include "guest.h"

/* SDM vol. 3A, figures 7-2 and 7-10. */
struct tss32 {
	uint16_t link, pad0;
	struct {
		uint32_t esp;
		uint16_t ss, pad;
	} level[3];
	uint32_t cr3, eip, eflags, gpr[8];
	struct {
		uint16_t sel, pad;
	} seg[6], ldt;
	uint16_t trap, iomap;
};

struct tss16 {
	uint16_t link, level[3][2], ip, flags, gpr[8], seg[4], ldt;
};

/* Of legacy_in. */
enum { IN_GS, IN_FS, IN_ES, IN_DS, IN_DI, IN_SI, IN_BP, IN_SP, IN_BX, IN_DX, IN_CX, IN_AX, IN_SS };
/* Of legacy_out: segments, registers, the frame, the stack behind it; what an outer level had; in
 * virtual-8086 mode also its segments. A vector that has come through a task gate is 100h more. */
enum {
	OUT_DS,
	OUT_ES,
	OUT_FS,
	OUT_GS,
	OUT_DI,
	OUT_SI,
	OUT_BP,
	OUT_KERNEL_SP, /* as PUSHA saw it */
	OUT_BX,
	OUT_DX,
	OUT_CX,
	OUT_AX,
	OUT_VECTOR,
	OUT_ERROR,
	OUT_EIP,
	OUT_CS,
	OUT_FLAGS,
	OUT_SP,
	OUT_SS,
	OUT_OUTER_SP,
	OUT_OUTER_SS,
	OUT_V86_ES,
	OUT_V86_DS,
	OUT_V86_FS,
	OUT_V86_GS,
	OUT_CR0,
	OUT_TR,
	OUT_LDTR,
	OUT_COUNT
};

extern uint32_t legacy_in[16], legacy_cr4, legacy_out[1024];
extern struct table_register legacy_gdtr, legacy_idtr;
extern uint64_t legacy_root[4];
extern const uint8_t legacy_stubs[256][16], legacy_escape[16][16], legacy_text_end[];
void legacy_run(void);

/* ---- legacy.c ---- */

/* Selectors; those of guest.h below 40h, TSS and LDT as legacy_run() wants them. */
enum {
	SEL_USER32 = 0x2b, /* user code */
	SEL_USER_DATA = 0x33,
	SEL_LDT = 0x50,
	SEL_TSS32 = 0x58,
	SEL_TSS16 = 0x60,
	SEL_GATE = 0x68, /* this and the next ones are for the tests */
	SEL_TEST = 0x70,
	SEL_TEST2 = 0x78,
	SEL_ESCAPE = 0x80, /* tasks that end a run: four */
};
enum { LEGACY_DESCRIPTORS = 24 };
/* Low memory for virtual-8086 mode, 64 KiB each; NO_USER: a page that is not the user's. */
enum { V86_CODE = 0x20000, V86_SS = 0x30000, V86_DATA = 0x40000, V86_NO_USER = 0x50000 };

extern struct legacy_area {
	uint64_t gdt[LEGACY_DESCRIPTORS], ldt[8];
	struct tss32 tss;    /* the task that begins, SEL_TSS */
	uint8_t iomap[33];   /* of ports 0 to FFh; all closed */
	struct tss32 next;   /* SEL_TSS32 */
	struct tss16 next16; /* SEL_TSS16 */
	struct tss32 escape[4];
	uint32_t frame[9]; /* for IRET out of level 0 */
	uint32_t stack0[64], stack1[64], stack3[64], next_stack[64], escape_stack[4][64];
	uint8_t code[4096] __attribute__((aligned(4096)));
	uint32_t data[1024];
	uint64_t idt[256];
} legacy;

uint64_t descriptor32(uint32_t base, uint32_t limit, uint32_t attr);
uint64_t gate32(uint16_t selector, uint32_t offset, unsigned params, uint32_t attr);
void legacy_init(void); /* once: paging */
/* Tables as the enums say, stacks empty, level 0 at code. Interrupt gates to stubs for all vectors,
 * of 70h to 7Fh and of INT3 and INTO with DPL 3; a task gate for #DF. next: a task at level 0 that
 * begins at code + 100h. */
void legacy_default(void);
void legacy_user(void); /* level 3 instead */
/* Virtual-8086 mode instead, at V86_CODE:0; flags: what EFLAGS has beside VM. */
void legacy_v86(uint32_t flags);
/* Vector through the task gate of escape task k, which this vector's number belongs to: only 8 to
 * 15. */
void legacy_task_gate(unsigned vector, unsigned k);
void legacy_go(void);

/* Code by name: of 32 bits, for legacy.code + at, and of 16 bits, for V86_CODE + at. */
#define PIECE(name, bits, text)                                                                    \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .rodata\n"                                                           \
		".globl " #name ", " #name "_end\n" #name ":\n"                                    \
		".code" #bits "\n" text "\n"                                                       \
		".code64\n" #name "_end:\n"                                                        \
		".popsection")
#define PUT(name, where) memcpy((void *)(uint64_t)(where), name, name##_end - name)
#define CODE_AT          ((uint32_t)(uint64_t)legacy.code)

#endif
