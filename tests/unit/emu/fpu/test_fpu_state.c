/* SPDX-License-Identifier: Apache-2.0
 *
 * What the comparison with the host's processor cannot reach: the tables' order, images and
 * environments of other modes (SDM vol. 1, figures 8-9 to 8-12; vol. 2A, table of FXSAVE), what is
 * undefined, reserved bits.
 */
#include <check.h>
#include <string.h>

#include "vmmcore/emu/fpu/simd.h"
#include "tests/unit/run_suite.h"

static struct emu_fpu f;
static struct emu_x87_env env;
static uint8_t mem[EMU_X87_MEM_MAX];

static void setup(void)
{
	memset(&f, 0, sizeof(f));
	memset(&env, 0, sizeof(env));
	memset(mem, 0, sizeof(mem));
	emu_fpu_reset(&f);
	emu_x87_exec(&f, 0xdb, 0xe3, NULL, &env); /* FNINIT */
}

static int exec(uint8_t opcode, uint8_t modrm)
{
	return emu_x87_exec(&f, opcode, modrm, modrm < 0xc0 ? mem : NULL, &env);
}

static uint16_t word(unsigned at)
{
	uint16_t v;

	memcpy(&v, mem + at, 2);
	return v;
}

static uint32_t dword(unsigned at)
{
	uint32_t v;

	memcpy(&v, mem + at, 4);
	return v;
}

static void load_cw(uint16_t cw)
{
	memcpy(mem, &cw, 2);
	exec(0xd9, 0x2f);
}

START_TEST(tables_are_sorted_and_complete)
{
	const struct {
		const struct simd_entry *t;
		unsigned n;
	} tables[] = {{simd_table_0f, simd_count_0f},
		      {simd_table_0f38, simd_count_0f38},
		      {simd_table_0f3a, simd_count_0f3a}};

	for (unsigned k = 0; k < 3; k++) {
		for (unsigned i = 0; i < tables[k].n; i++) {
			const struct simd_entry *e = &tables[k].t[i];

			ck_assert_ptr_nonnull(e->op.fn);
			ck_assert_uint_eq(e->key >> 16, k + 1);
			if (i)
				ck_assert_uint_ge(e->key, e[-1].key);
		}
	}
}
END_TEST

START_TEST(lookup_finds_by_form)
{
	const struct emu_simd_op *op = emu_simd_lookup(1, EMU_PFX_66, 0xef, false, true, 0);

	ck_assert_str_eq(op->name, "pxor");
	ck_assert_uint_eq(op->dst_kind, EMU_K_XMM);
	ck_assert_uint_eq(op->mem_bytes, 16);
	ck_assert_uint_eq(op->cpuid, EMU_CPU_SSE2);
	ck_assert(op->flags & EMU_SIMD_ALIGN);
	/* Groups by ModRM.reg, register only. */
	ck_assert_str_eq(emu_simd_lookup(1, EMU_PFX_66, 0x73, false, false, 3)->name, "psrldq");
	ck_assert_ptr_null(emu_simd_lookup(1, EMU_PFX_NONE, 0x73, false, false, 3));
	ck_assert_ptr_null(emu_simd_lookup(1, EMU_PFX_66, 0x73, false, true, 2));
	/* By REX.W. */
	ck_assert_uint_eq(emu_simd_lookup(1, EMU_PFX_66, 0x6e, true, false, 0)->mem_bytes, 8);
	ck_assert_uint_eq(emu_simd_lookup(1, EMU_PFX_66, 0x6e, false, false, 0)->mem_bytes, 4);
	/* 66 beside F2 is a prefix of CRC32 only. */
	ck_assert_uint_eq(emu_simd_lookup(2, EMU_PFX_66F2, 0xf1, false, false, 0)->src_kind,
			  EMU_K_GPR16);
	ck_assert_str_eq(emu_simd_lookup(1, EMU_PFX_66F2, 0x58, false, false, 0)->name, "addsd");
}
END_TEST

START_TEST(lookup_refuses_what_is_not_there)
{
	/* UD2; MOVNTPS with a register; F3 XORPS; AESENC; MOVBE; no map. */
	ck_assert_ptr_null(emu_simd_lookup(1, EMU_PFX_NONE, 0x0b, false, false, 0));
	ck_assert_ptr_null(emu_simd_lookup(1, EMU_PFX_NONE, 0x2b, false, false, 0));
	ck_assert_ptr_null(emu_simd_lookup(1, EMU_PFX_F3, 0x57, false, false, 0));
	ck_assert_ptr_null(emu_simd_lookup(2, EMU_PFX_66, 0xdc, false, false, 0));
	ck_assert_ptr_null(emu_simd_lookup(2, EMU_PFX_NONE, 0xf0, false, true, 0));
	ck_assert_ptr_null(emu_simd_lookup(0, EMU_PFX_NONE, 0x58, false, false, 0));
	ck_assert_ptr_null(emu_simd_lookup(3, EMU_PFX_NONE, 0xff, true, true, 7));
}
END_TEST

