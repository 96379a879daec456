/* SPDX-License-Identifier: Apache-2.0
 *
 * Modes, segments, gates, and the state as a whole.
 */
#include <string.h>

#include "system.h"

START_TEST(real_mode_far_jump_and_interrupt)
{
	machine_real(m, &st);
	st.gpr[R_AX] = 0x1234;
	/* mov %ax, %ds; mov %ds, %bx; ljmp $0x2000, $0x0010; at 0x10: int $0x40 */
	uint8_t code[0x20] = {0x8e, 0xd8, 0x8c, 0xdb, 0xea, 0x10, 0x00, 0x00, 0x20};

	code[0x10] = 0xcd;
	code[0x11] = 0x40;
	machine_run(m, &st, code, sizeof(code));
	ck_assert_uint_eq(st.seg[S_DS].base, 0x12340);
	ck_assert_uint_eq(st.gpr[R_BX] & 0xffff, 0x1234);
	ck_assert_uint_eq(st.rip, M_HANDLERS + 0x400 + 1);
	ck_assert_uint_eq(st.seg[S_CS].selector, 0);
	ck_assert_uint_eq(*(uint16_t *)machine_ram(m, 0x7000 - 6), 0x12);
	ck_assert_uint_eq(*(uint16_t *)machine_ram(m, 0x7000 - 4), 0x2000);
}
END_TEST

START_TEST(real_to_protected_to_long_mode)
{
	uint8_t code[0x80] = {
		0x0f, 0x20, 0xc0,                                     /* mov %cr0, %eax */
		0x0c, 0x01,                                           /* or $1, %al */
		0x0f, 0x22, 0xc0,                                     /* mov %eax, %cr0 */
		0x66, 0xea, 0x20, 0x00, 0x02, 0x00, SEL_CODE32, 0x00, /* ljmpl */
	};
	static const uint8_t protected[] = {
		0x0f, 0x22, 0xe1,                               /* mov %ecx, %cr4 */
		0x0f, 0x22, 0xda,                               /* mov %edx, %cr3 */
		0xb9, 0x80, 0x00, 0x00, 0xc0,                   /* mov $0xc0000080, %ecx */
		0x31, 0xd2,                                     /* xor %edx, %edx */
		0xb8, 0x00, 0x01, 0x00, 0x00,                   /* mov $0x100, %eax */
		0x0f, 0x30,                                     /* wrmsr */
		0x0f, 0x22, 0xc3,                               /* mov %ebx, %cr0 */
		0xea, 0x50, 0x00, 0x02, 0x00, SEL_CODE64, 0x00, /* ljmp */
	};

	machine_long(m, &st, 0); /* for its tables */
	machine_real(m, &st);
	st.gdt = (struct vcpu_dtable){.base = M_GDT, .limit = 0x57};
	st.gpr[R_CX] = 0x20;
	st.gpr[R_DX] = M_TABLES;
	st.gpr[R_BX] = 0x80000011;
	memcpy(code + 0x20, protected, sizeof(protected));
	code[0x50] = 0x48; /* mov $-1, %rsi */
	code[0x51] = 0xc7;
	code[0x52] = 0xc6;
	memset(code + 0x53, 0xff, 4);
	code[0x57] = 0xf4;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.rip, M_CODE + 0x58);
	ck_assert_uint_eq(st.gpr[R_SI], UINT64_MAX);
	ck_assert_uint_eq(st.efer, 0x500);
	ck_assert_uint_eq(st.seg[S_CS].selector, SEL_CODE64);
}
END_TEST

START_TEST(segment_limit_is_checked_outside_long_mode)
{
	machine_protected(m, &st, 0);
	st.seg[S_DS].limit = 0xfff;
	st.gpr[R_BX] = 0xffc;
	/* mov (%ebx), %eax; mov 1(%ebx), %eax */
	RUN(0x8b, 0x03, 0x8b, 0x43, 0x01);
	expect(13, 0, 2);
	machine_protected(m, &st, 0);
	st.seg[S_DS].attr = 0xc091; /* read-only */
	st.gpr[R_BX] = 0x100000;
	RUN(0x8b, 0x03, 0x89, 0x03);
	expect(13, 0, 2);
	/* Expand-down: only above the limit. */
	machine_protected(m, &st, 0);
	st.seg[S_DS].attr = 0xc097;
	st.seg[S_DS].limit = 0xfffff;
	st.gpr[R_BX] = 0x100000;
	RUN(0x8b, 0x03, 0x8b, 0x43, 0xff);
	expect(13, 0, 2);
}
END_TEST

