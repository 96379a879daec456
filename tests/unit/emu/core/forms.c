/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "forms.h"

static void mark(struct op_set *s, const uint8_t *code, enum emu_mode mode)
{
	struct emu_insn i;

	if (emu_decode(&i, code, EMU_INSN_MAX, mode, 0x100, true) && i.op != OP_ud && i.op != OP_gp)
		s->has[i.op] = 1;
}

/* Every ModRM byte after the prefixes and opcode bytes in code[0] to code[n - 1]. */
static void every_modrm(struct op_set *s, uint8_t *code, unsigned n, enum emu_mode mode)
{
	for (unsigned m = 0; m < 256; m++) {
		code[n] = (uint8_t)m;
		mark(s, code, mode);
	}
	code[n] = 0;
}

static void every_opcode(struct op_set *s, uint8_t *code, unsigned n, enum emu_mode mode)
{
	static const struct {
		uint8_t n, byte[2];
	} maps[] = {{0, {0}}, {1, {0x0f}}, {2, {0x0f, 0x38}}, {2, {0x0f, 0x3a}}};

	for (unsigned k = 0; k < 4; k++) {
		memcpy(code + n, maps[k].byte, maps[k].n);
		for (unsigned op = 0; op < 256; op++) {
			code[n + maps[k].n] = (uint8_t)op;
			every_modrm(s, code, n + maps[k].n + 1, mode);
		}
		memset(code + n, 0, EMU_INSN_MAX - n);
	}
}

void forms_announced(struct op_set *s, enum emu_mode mode)
{
	static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2, 0xf0};

	memset(s, 0, sizeof(*s));
	for (unsigned p = 0; p < sizeof(prefixes); p++) {
		for (unsigned small = 0; small < 2; small++) {
			for (unsigned w = 0; w < (mode == EMU_M64 ? 2u : 1u); w++) {
				/* Zeros behind are displacements and immediates; one absolute
				 * address is beyond 32 bits. */
				uint8_t code[EMU_INSN_MAX + 1] = {0};
				unsigned n = 0;

				if (prefixes[p])
					code[n++] = prefixes[p];
				if (small)
					code[n++] = 0x66;
				if (w)
					code[n++] = 0x48;
				every_opcode(s, code, n, mode);
			}
		}
	}
	if (mode == EMU_M64) {
		static const uint8_t far_a[] = {0xa1, 0, 0, 0, 0, 1, 0, 0, 0, [15] = 0};
		static const uint8_t a_far[] = {0xa3, 0, 0, 0, 0, 1, 0, 0, 0, [15] = 0};

		mark(s, far_a, mode);
		mark(s, a_far, mode);
	}
}

void forms_mark(struct op_set *s, const uint8_t *code, unsigned n, enum emu_mode mode)
{
	uint8_t padded[64] = {0};
	struct emu_insn i;

	memcpy(padded, code, n);
	for (unsigned at = 0; at < n;) {
		unsigned len = emu_decode(&i, padded + at, EMU_INSN_MAX, mode, 0x100, true);

		if (!len)
			return;
		s->has[i.op] = 1;
		at += len;
	}
}

bool forms_fpu(unsigned op)
{
	switch (op) {
	case OP_x87:
	case OP_fwait:
	case OP_fxsave:
	case OP_fxrstor:
	case OP_ldmxcsr:
	case OP_stmxcsr:
	case OP_emms:
	case OP_simd_rr:
	case OP_simd_rm:
	case OP_simd_mr:
	case OP_maskmov:
	case OP_sse_mov_rr:
	case OP_sse_mova_rm:
	case OP_sse_movu_rm:
	case OP_sse_mova_mr:
	case OP_sse_movu_mr:
	case OP_sse_movq_rm:
	case OP_sse_movq_mr:
		return true;
	default:
		return false;
	}
}

bool forms_system(unsigned op)
{
	switch (op) {
	/* Privileged, or answered by what is around the processor. */
	case OP_mov_r_cr:
	case OP_mov_cr_r:
	case OP_mov_r_dr:
	case OP_mov_dr_r:
	case OP_clts:
	case OP_lmsw:
	case OP_smsw:
	case OP_sgdt:
	case OP_sidt:
	case OP_lgdt:
	case OP_lidt:
	case OP_sldt:
	case OP_str:
	case OP_lldt:
	case OP_ltr:
	case OP_lar:
	case OP_lsl:
	case OP_verr:
	case OP_verw:
	case OP_arpl_r:
	case OP_arpl_m:
	case OP_invlpg:
	case OP_invpcid:
	case OP_invd:
	case OP_rdtsc:
	case OP_rdtscp:
	case OP_rdpmc:
	case OP_rdmsr:
	case OP_wrmsr:
	case OP_cpuid:
	case OP_swapgs:
	case OP_rdfsbase:
	case OP_rdgsbase:
	case OP_wrfsbase:
	case OP_wrgsbase:
	case OP_cli:
	case OP_sti:
	case OP_hlt:
	case OP_clac:
	case OP_stac:
	case OP_in:
	case OP_out:
	case OP_ins:
	case OP_outs:
	case OP_syscall:
	case OP_sysret:
	case OP_sysenter:
	case OP_sysexit:
	case OP_vmcall:
	/* Selectors, gates and frames. */
	case OP_int3:
	case OP_int1:
	case OP_int:
	case OP_into:
	case OP_iret:
	case OP_retf:
	case OP_jmp_far:
	case OP_jmp_far_m:
	case OP_call_far:
	case OP_call_far_m:
	case OP_mov_r_seg:
	case OP_mov_m_seg:
	case OP_mov_seg_r:
	case OP_mov_seg_m:
	case OP_mov_ss_r:
	case OP_mov_ss_m:
	case OP_push_seg:
	case OP_pop_dseg:
	case OP_pop_ss:
	case OP_lfp:
	case OP_lss:
		return true;
	default:
		return false;
	}
}
