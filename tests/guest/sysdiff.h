/* SPDX-License-Identifier: Apache-2.0
 *
 * What the guests sysdiff and sysdiff_legacy share.
 */
#ifndef BULKHEAD_TESTS_GUEST_SYSDIFF_H
#define BULKHEAD_TESTS_GUEST_SYSDIFF_H

#include "guest.h"

enum { EVERY = 500 }; /* cases from sum to sum, as in compare-processors */

/* Modes in which an instruction is run, and what else there is to it. ONLY: in sysdiff_legacy. */
enum {
	M64 = 1,
	M32 = 2,
	M16 = 4,
	LEGACY = M32 | M16,
	ANY = 7,
	LOCKS = 8,
	NEAR = 16,
	NO_W = 32,
	ONLY = 64,
	FARS = 128
};

/* Opcode bytes, whether a ModRM byte follows with which reg field (8: any; -1: none), bytes of
 * immediate (FAR: a far pointer), modes. */
enum { FAR = 255 };
struct form {
	const char *name;
	uint8_t n, op[3];
	int8_t reg;
	uint8_t imm;
	uint16_t modes;
};

void random_init(void); /* option "seed" */
uint64_t rnd(void);
uint32_t upto(uint32_t n); /* 0 to n - 1 */
uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr);
uint64_t hash(uint64_t h, const void *p, size_t size);
/* A random instruction at code + 32, INT3 around it. target: of direct far branches, the selector
 * and the offset; NULL: neither they nor what is ONLY. */
struct far_target {
	uint16_t selector;
	uint32_t offset;
};
const struct form *make_code(uint8_t *code, unsigned mode, const struct far_target *target);
void end_of_cases(unsigned count, unsigned long exceptions);

#endif
