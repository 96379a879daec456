/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of test_system share: the machine and the state of the current test. Code is
 * written as bytes, the assembly beside it.
 */
#ifndef TESTS_EMU_CORE_SYSTEM_H
#define TESTS_EMU_CORE_SYSTEM_H

#include <check.h>

#include "machine.h"

extern struct machine *m;
extern struct vcpu_state st;
extern struct frame fr;

#define CODE(...) ((const uint8_t[]){__VA_ARGS__})
#define RUN(...)  machine_run(m, &st, CODE(__VA_ARGS__), sizeof(CODE(__VA_ARGS__)))

/* Expects that the run ended with an exception by the instruction at M_CODE + at. */
void expect(int vector, uint64_t error, uint64_t at);
void raise_irq(int vector);
/* A test case of the suite, with a machine of two processors. */
TCase *tcase(Suite *s, const char *name);

/* mov (%rbx), %rax; hlt */
#define LOAD_RBX 0x48, 0x8b, 0x03, 0xf4
/* mov %rax, (%rbx); hlt */
#define STORE_RBX 0x48, 0x89, 0x03, 0xf4

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40 };
#define PTE_NX (1ull << 63)
/* Entry n of the table of 4 KiB pages. */
uint64_t pte(unsigned n);

/* The parts. */
void add_paging(Suite *s);
void add_exceptions(Suite *s);
void add_interrupts(Suite *s);
void add_code(Suite *s);
void add_modes(Suite *s);
void add_a20(Suite *s);

#endif