START_TEST(loading_bad_selectors)
{
	static const struct {
		uint16_t sel;
		uint8_t modrm; /* mov %ax, seg */
		int vector;
		uint16_t error;
	} c[] = {
		{0x58, 0xd8, 13, 0x58},                /* DS beyond the table */
		{SEL_TSS, 0xd8, 13, SEL_TSS},          /* DS: a system descriptor */
		{SEL_CODE32, 0xd0, 13, SEL_CODE32},    /* SS: code */
		{0, 0xd0, 13, 0},                      /* SS: null */
		{SEL_UDATA, 0xd0, 13, SEL_UDATA & ~3}, /* SS: RPL 3 */
	};

	machine_protected(m, &st, 0);
	st.gpr[R_AX] = c[_i].sel;
	RUN(0x8e, c[_i].modrm, 0xf4);
	expect(c[_i].vector, c[_i].error, 0);
}
END_TEST

START_TEST(ports_by_the_permission_map)
{
	machine_protected(m, &st, 3);
	/* Map at 0x68: port 0x80 allowed, 0x81 not. */
	*(uint16_t *)machine_ram(m, M_TSS + 0x66) = 0x68;
	*machine_ram(m, M_TSS + 0x68 + 0x10) = 0xfe;
	*machine_ram(m, M_TSS + 0x68 + 0x11) = 0xff;
	m->pio.answer = 0x5a;
	RUN(0xe4, 0x80, 0xe4, 0x81); /* in $0x80, %al; in $0x81, %al */
	expect(13, 0, 2);
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 0x5a);
	ck_assert_uint_eq(m->pio.reads, 1);
}
END_TEST

START_TEST(strings_to_and_from_ports)
{
	uint16_t in[3];

	machine_long(m, &st, 0);
	machine_write64(m, 0x100000, 0x030201);
	st.gpr[R_SI] = 0x100000;
	st.gpr[R_DI] = 0x101000;
	st.gpr[R_CX] = 3;
	st.gpr[R_DX] = 0x80;
	m->pio.answer = 0xbeef;
	/* rep outsb; mov $2, %ecx; rep insw; hlt */
	RUN(0xf3, 0x6e, 0xb9, 2, 0, 0, 0, 0x66, 0xf3, 0x6d, 0xf4);
	ck_assert_uint_eq(m->pio.writes, 3);
	ck_assert_uint_eq(m->pio.value, 3);
	ck_assert_uint_eq(m->pio.reads, 2);
	ck_assert_uint_eq(m->pio.size, 2);
	memcpy(in, machine_ram(m, 0x101000), sizeof(in));
	ck_assert_uint_eq(in[0], 0xbeef);
	ck_assert_uint_eq(in[1], 0xbeef);
	ck_assert_uint_eq(in[2], 0);
	ck_assert_uint_eq(st.gpr[R_SI], 0x100003);
	ck_assert_uint_eq(st.gpr[R_DI], 0x101004);
	ck_assert_uint_eq(st.gpr[R_CX], 0);
}
END_TEST

START_TEST(call_gate_to_level_0_copies_parameters)
{
	uint64_t gate = (M_CODE + 0x40) & 0xffff;

	machine_protected(m, &st, 3);
	/* A 32-bit gate with two parameters at selector 0x40, DPL 3. */
	gate |= (uint64_t)SEL_CODE32 << 16 | 2ull << 32 | 0xecull << 40 |
		(uint64_t)(M_CODE >> 16) << 48;
	machine_write64(m, M_GDT + 0x40, gate);
	uint8_t code[0x44] = {
		0x6a, 0x11, 0x6a, 0x22,                /* push; push */
		0x9a, 0,    0,    0,    0, 0x43, 0x00, /* lcall $0x43, $0 */
	};

	code[0x40] = 0xf4;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.rip, M_CODE + 0x41);
	const uint32_t *s = (const uint32_t *)machine_ram(m, st.gpr[R_SP]);

	ck_assert_uint_eq(st.gpr[R_SP], M_STACK0 - 24);
	ck_assert_uint_eq(s[0], M_CODE + 11);
	ck_assert_uint_eq(s[1], SEL_UCODE32);
	ck_assert_uint_eq(s[2], 0x22);
	ck_assert_uint_eq(s[3], 0x11);
	ck_assert_uint_eq(s[4], M_STACK3 - 8);
	ck_assert_uint_eq(s[5], SEL_UDATA);
}
END_TEST