START_TEST(reset_and_fninit)
{
	emu_fpu_reset(&f);
	ck_assert_uint_eq(f.cw, 0x0040);
	ck_assert_uint_eq(emu_x87_sw(&f), 0);
	ck_assert_uint_eq(f.tag, 0xff);
	ck_assert_uint_eq(emu_fpu_mxcsr(&f), 0x1f80);
	exec(0xdb, 0xe3);
	ck_assert_uint_eq(f.cw, 0x037f);
	ck_assert_uint_eq(f.tag, 0);
}
END_TEST

START_TEST(mxcsr_reserved_bits_fault)
{
	uint8_t image[512] = {0};
	uint32_t bad = 0x10000;

	ck_assert_int_eq(emu_fpu_set_mxcsr(&f, bad), -1);
	ck_assert_uint_eq(emu_fpu_mxcsr(&f), 0x1f80);
	f.cw = 0x027f;
	memcpy(image + 24, &bad, 4);
	ck_assert_int_eq(emu_fxrstor(&f, image, EMU_FX_LONG), -1);
	ck_assert_uint_eq(f.cw, 0x027f);
	/* Without SSE in it, the field does not count. */
	ck_assert_int_eq(emu_fxrstor(&f, image, EMU_FX_NO_SSE), 0);
}
END_TEST

START_TEST(last_instruction_is_recorded)
{
	env = (struct emu_x87_env){.ip = 0x1122334455667788, .dp = 0x99, .cs = 0x10, .ds = 0x18};
	exec(0xd9, 0x07); /* FLD m32 */
	ck_assert_uint_eq(f.fop, 0x107);
	ck_assert_uint_eq(f.fip, 0x1122334455667788);
	ck_assert_uint_eq(f.fdp, 0x99);
	env.ip = 1;
	env.dp = 2;
	exec(0xd9, 0xe0); /* FCHS has no data pointer, */
	ck_assert_uint_eq(f.fip, 1);
	ck_assert_uint_eq(f.fdp, 0x99);
	env.ip = 3;
	exec(0xd9, 0x3f); /* and FNSTCW is not recorded. */
	ck_assert_uint_eq(f.fip, 1);
	ck_assert_uint_eq(f.fop, 0x1e0);
}
END_TEST

/* One register, zero, so that the tag word is not trivial. */
static void fill_env(void)
{
	exec(0xd9, 0xee); /* FLDZ: R7, TOP 7 */
	f.fip = 0x87654321;
	f.fcs = 0;
	f.fdp = 0x12345678;
	f.fds = 0;
	f.fop = 0x5a5;
}

START_TEST(environment_protected_32)
{
	fill_env();
	f.fcs = 0x23;
	f.fds = 0x2b;
	env.layout = EMU_X87_ENV32 | EMU_X87_ENVPM;
	exec(0xd9, 0x37);
	ck_assert_uint_eq(word(0), 0x037f);
	ck_assert_uint_eq(word(4), 0x3800);
	ck_assert_uint_eq(word(8), 0x7fff);
	ck_assert_uint_eq(dword(12), 0x87654321);
	ck_assert_uint_eq(dword(16), 0x05a50023);
	ck_assert_uint_eq(dword(20), 0x12345678);
	ck_assert_uint_eq(word(24), 0x2b);
}
END_TEST

START_TEST(environment_real_32)
{
	fill_env();
	env.layout = EMU_X87_ENV32;
	exec(0xd9, 0x37);
	ck_assert_uint_eq(word(12), 0x4321);
	ck_assert_uint_eq(dword(16), 0x087655a5);
	ck_assert_uint_eq(word(20), 0x5678);
	ck_assert_uint_eq(dword(24), 0x01234000);
}
END_TEST

START_TEST(environment_real_16)
{
	fill_env();
	f.fip = 0x0010;
	f.fcs = 0xabcd; /* linear ABCE0h */
	f.fdp = 0x12345;
	env.layout = 0;
	exec(0xd9, 0x37);
	ck_assert_uint_eq(word(0), 0x037f);
	ck_assert_uint_eq(word(2), 0x3800);
	ck_assert_uint_eq(word(4), 0x7fff);
	ck_assert_uint_eq(word(6), 0xbce0);
	ck_assert_uint_eq(word(8), 0xa5a5);
	ck_assert_uint_eq(word(10), 0x2345);
	ck_assert_uint_eq(word(12), 0x1000);
}
END_TEST

