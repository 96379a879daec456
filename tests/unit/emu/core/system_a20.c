/* SPDX-License-Identifier: Apache-2.0
 *
 * The A20 gate: guest-physical address bit 20, masked in every access of the processor. The
 * machine's platform moves it by port 92h, bit 1, as system control port A does.
 */
#include <string.h>

#include "system.h"

enum { LOW = 0x800, HIGH = LOW + (1 << 20) }; /* one place while A20 is masked */

static uint64_t ram64(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, machine_ram(m, gpa), 8);
	return v;
}

static void set_up(void)
{
	machine_long(m, &st, 0);
	machine_write64(m, LOW, 0x1111);
	machine_write64(m, HIGH, 0x20000);
	st.gpr[R_BX] = HIGH;
	st.gpr[R_CX] = 100;
}

/* Often enough that it is translated; the access is in the block of the OUT. */
START_TEST(loads_after_each_move_of_the_gate)
{
	set_up();
	ck_assert_int_eq(RUN(0x31, 0xc0,       /* 1: xor %eax, %eax */
			     0xe6, 0x92,       /* out %al, $0x92 */
			     0x48, 0x03, 0x33, /* add (%rbx), %rsi */
			     0xb0, 0x02,       /* mov $2, %al */
			     0xe6, 0x92,       /* out %al, $0x92 */
			     0x48, 0x03, 0x3b, /* add (%rbx), %rdi */
			     0xff, 0xc9,       /* dec %ecx */
			     0x75, 0xee,       /* jnz 1b */
			     0xf4),
			 VCPU_STOP_HALT);
	ck_assert_uint_eq(st.gpr[R_SI], 100 * 0x1111);
	ck_assert_uint_eq(st.gpr[R_DI], 100 * 0x20000);
}
END_TEST

START_TEST(stores_and_locked_ones)
{
	set_up();
	st.gpr[R_DX] = 5;
	ck_assert_int_eq(RUN(0x31, 0xc0,              /* 1: xor %eax, %eax */
			     0xe6, 0x92,              /* out %al, $0x92 */
			     0x48, 0x01, 0x13,        /* add %rdx, (%rbx) */
			     0xf0, 0x48, 0x01, 0x13,  /* lock add %rdx, (%rbx) */
			     0xff, 0xc9,              /* dec %ecx */
			     0x75, 0xf1,              /* jnz 1b */
			     0xb0, 0x02,              /* mov $2, %al */
			     0xe6, 0x92,              /* out %al, $0x92 */
			     0x48, 0xff, 0x03, 0xf4), /* incq (%rbx); hlt */
			 VCPU_STOP_HALT);
	ck_assert_uint_eq(ram64(LOW), 0x1111 + 100 * 10);
	ck_assert_uint_eq(ram64(HIGH), 0x20001);
}
END_TEST

/* The same linear address leads to two routines, both hot. */
START_TEST(code_after_each_move_of_the_gate)
{
	static const uint8_t low[] = {0x48, 0x83, 0xc6, 0x01, 0xc3};  /* add $1, %rsi; ret */
	static const uint8_t high[] = {0x48, 0x83, 0xc7, 0x02, 0xc3}; /* add $2, %rdi; ret */

	set_up();
	machine_write(m, LOW, low, sizeof(low));
	machine_write(m, HIGH, high, sizeof(high));
	ck_assert_int_eq(RUN(0x31, 0xc0, /* 1: xor %eax, %eax */
			     0xe6, 0x92, /* out %al, $0x92 */
			     0xff, 0xd3, /* call *%rbx */
			     0xb0, 0x02, /* mov $2, %al */
			     0xe6, 0x92, /* out %al, $0x92 */
			     0xff, 0xd3, /* call *%rbx */
			     0xff, 0xc9, /* dec %ecx */
			     0x75, 0xf0, /* jnz 1b */
			     0xf4),
			 VCPU_STOP_HALT);
	ck_assert_uint_eq(st.gpr[R_SI], 100);
	ck_assert_uint_eq(st.gpr[R_DI], 200);
}
END_TEST

START_TEST(page_tables_are_read_through_the_gate)
{
	set_up();
	/* The directory names a table of 4 KiB pages above 1 MiB; 1 MiB below it is another. */
	machine_write64(m, 0x4000, (M_PT + (1 << 20)) | 7);
	machine_write64(m, M_PT, 0x30000 | 7);
	machine_write64(m, M_PT + (1 << 20), 0x31000 | 7);
	machine_write64(m, 0x30000, 3);
	machine_write64(m, 0x31000, 4);
	st.gpr[R_BX] = M_WINDOW;
	ck_assert_int_eq(RUN(0x8b, 0x3b,        /* mov (%rbx), %edi */
			     0x31, 0xc0,        /* xor %eax, %eax */
			     0xe6, 0x92,        /* out %al, $0x92 */
			     0x8b, 0x33, 0xf4), /* mov (%rbx), %esi; hlt */
			 VCPU_STOP_HALT);
	ck_assert_uint_eq(st.gpr[R_DI], 4);
	ck_assert_uint_eq(st.gpr[R_SI], 3);
	/* And marked there. */
	ck_assert_uint_eq(ram64(M_PT) & PTE_A, PTE_A);
}
END_TEST

START_TEST(it_is_one_gate_for_all_processors)
{
	struct vcpu_state other;

	set_up();
	other = st;
	RUN(0x31, 0xc0, 0xe6, 0x92, 0xf4); /* xor %eax, %eax; out %al, $0x92; hlt */
	machine_write(m, M_CODE, CODE(LOAD_RBX), sizeof(CODE(LOAD_RBX)));
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[1], &other), 0);
	ck_assert_int_eq(backend_emu.run(&m->vcpu[1]), VCPU_STOP_HALT);
	ck_assert_int_eq(backend_emu.get_state(&m->vcpu[1], &other), 0);
	ck_assert_uint_eq(other.gpr[R_AX], 0x1111);
	/* A reset's: whatever the processors are at, they see it when they run. */
	backend_emu.a20(&m->vm, true);
	set_up();
	RUN(LOAD_RBX);
	ck_assert_uint_eq(st.gpr[R_AX], 0x20000);
}
END_TEST

START_TEST(a_loaded_state_does_not_move_it)
{
	set_up();
	backend_emu.a20(&m->vm, false);
	RUN(LOAD_RBX);
	ck_assert_uint_eq(st.gpr[R_AX], 0x1111);
	set_up();
	RUN(LOAD_RBX);
	ck_assert_uint_eq(st.gpr[R_AX], 0x1111);
}
END_TEST

void add_a20(Suite *s)
{
	TCase *t = tcase(s, "a20");

	tcase_add_test(t, loads_after_each_move_of_the_gate);
	tcase_add_test(t, stores_and_locked_ones);
	tcase_add_test(t, code_after_each_move_of_the_gate);
	tcase_add_test(t, page_tables_are_read_through_the_gate);
	tcase_add_test(t, it_is_one_gate_for_all_processors);
	tcase_add_test(t, a_loaded_state_does_not_move_it);
}