START_TEST(virtual_8086_and_back)
{
	machine_protected(m, &st, 0);
	/* iretl to V86 at 2000:0040 with IOPL 3; there: mov $0x1234, %ax; int3 */
	uint8_t code[0x50] = {0xcf};

	code[0x40] = 0xb8;
	code[0x41] = 0x34;
	code[0x42] = 0x12;
	code[0x43] = 0xcc;
	st.gpr[R_SP] = M_STACK0 - 0x100;
	uint32_t f[9] = {0x40, M_CODE >> 4, 0x23202, 0x7000, 0x0, 0x11, 0x22, 0x33, 0x44};

	machine_write(m, st.gpr[R_SP], f, sizeof(f));
	machine_run(m, &st, code, sizeof(code));
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 3);
	ck_assert_uint_eq(fr.rip, 0x44);
	ck_assert_uint_eq(fr.cs, M_CODE >> 4);
	ck_assert_uint_eq(fr.rflags & 0x20000, 0x20000);
	ck_assert_uint_eq(st.gpr[R_AX], 0x1234);
	const uint32_t *s = (const uint32_t *)machine_ram(m, st.gpr[R_SP]);

	ck_assert_uint_eq(st.gpr[R_SP], M_STACK0 - 36);
	ck_assert_uint_eq(s[5], 0x11);
	ck_assert_uint_eq(s[8], 0x44);
	ck_assert_uint_eq(st.seg[S_DS].selector, 0);
}
END_TEST

/* ---- state ---- */

START_TEST(state_goes_in_and_comes_out)
{
	struct vcpu_state out;

	machine_long(m, &st, 0);
	for (unsigned r = 0; r < 16; r++)
		st.gpr[r] = 0x1000 + r;
	st.rflags = 0xad7;
	st.cr2 = 0x1234;
	st.pat = 0x0007040600070406;
	st.lstar = 0xffffffff81000000;
	st.kernel_gs_base = 77;
	st.nmi_masked = 1;
	for (unsigned x = 160; x < 416; x++)
		st.fxsave[x] = (uint8_t)x;
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[0], &st), 0);
	ck_assert_int_eq(backend_emu.get_state(&m->vcpu[0], &out), 0);
	out.tsc = st.tsc;
	ck_assert_mem_eq(out.fxsave + 160, st.fxsave + 160, 256);
	memcpy(out.fxsave, st.fxsave, sizeof(out.fxsave));
	ck_assert_mem_eq(&out, &st, sizeof(st));
}
END_TEST

START_TEST(impossible_state_is_refused)
{
	machine_long(m, &st, 0);
	st.cr0 &= ~1ull;
	ck_assert_int_lt(backend_emu.set_state(&m->vcpu[0], &st), 0);
}
END_TEST

void add_modes(Suite *s)
{
	TCase *t = tcase(s, "modes");

	tcase_add_test(t, real_mode_far_jump_and_interrupt);
	tcase_add_test(t, real_to_protected_to_long_mode);
	tcase_add_test(t, segment_limit_is_checked_outside_long_mode);
	tcase_add_loop_test(t, loading_bad_selectors, 0, 5);
	tcase_add_test(t, ports_by_the_permission_map);
	tcase_add_test(t, strings_to_and_from_ports);
	tcase_add_test(t, call_gate_to_level_0_copies_parameters);
	tcase_add_test(t, virtual_8086_and_back);
	tcase_add_test(t, state_goes_in_and_comes_out);
	tcase_add_test(t, impossible_state_is_refused);
}
