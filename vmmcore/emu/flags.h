/* SPDX-License-Identifier: Apache-2.0
 *
 * Lazy arithmetic flags. An operation leaves two words behind, and each flag is computed from them
 * only when something reads it, by the same formula whatever the operation was:
 *
 *   fl_res   the result, sign-extended to 64 bits
 *   fl_aux   bit 63: carry out of the top bit; bit 62: carry into the top bit; bit 3: carry out
 *            of bit 3 (all of them borrows after a subtraction);
 *            bits 8-15: XORed into the low result byte for PF; bit 16: XORed into SF.
 *
 *   ZF = fl_res == 0        SF = sign of fl_res ^ aux.16     PF = even parity of low byte ^
 * aux.8-15 CF = aux.63             OF = aux.63 ^ aux.62             AF = aux.3
 *
 * The XOR fields are zero after arithmetic; they let any combination of flags be represented.
 */
#ifndef BULKHEAD_EMU_FLAGS_H
#define BULKHEAD_EMU_FLAGS_H

#include "vmmcore/emu/emu.h"

#define AUX_CF  0x8000000000000000ull
#define AUX_OF  0x4000000000000000ull /* the carry into the top bit */
#define AUX_AF  0x8ull
#define AUX_ALL (AUX_CF | AUX_OF | AUX_AF)
#define AUX_SF  0x10000ull

static inline bool fl_cf(const struct emu_cpu *cpu)
{
	return cpu->fl_aux >> 63;
}

static inline bool fl_zf(const struct emu_cpu *cpu)
{
	return cpu->fl_res == 0;
}

static inline bool fl_sf(const struct emu_cpu *cpu)
{
	return (cpu->fl_res >> 63) ^ ((cpu->fl_aux >> 16) & 1);
}

static inline bool fl_of(const struct emu_cpu *cpu)
{
	return (cpu->fl_aux ^ (cpu->fl_aux << 1)) >> 63;
}

static inline bool fl_pf(const struct emu_cpu *cpu)
{
	return !__builtin_parity((uint32_t)((cpu->fl_res ^ (cpu->fl_aux >> 8)) & 0xff));
}

static inline bool fl_af(const struct emu_cpu *cpu)
{
	return (cpu->fl_aux >> 3) & 1;
}

/* Condition codes in encoding order. */
static inline bool cc_o(const struct emu_cpu *c)
{
	return fl_of(c);
}
static inline bool cc_no(const struct emu_cpu *c)
{
	return !fl_of(c);
}
static inline bool cc_b(const struct emu_cpu *c)
{
	return fl_cf(c);
}
static inline bool cc_nb(const struct emu_cpu *c)
{
	return !fl_cf(c);
}
static inline bool cc_z(const struct emu_cpu *c)
{
	return fl_zf(c);
}
static inline bool cc_nz(const struct emu_cpu *c)
{
	return !fl_zf(c);
}
static inline bool cc_be(const struct emu_cpu *c)
{
	return fl_cf(c) || fl_zf(c);
}
static inline bool cc_nbe(const struct emu_cpu *c)
{
	return !(fl_cf(c) || fl_zf(c));
}
static inline bool cc_s(const struct emu_cpu *c)
{
	return fl_sf(c);
}
static inline bool cc_ns(const struct emu_cpu *c)
{
	return !fl_sf(c);
}
static inline bool cc_p(const struct emu_cpu *c)
{
	return fl_pf(c);
}
static inline bool cc_np(const struct emu_cpu *c)
{
	return !fl_pf(c);
}
static inline bool cc_l(const struct emu_cpu *c)
{
	return fl_sf(c) != fl_of(c);
}
static inline bool cc_nl(const struct emu_cpu *c)
{
	return fl_sf(c) == fl_of(c);
}
static inline bool cc_le(const struct emu_cpu *c)
{
	return fl_zf(c) || fl_sf(c) != fl_of(c);
}
static inline bool cc_nle(const struct emu_cpu *c)
{
	return !fl_zf(c) && fl_sf(c) == fl_of(c);
}

/* Carries of size s (8, 16, 32, 64) to fl_aux. */
#define FL_AUX(s, c) ((((uint64_t)(c) << (64 - (s))) & (AUX_CF | AUX_OF)) | ((uint64_t)(c)&AUX_AF))
#define FL_SX(s, r)  ((uint64_t)(int64_t)(int##s##_t)(r))

/* r = a + b (+ carry) */
#define FL_ADD(s, a, b, r)                                                                         \
	do {                                                                                       \
		cpu->fl_res = FL_SX(s, r);                                                         \
		uint##s##_t c_ = ((a) & (b)) | (((a) | (b)) & ~(r));                               \
		cpu->fl_aux = FL_AUX(s, c_);                                                       \
	} while (0)

/* r = a - b (- borrow) */
#define FL_SUB(s, a, b, r)                                                                         \
	do {                                                                                       \
		cpu->fl_res = FL_SX(s, r);                                                         \
		uint##s##_t c_ = (~(a) & (b)) | ((~(a) | (b)) & (r));                              \
		cpu->fl_aux = FL_AUX(s, c_);                                                       \
	} while (0)

#define FL_LOGIC(s, r)                                                                             \
	do {                                                                                       \
		cpu->fl_res = FL_SX(s, r);                                                         \
		cpu->fl_aux = 0;                                                                   \
	} while (0)

/* Result r with CF and OF given; AF clear. */
#define FL_RES_CO(s, r, cf, of)                                                                    \
	do {                                                                                       \
		cpu->fl_res = FL_SX(s, r);                                                         \
		cpu->fl_aux = ((uint64_t)(cf) << 63) | ((uint64_t)((cf) ^ (of)) << 62);            \
	} while (0)

/* Changes CF (and OF) and keeps the other flags. */
static inline void fl_set_cf(struct emu_cpu *cpu, bool cf)
{
	bool of = fl_of(cpu);

	cpu->fl_aux = (cpu->fl_aux & ~(AUX_CF | AUX_OF)) | ((uint64_t)cf << 63) |
		      ((uint64_t)(cf ^ of) << 62);
}

static inline void fl_set_co(struct emu_cpu *cpu, bool cf, bool of)
{
	cpu->fl_aux = (cpu->fl_aux & ~(AUX_CF | AUX_OF)) | ((uint64_t)cf << 63) |
		      ((uint64_t)(cf ^ of) << 62);
}

static inline uint32_t fl_get(const struct emu_cpu *cpu)
{
	return (fl_cf(cpu) ? FL_CF : 0) | (fl_pf(cpu) ? FL_PF : 0) | (fl_af(cpu) ? FL_AF : 0) |
	       (fl_zf(cpu) ? FL_ZF : 0) | (fl_sf(cpu) ? FL_SF : 0) | (fl_of(cpu) ? FL_OF : 0);
}

static inline void fl_put(struct emu_cpu *cpu, uint32_t f)
{
	bool cf = f & FL_CF, of = f & FL_OF;

	cpu->fl_res = (f & FL_ZF) ? 0 : 0x100;
	cpu->fl_aux = ((uint64_t)cf << 63) | ((uint64_t)(cf ^ of) << 62) |
		      ((f & FL_AF) ? AUX_AF : 0) | ((f & FL_PF) ? 0 : 0x100) |
		      ((f & FL_SF) ? AUX_SF : 0);
}

#endif
