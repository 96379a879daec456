/* SPDX-License-Identifier: Apache-2.0
 *
 * Code that changes, by itself, a device or another processor; LOCK.
 */
#include <pthread.h>
#include <string.h>

#include "system.h"
#include "vmmcore/emu/emu.h"

START_TEST(store_into_the_next_instruction_takes_effect)
{
	machine_long(m, &st, 0);
	st.gpr[R_BX] = M_CODE + 2;
	st.gpr[R_AX] = 0xf4;
	st.gpr[R_CX] = 5;
	/* mov %al, (%rbx); inc %ecx (becomes hlt; rol); hlt */
	RUN(0x88, 0x03, 0xff, 0xc1, 0xf4);
	ck_assert_uint_eq(st.rip, M_CODE + 3);
	ck_assert_uint_eq(st.gpr[R_CX], 5);
}
END_TEST

START_TEST(loop_that_rewrites_its_own_immediate)
{
	machine_long(m, &st, 0);
	st.gpr[R_BX] = M_CODE + 1;
	st.gpr[R_DX] = 0;
	/* 0: mov $0, %eax; 5: add %eax, %edx; 7: incl (%rbx); 9: cmpl $10, (%rbx); 12: jne 0 */
	RUN(0xb8, 0, 0, 0, 0, 0x01, 0xc2, 0xff, 0x03, 0x83, 0x3b, 0x0a, 0x75, 0xf2, 0xf4);
	ck_assert_uint_eq(st.gpr[R_DX], 45);
}
END_TEST

START_TEST(code_written_by_a_device_is_decoded_again)
{
	uint8_t one = 0xb0;

	machine_long(m, &st, 0);
	RUN(0xb0, 0x01, 0xf4); /* mov $1, %al; hlt */
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 1);
	one = 2;
	machine_write(m, M_CODE + 1, &one, 1);
	backend_emu.get_state(&m->vcpu[0], &st);
	st.rip = M_CODE;
	st.halted = 0;
	machine_run(m, &st, NULL, 0);
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 2);
}
END_TEST

START_TEST(instruction_across_pages_follows_the_second_mapping)
{
	uint8_t page1[2] = {0xb8, 0x11}, page2[4] = {0x22, 0x33, 0x44, 0xf4};

	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	machine_write64(m, M_PT + 8, 0x300000 | PTE_P | PTE_W);
	machine_write(m, 0x100ffe, page1, 2);
	machine_write(m, 0x300000, page2, 4);
	st.rip = M_WINDOW + 0xffe;
	machine_run(m, &st, NULL, 0);
	ck_assert_uint_eq(st.gpr[R_AX], 0x44332211);
	/* Now the second page elsewhere, without a change to the first. */
	page2[0] = 0x99;
	machine_write(m, 0x302000, page2, 4);
	machine_write64(m, M_PT + 8, 0x302000 | PTE_P | PTE_W);
	st.rip = M_WINDOW + 0xffe;
	st.halted = 0;
	machine_run(m, &st, NULL, 0);
	ck_assert_uint_eq(st.gpr[R_AX], 0x44339911);
	/* And missing. */
	machine_write64(m, M_PT + 8, 0);
	st.rip = M_WINDOW + 0xffe;
	st.halted = 0;
	machine_run(m, &st, NULL, 0);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 14);
	ck_assert_uint_eq(fr.rip, M_WINDOW + 0xffe);
	ck_assert_uint_eq(st.cr2, M_WINDOW + 0x1000);
}
END_TEST

/* Old bug: its block was made again whenever the second page had left the TLB. */
START_TEST(instruction_across_pages_is_decoded_once)
{
	static const uint8_t code[6] = {0xb8, 0x11, 0x22, 0x33, 0x44, 0xf4};
	const struct emu_cpu *cpu = emu_of(&m->vcpu[0]);
	uint32_t used = 0;

	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	machine_write64(m, M_PT + 8, 0x300000 | PTE_P | PTE_W);
	machine_write(m, 0x100ffe, code, 2);
	machine_write(m, 0x300000, code + 2, 4);
	for (unsigned n = 0; n < 3; n++) {
		/* A new state empties the TLB. */
		st.rip = M_WINDOW + 0xffe;
		st.halted = 0;
		st.gpr[R_AX] = 0;
		machine_run(m, &st, NULL, 0);
		ck_assert_uint_eq(st.gpr[R_AX], 0x44332211);
		if (n)
			ck_assert_uint_eq(cpu->arena_used, used);
		used = cpu->arena_used;
	}
}
END_TEST

