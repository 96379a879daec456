/* SPDX-License-Identifier: Apache-2.0
 *
 * CMP or TEST together with the conditional branch after it: one dispatch less, and the condition
 * is computed from values at hand. Both instructions stay in the block; a fault is that of the
 * first. Only branches that are linked inside their page.
 */
#include "vmmcore/emu/exec.h"
#include "vmmcore/emu/fused.h"

/* i is the first instruction; NEXT after this goes on behind the branch. */
#define BRANCH(c)                                                                                  \
	i++;                                                                                       \
	if (cc_##c(cpu)) {                                                                         \
		go_link(cpu, i);                                                                   \
		return;                                                                            \
	}

#define CMP(s, a, b)                                                                               \
	uint##s##_t o_ = (uint##s##_t)(a);                                                         \
	uint##s##_t b_ = (uint##s##_t)(b);                                                         \
	uint##s##_t n_ = (uint##s##_t)(o_ - b_);                                                   \
	FL_SUB(s, o_, b_, n_);

#define TEST(s, a, b)                                                                              \
	uint##s##_t n_ = (uint##s##_t)((a) & (b));                                                 \
	FL_LOGIC(s, n_);

#define REG_OP(name, stmts)                                                                        \
	OP(name)                                                                                   \
	{                                                                                          \
		stmts;                                                                             \
		NEXT;                                                                              \
	}

#define FUSED(w, c)                                                                                \
	REG_OP(f_cmp_rr_##w##_##c, CMP(w, RD##w(i->reg), RD##w(i->rm)) BRANCH(c))                  \
	REG_OP(f_cmp_ri_##w##_##c, CMP(w, RD##w(i->reg), i->imm) BRANCH(c))                        \
	LOAD_OP(f_cmp_rm_##w##_##c, w, CMP(w, RD##w(i->reg), v) BRANCH(c))                         \
	LOAD_OP(f_cmp_mr_##w##_##c, w, CMP(w, v, RD##w(i->reg)) BRANCH(c))                         \
	LOAD_OP(f_cmp_mi_##w##_##c, w, CMP(w, v, i->imm) BRANCH(c))                                \
	REG_OP(f_test_rr_##w##_##c, TEST(w, RD##w(i->reg), RD##w(i->rm)) BRANCH(c))                \
	REG_OP(f_test_ri_##w##_##c, TEST(w, RD##w(i->reg), i->imm) BRANCH(c))                      \
	LOAD_OP(f_test_mr_##w##_##c, w, TEST(w, v, RD##w(i->reg)) BRANCH(c))                       \
	LOAD_OP(f_test_mi_##w##_##c, w, TEST(w, v, i->imm) BRANCH(c))

#define ALL_CC(X, w)                                                                               \
	X(w, o)                                                                                    \
	X(w, no)                                                                                   \
	X(w, b)                                                                                    \
	X(w, nb)                                                                                   \
	X(w, z)                                                                                    \
	X(w, nz)                                                                                   \
	X(w, be) X(w, nbe) X(w, s) X(w, ns) X(w, p) X(w, np) X(w, l) X(w, nl) X(w, le) X(w, nle)

ALL_CC(FUSED, 8)
ALL_CC(FUSED, 16)
ALL_CC(FUSED, 32)
ALL_CC(FUSED, 64)

#define ROW(w, form)                                                                               \
	{                                                                                          \
		emu_op_f_##form##_##w##_o, emu_op_f_##form##_##w##_no, emu_op_f_##form##_##w##_b,  \
			emu_op_f_##form##_##w##_nb, emu_op_f_##form##_##w##_z,                     \
			emu_op_f_##form##_##w##_nz, emu_op_f_##form##_##w##_be,                    \
			emu_op_f_##form##_##w##_nbe, emu_op_f_##form##_##w##_s,                    \
			emu_op_f_##form##_##w##_ns, emu_op_f_##form##_##w##_p,                     \
			emu_op_f_##form##_##w##_np, emu_op_f_##form##_##w##_l,                     \
			emu_op_f_##form##_##w##_nl, emu_op_f_##form##_##w##_le,                    \
			emu_op_f_##form##_##w##_nle                                                \
	}
#define SIZES(form)                                                                                \
	{                                                                                          \
		ROW(8, form), ROW(16, form), ROW(32, form), ROW(64, form)                          \
	}

static const emu_fn cmp[5][4][16] = {SIZES(cmp_rr), SIZES(cmp_rm), SIZES(cmp_mr), SIZES(cmp_ri),
				     SIZES(cmp_mi)};
static const emu_fn test[4][4][16] = {SIZES(test_rr), SIZES(test_mr), SIZES(test_ri),
				      SIZES(test_mi)};

emu_fn emu_fused(unsigned first, unsigned second)
{
	unsigned cc = second - OP_j_o_near;

	if (cc >= 16)
		return NULL;
	if (first >= OP_cmp_rr_8 && first <= OP_cmp_mi_64)
		return cmp[(first - OP_cmp_rr_8) / 4][(first - OP_cmp_rr_8) % 4][cc];
	if (first >= OP_test_rr_8 && first <= OP_test_mi_64)
		return test[(first - OP_test_rr_8) / 4][(first - OP_test_rr_8) % 4][cc];
	return NULL;
}
