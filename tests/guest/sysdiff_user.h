/* SPDX-License-Identifier: Apache-2.0
 *
 * The instructions of ordinary programs, in 16- and 32-bit code, for sysdiff_real and
 * sysdiff_legacy.
 */
#ifndef BULKHEAD_TESTS_GUEST_SYSDIFF_USER_H
#define BULKHEAD_TESTS_GUEST_SYSDIFF_USER_H

#include "sysdiff.h"

#define CF   0x001u
#define PF   0x004u
#define AF   0x010u
#define ZF   0x040u
#define SF   0x080u
#define OF   0x800u
#define ALL6 (CF | PF | AF | ZF | SF | OF)

enum {
	Z = 16,      /* immediate as wide as the operand, but 64 bits */
	MOFFS = 17,  /* an offset as wide as the address */
	REG = 1,     /* register operand only */
	MEM = 2,     /* memory operand only */
	LOCKED = 4,  /* takes LOCK, if the operand is memory */
	SMALL = 8,   /* immediate and CL are counts below the operand's width */
	WIDE = 16,   /* with 32-bit operands only */
	STRING = 32, /* takes REP */
};

/* As struct form; undefined: flags that the manual leaves open; more: of the enum above. */
struct user_form {
	uint8_t n, op[2];
	int8_t reg;
	uint8_t imm;
	uint16_t undefined;
	uint8_t more;
};

/* An instruction as it was made. */
struct user_case {
	const struct user_form *form;
	bool wide, address32; /* operands and addresses of 32 bits */
};

/* One at p, of 16-bit or 32-bit code. Its memory operand is within 4 KiB of what the registers and
 * a displacement of at most 7FFh say, if those that are not the stack pointer are 100h to 7FFh. */
void make_user(uint8_t *p, bool code32, struct user_case *u);
/* How many of *all forms were made. */
unsigned user_forms_met(unsigned *all);
/* The low n bytes of v; returns p + n. */
uint8_t *put(uint8_t *p, uint64_t v, unsigned n);

#endif