START_TEST(environment_protected_16)
{
	fill_env();
	f.fcs = 0x23;
	f.fds = 0x2b;
	env.layout = EMU_X87_ENVPM;
	exec(0xd9, 0x37);
	ck_assert_uint_eq(word(6), 0x4321);
	ck_assert_uint_eq(word(8), 0x23);
	ck_assert_uint_eq(word(10), 0x5678);
	ck_assert_uint_eq(word(12), 0x2b);
}
END_TEST

/* What FNSAVE stores FRSTOR brings back, in each layout, with pointers that fit it. */
START_TEST(save_and_restore)
{
	struct emu_fpu before;

	exec(0xd9, 0xeb);
	exec(0xd9, 0xe8);
	load_cw(0x0a7f);
	f.fip = 0xfedc;
	f.fdp = 0x1234;
	f.fop = _i & EMU_X87_ENVPM && !(_i & EMU_X87_ENV32) ? 0 : 0x321;
	env.layout = (uint8_t)_i;
	before = f;
	exec(0xdd, 0x37);
	ck_assert_uint_eq(f.cw, 0x037f);
	ck_assert_uint_eq(f.tag, 0);
	exec(0xdd, 0x27);
	ck_assert_uint_eq(f.cw, before.cw);
	ck_assert_uint_eq(f.tag, before.tag);
	ck_assert_uint_eq(f.top, before.top);
	ck_assert_uint_eq(f.fip, before.fip);
	ck_assert_uint_eq(f.fdp, before.fdp);
	ck_assert_uint_eq(f.fop, before.fop);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_uint_eq(f.st[i].m, before.st[i].m);
		ck_assert_uint_eq(f.st[i].se, before.st[i].se);
	}
}
END_TEST

START_TEST(sizes_of_memory_operands)
{
	static const struct {
		uint8_t opcode, reg;
		unsigned bytes16, bytes32;
		bool store;
	} t[] = {
		{0xd8, 0, 4, 4, false},    {0xd9, 3, 4, 4, true},    {0xd9, 4, 14, 28, false},
		{0xd9, 6, 14, 28, true},   {0xdb, 5, 10, 10, false}, {0xdb, 7, 10, 10, true},
		{0xdd, 4, 94, 108, false}, {0xdd, 6, 94, 108, true}, {0xdd, 7, 2, 2, true},
		{0xdf, 4, 10, 10, false},  {0xdf, 6, 10, 10, true},  {0xdf, 7, 8, 8, true},
	};
	unsigned bytes;
	bool store;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t modrm = (uint8_t)(t[i].reg << 3 | 7);

		ck_assert_int_eq(emu_x87_mem(t[i].opcode, modrm, 0, &bytes, &store), 0);
		ck_assert_uint_eq(bytes, t[i].bytes16);
		ck_assert(store == t[i].store);
		ck_assert_int_eq(emu_x87_mem(t[i].opcode, modrm, EMU_X87_ENV32, &bytes, &store), 0);
		ck_assert_uint_eq(bytes, t[i].bytes32);
	}
	ck_assert_int_eq(emu_x87_mem(0xd9, 0x0f, 0, &bytes, &store), EMU_X87_UD);
	ck_assert_int_eq(emu_x87_mem(0xd9, 0xc0, 0, &bytes, &store), EMU_X87_UD);
}
END_TEST

START_TEST(unmasked_exception_waits_for_the_next_instruction)
{
	load_cw(0x037b);                       /* zero divide */
	exec(0xd9, 0xe8);                      /* 1 */
	exec(0xd9, 0xee);                      /* 0 */
	ck_assert_int_eq(exec(0xde, 0xf9), 0); /* FDIVP raises, does not pop, */
	ck_assert_uint_eq(f.top, 6);
	ck_assert(emu_x87_mf_pending(&f));
	ck_assert_int_eq(exec(0xd9, 0xe8), EMU_X87_MF);
	ck_assert_int_eq(exec(0xdf, 0xe0), EMU_X87_AX); /* but these do not wait. */
	ck_assert_uint_eq(emu_x87_sw(&f) & 0x8084, 0x8084);
	exec(0xdb, 0xe2);
	ck_assert(!emu_x87_mf_pending(&f));
	ck_assert_int_eq(exec(0xd9, 0xe8), 0);
}
END_TEST

