/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs single instructions on the host's own processor, with all of the user-visible state given
 * and taken. x86-64 hosts only: native_open() says why not.
 */
#ifndef BULKHEAD_TESTS_UNIT_EMU_FPU_NATIVE_H
#define BULKHEAD_TESTS_UNIT_EMU_FPU_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The FXSAVE64 image, as far as tests look at it. */
struct fx {
	uint16_t cw, sw;
	uint8_t tag, rsvd0;
	uint16_t fop;
	uint64_t rip, rdp;
	uint32_t mxcsr, mxcsr_mask;
	struct {
		uint64_t m;
		uint16_t se;
		uint16_t rsvd[3];
	} st[8]; /* in stack order */
	uint8_t xmm[16][16];
	uint8_t rsvd1[96];
};

/* RAX, RCX, RDX, RBX, then RSI, RDI as in ModRM order; RSP and RBP (4, 5) are not used. */
struct native {
	_Alignas(64) struct fx in, out;
	uint64_t gpr[8];
	uint64_t eflags;
	int trap; /* 0, or the signal: SIGFPE, SIGILL, SIGSEGV */
};

/* Maps the page for code. Returns 0, or -1 with a reason: not an x86-64 host. */
int native_open(const char **why);
/* Appends an instruction and returns the code to run; valid until native_reset(). */
const void *native_code(const uint8_t *bytes, unsigned n);
void native_reset(void);
/* Runs it: state from in, gpr and eflags; results in out, gpr, eflags and trap. */
void native_run(struct native *n, const void *code);

/* -- operands and modes -- */

uint64_t rnd(void);
static inline uint64_t rnd_below(uint64_t n)
{
	return rnd() % n;
}
void rnd_seed(uint64_t seed);
/* Floating-point values of all classes, with neighbourhoods where rounding is decided. */
uint32_t rnd_f32(void);
uint64_t rnd_f64(void);
void rnd_f80(uint64_t *m, uint16_t *se);
/* A vector register of one of many kinds. */
void rnd_vector(uint8_t v[16]);
uint32_t rnd_mxcsr(void);

#endif
