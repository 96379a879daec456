/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a few instructions on this machine's own processor, to compare with. x86-64 hosts only.
 */
#ifndef TESTS_EMU_CORE_NATIVE_H
#define TESTS_EMU_CORE_NATIVE_H

#include <stddef.h>
#include <stdint.h>

struct native_regs {
	uint64_t gpr[16]; /* that of rSP is not used */
	uint64_t rflags;
};

/* 0, or -1 if this host cannot. */
int native_init(void);
/* Returns 0, or the signal that the code raised (SIGFPE and the like). The code must leave rSP and
 * control flow alone. */
int native_run(struct native_regs *r, const void *code, size_t n);

#endif