static void *second_cpu(void *arg)
{
	backend_emu.run(&m->vcpu[1]);
	return NULL;
}

/* One vCPU runs a routine over and over; the other, that has long been writing the page, changes
 * it. */
START_TEST(code_changed_by_another_vcpu_is_seen)
{
	pthread_t t;
	struct vcpu_state other;
	/* vCPU 0: 0: call 0x100; cmp $7, %al; jne 0; hlt. At 0x100: mov $1, %al; ret */
	uint8_t code[0x110] = {0xe8, 0xfb, 0x00, 0x00, 0x00, 0x3c, 0x07, 0x75, 0xf7, 0xf4};
	/* vCPU 1: loop writing a byte of the page, then the immediate, then halts.
	 * mov $2000000, %ecx; 5: movb $0, 0x40(%rbx); dec %ecx; jnz 5; movb $7, 0x101(%rbx); hlt */
	static const uint8_t writer[] = {0xb9, 0x80, 0x84, 0x1e, 0x00, 0xc6, 0x43,
					 0x40, 0x00, 0xff, 0xc9, 0x75, 0xf8, 0xc6,
					 0x83, 0x01, 0x01, 0x00, 0x00, 0x07, 0xf4};

	code[0x100] = 0xb0;
	code[0x101] = 0x01;
	code[0x102] = 0xc3;
	machine_long(m, &st, 0);
	other = st;
	machine_write(m, 0x30000, writer, sizeof(writer));
	other.rip = 0x30000;
	other.gpr[R_BX] = M_CODE;
	other.gpr[R_SP] = M_STACK3;
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[1], &other), 0);
	pthread_create(&t, NULL, second_cpu, NULL);
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	pthread_join(t, NULL);
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 7);
}
END_TEST

START_TEST(locked_adds_of_two_vcpus_all_count)
{
	pthread_t t;
	struct vcpu_state other;
	/* mov $200000, %ecx; 5: lock incq (%rbx); lock xadd %eax, 12(%rbx) at an odd place; dec;
	 * jnz */
	static const uint8_t code[] = {0xb9, 0x40, 0x0d, 0x03, 0x00, 0xf0, 0x48, 0xff, 0x03, 0xf0,
				       0x83, 0x43, 0x0d, 0x01, 0xff, 0xc9, 0x75, 0xf3, 0xf4};

	machine_long(m, &st, 0);
	machine_write64(m, 0x200000, 0);
	machine_write64(m, 0x200008, 0);
	machine_write64(m, 0x200010, 0);
	st.gpr[R_BX] = 0x200000;
	machine_write(m, M_CODE, code, sizeof(code));
	other = st;
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[1], &other), 0);
	pthread_create(&t, NULL, second_cpu, NULL);
	machine_run(m, &st, NULL, 0);
	pthread_join(t, NULL);
	ck_assert_uint_eq(*(uint64_t *)machine_ram(m, 0x200000), 400000);
	uint32_t odd;

	memcpy(&odd, machine_ram(m, 0x20000d), 4);
	ck_assert_uint_eq(odd, 400000);
}
END_TEST

void add_code(Suite *s)
{
	TCase *t = tcase(s, "changing code");

	tcase_add_test(t, store_into_the_next_instruction_takes_effect);
	tcase_add_test(t, loop_that_rewrites_its_own_immediate);
	tcase_add_test(t, code_written_by_a_device_is_decoded_again);
	tcase_add_test(t, instruction_across_pages_follows_the_second_mapping);
	tcase_add_test(t, instruction_across_pages_is_decoded_once);
	tcase_add_test(t, code_changed_by_another_vcpu_is_seen);
	tcase_add_test(t, locked_adds_of_two_vcpus_all_count);
}
