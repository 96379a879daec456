/* SPDX-License-Identifier: Apache-2.0
 *
 * Real mode, one piece of 16-bit code at a time: real_run() leaves long mode, loads what
 * real_io->in says, goes there by IRET, and comes back by whatever vector comes next, whose number
 * and what was in the registers it leaves in real_io->out.
 *
 * Below 1 MiB: the interrupt vectors at 0, all of them to stubs in the page at REAL_AT; struct
 * real_io at REAL_IO; from REAL_CODE on, in 64 KiB each, what the code under test has.
 */
#ifndef BULKHEAD_TESTS_GUEST_REAL_H
#define BULKHEAD_TESTS_GUEST_REAL_H

#include "guest.h"

#define REAL_AT    0xa000
#define REAL_IO    0xb000
#define REAL_STACK 0xc000 /* top of the stack on which the way back begins */
#define REAL_CODE  0x10000
#define REAL_DATA  0x20000
#define REAL_SS    0x30000

/* Offsets in struct real_io. */
#define IO_IDTR   0
#define IO_KEEP   8
#define IO_SEGS   12 /* ES CS SS DS FS GS */
#define IO_GPR    24 /* in the order of ModRM */
#define IO_FLAGS  56
#define IO_IP     60
#define IO_OUT    0x100
#define OUT_GPR   0x100
#define OUT_SEGS  0x120
#define OUT_FRAME 0x12c /* vector, IP, CS, FLAGS: 16 bits each */
#define OUT_CR0   0x134
#define OUT_FLAGS 0x138 /* EFLAGS in the handler */

#ifndef __ASSEMBLER__

enum { ES, CS, SS, DS, FS, GS };
enum { AX, CX, DX, BX, SP, BP, SI, DI };

struct real_io {
	/* In. */
	uint16_t idt_limit, idt_base[2], pad;
	uint32_t keep; /* 1: FS is not loaded, and has base 0 and a limit of 4 GiB */
	uint16_t seg[6];
	uint32_t gpr[8];
	uint32_t flags, ip;
	uint8_t pad2[IO_OUT - 64];
	/* Out. */
	struct {
		uint32_t gpr[8];
		uint16_t seg[6], vector, ip, cs, flags;
		uint32_t cr0, eflags;
	} out;
};
#define real_io ((struct real_io *)(uint64_t)REAL_IO)

/* Once, before anything else: vectors and stubs. */
void real_init(void);
/* Registers as at first: code at REAL_CODE:0, data at REAL_DATA, the stack's top at REAL_SS:8000h,
 * all else 0. */
void real_default(void);
/* Also puts the frame on the stack that IRET takes. */
void real_run(void);

/* 16-bit code by name, for real_code(). */
#define REAL(name, text)                                                                           \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .rodata\n"                                                           \
		".globl " #name ", " #name "_end\n" #name ":\n"                                    \
		".code16\n" text "\n"                                                              \
		".code64\n" #name "_end:\n"                                                        \
		".popsection")
/* Copies it to REAL_CODE + at. */
#define real_code(name, at) memcpy((void *)(REAL_CODE + (uint64_t)(at)), name, name##_end - name)

static inline void *real_at(uint16_t seg, uint32_t off)
{
	return (void *)((uint64_t)seg * 16 + off);
}

#endif
#endif