START_TEST(unmasking_an_old_flag_raises)
{
	exec(0xd9, 0xee);
	exec(0xd9, 0xfa); /* FSQRT of 0: fine */
	exec(0xd9, 0xe8);
	exec(0xd8, 0xf1); /* 1 / 0, masked */
	ck_assert(!emu_x87_mf_pending(&f));
	load_cw(0x037b);
	ck_assert(emu_x87_mf_pending(&f));
}
END_TEST

START_TEST(fxsave_forms)
{
	uint8_t image[512];
	uint64_t q;

	memset(image, 0xee, sizeof(image));
	exec(0xd9, 0xe8);
	f.fip = 0x1122334455667788;
	f.fcs = 0x23;
	f.fdp = 0x99aabbcc;
	f.fds = 0x2b;
	f.xmm[7].b[0] = 7;
	f.xmm[8].b[0] = 8;
	ck_assert_uint_eq(emu_fxsave(&f, image, 0), 288);
	ck_assert_uint_eq(image[4], 0x80);
	memcpy(&q, image + 8, 8);
	ck_assert_uint_eq(q, 0x0000002355667788);
	memcpy(&q, image + 16, 8);
	ck_assert_uint_eq(q, 0x0000002b99aabbcc);
	ck_assert_uint_eq(image[32 + 7], 0x80);
	ck_assert_uint_eq(image[32 + 9], 0x3f);
	ck_assert_uint_eq(image[160 + 7 * 16], 7);
	ck_assert_uint_eq(image[160 + 8 * 16], 0xee);
	ck_assert_uint_eq(emu_fxsave(&f, image, EMU_FX_LONG | EMU_FX_XMM16), 416);
	memcpy(&q, image + 8, 8);
	ck_assert_uint_eq(q, 0x1122334455667788);
	ck_assert_uint_eq(image[160 + 8 * 16], 8);
	ck_assert_uint_eq(image[416], 0xee);
	memset(image, 0xee, sizeof(image));
	ck_assert_uint_eq(emu_fxsave(&f, image, EMU_FX_NO_SSE), 160);
	ck_assert_uint_eq(image[24], 0xee);
	ck_assert_uint_eq(image[160], 0xee);
}
END_TEST

START_TEST(fxrstor_of_32_bit_mode_keeps_the_upper_registers)
{
	uint8_t image[512] = {0};

	f.xmm[7].b[0] = 7;
	f.xmm[8].b[0] = 8;
	ck_assert_int_eq(emu_fxrstor(&f, image, 0), 0);
	ck_assert_uint_eq(f.xmm[7].b[0], 0);
	ck_assert_uint_eq(f.xmm[8].b[0], 8);
}
END_TEST

START_TEST(modes_nest)
{
#ifdef __x86_64__
	uint32_t host, after;

	__asm__ volatile("stmxcsr %0" : "=m"(host));
	emu_fpu_set_mxcsr(&f, 0x7f80);
	emu_fpu_enter(&f);
	emu_fpu_enter(&f);
	emu_fpu_set_mxcsr(&f, 0x3f80);
	emu_fpu_leave(&f);
	emu_fpu_leave(&f);
	__asm__ volatile("stmxcsr %0" : "=m"(after));
	ck_assert_uint_eq(after, host);
	ck_assert_uint_eq(emu_fpu_mxcsr(&f) & 0x6000, 0x2000);
#endif
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emu-fpu-state");
	TCase *t = tcase_create("state");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, tables_are_sorted_and_complete);
	tcase_add_test(t, lookup_finds_by_form);
	tcase_add_test(t, lookup_refuses_what_is_not_there);
	tcase_add_test(t, reset_and_fninit);
	tcase_add_test(t, mxcsr_reserved_bits_fault);
	tcase_add_test(t, last_instruction_is_recorded);
	tcase_add_test(t, environment_protected_32);
	tcase_add_test(t, environment_protected_16);
	tcase_add_test(t, environment_real_32);
	tcase_add_test(t, environment_real_16);
	tcase_add_loop_test(t, save_and_restore, 0, 4);
	tcase_add_test(t, sizes_of_memory_operands);
	tcase_add_test(t, unmasked_exception_waits_for_the_next_instruction);
	tcase_add_test(t, unmasking_an_old_flag_raises);
	tcase_add_test(t, fxsave_forms);
	tcase_add_test(t, fxrstor_of_32_bit_mode_keeps_the_upper_registers);
	tcase_add_test(t, modes_nest);
	suite_add_tcase(s, t);
	return run_suite(s);
}
