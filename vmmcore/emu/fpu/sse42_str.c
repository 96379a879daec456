/* SPDX-License-Identifier: Apache-2.0
 *
 * String compares of SSE4.2 (SDM vol. 2, 4.1).
 *
 * The immediate: bits 1:0 element format, 3:2 aggregation, 5:4 polarity, 6 form of the output.
 * "First" is the destination operand (a set, ranges, or a needle), "second" the source (a text).
 */
#include "vmmcore/emu/fpu/simd.h"

enum { MOST = 16 };

struct operands {
	s32 first[MOST], second[MOST]; /* elements, extended according to the format */
	unsigned n;                    /* elements in a register */
	unsigned len1, len2;           /* how many of them are valid */
};

static void load_elements(struct operands *o, const void *dst, const void *src, unsigned format)
{
	const union emu_xmm *x = dst;
	union emu_xmm y;

	memcpy(&y, src, 16);
	o->n = format & 1 ? 8 : 16;
	for (unsigned i = 0; i < o->n; i++) {
		switch (format & 3) {
		case 0:
			o->first[i] = x->b[i];
			o->second[i] = y.b[i];
			break;
		case 1:
			o->first[i] = x->w[i];
			o->second[i] = y.w[i];
			break;
		case 2:
			o->first[i] = (s8)x->b[i];
			o->second[i] = (s8)y.b[i];
			break;
		default:
			o->first[i] = (s16)x->w[i];
			o->second[i] = (s16)y.w[i];
			break;
		}
	}
}

static unsigned implicit_length(const s32 *e, unsigned n)
{
	unsigned i = 0;

	while (i < n && e[i])
		i++;
	return i;
}

/* Magnitude of a signed length, at most n. */
static unsigned explicit_length(s64 v, unsigned n)
{
	u64 mag = v < 0 ? 0 - (u64)v : (u64)v;

	return mag < n ? (unsigned)mag : n;
}

/* Bit j: second[j] is one of the set. */
static u32 equal_any(const struct operands *o)
{
	u32 r = 0;

	for (unsigned j = 0; j < o->len2 && j < MOST; j++)
		for (unsigned i = 0; i < o->len1 && i < MOST; i++)
			r |= (u32)(o->first[i] == o->second[j]) << j;
	return r;
}

/* Bit j: second[j] lies in one of the ranges; a range without its upper end does not count. */
static u32 ranges(const struct operands *o)
{
	u32 r = 0;

	for (unsigned j = 0; j < o->len2 && j < MOST; j++)
		for (unsigned i = 0; i + 1 < o->len1 && i + 1 < MOST; i += 2)
			r |= (u32)(o->first[i] <= o->second[j] && o->second[j] <= o->first[i + 1])
			     << j;
	return r;
}

/* Bit j: equal at j; ends compare equal. */
static u32 equal_each(const struct operands *o)
{
	u32 r = 0;

	for (unsigned j = 0; j < o->n; j++) {
		bool v1 = j < o->len1, v2 = j < o->len2;

		r |= (u32)(v1 && v2 ? o->first[j] == o->second[j] : v1 == v2) << j;
	}
	return r;
}

/* Bit j: the needle, or the part of it that fits, stands at j. */
static u32 equal_ordered(const struct operands *o)
{
	u32 r = 0;

	for (unsigned j = 0; j < o->n; j++) {
		bool match = true;

		for (unsigned i = 0; match && i < o->len1 && i + j < o->n; i++)
			match = i + j < o->len2 && o->first[i] == o->second[i + j];
		r |= (u32)match << j;
	}
	return r;
}

/* The result bits after polarity, with EFLAGS in flags_out. Fills in n. */
static u32 compare(struct emu_fpu *f, struct operands *o, unsigned imm)
{
	u32 all = (1u << o->n) - 1, r;

	switch (imm >> 2 & 3) {
	case 0:
		r = equal_any(o);
		break;
	case 1:
		r = ranges(o);
		break;
	case 2:
		r = equal_each(o);
		break;
	default:
		r = equal_ordered(o);
		break;
	}
	if ((imm >> 4 & 3) == 1)
		r ^= all;
	else if ((imm >> 4 & 3) == 3)
		r ^= (1u << o->len2) - 1;
	f->flags_out = (r ? FL_CF : 0) | (o->len2 < o->n ? FL_ZF : 0) |
		       (o->len1 < o->n ? FL_SF : 0) | (r & 1 ? FL_OF : 0);
	return r;
}

static void out_index(struct emu_fpu *f, u32 r, unsigned n, unsigned imm)
{
	if (!r)
		f->gpr_out = n;
	else
		f->gpr_out =
			imm & 0x40 ? 31u - (unsigned)__builtin_clz(r) : (unsigned)__builtin_ctz(r);
}

static void out_mask(struct emu_fpu *f, u32 r, unsigned n, unsigned imm)
{
	union emu_xmm m = {.q = {0}};

	if (!(imm & 0x40))
		m.d[0] = r;
	else
		for (unsigned i = 0; i < n; i++) {
			if (n == 8)
				m.w[i] = r >> i & 1 ? 0xffff : 0;
			else
				m.b[i] = r >> i & 1 ? 0xff : 0;
		}
	f->xmm[0] = m;
}

static u32 run(struct emu_fpu *f, struct operands *o, const void *dst, const void *src,
	       unsigned imm, const s64 *len)
{
	load_elements(o, dst, src, imm);
	o->len1 = len ? explicit_length(len[0], o->n) : implicit_length(o->first, o->n);
	o->len2 = len ? explicit_length(len[1], o->n) : implicit_length(o->second, o->n);
	return compare(f, o, imm);
}

/* lens: a pointer to the explicit lengths, or NULL. */
#define PCMPSTR(name, out, lens)                                                                   \
	OP(name)                                                                                   \
	{                                                                                          \
		struct operands o;                                                                 \
		u32 r = run(f, &o, dst, src, imm, lens);                                           \
		out(f, r, o.n, imm);                                                               \
	}
#define LENS32 ((const s64[2]){(s32)f->in_ax, (s32)f->in_dx})
#define LENS64 ((const s64[2]){(s64)f->in_ax, (s64)f->in_dx})
PCMPSTR(pcmpestrm, out_mask, LENS32)
PCMPSTR(pcmpestri, out_index, LENS32)
PCMPSTR(pcmpestrmq, out_mask, LENS64)
PCMPSTR(pcmpestriq, out_index, LENS64)
PCMPSTR(pcmpistrm, out_mask, NULL)
PCMPSTR(pcmpistri, out_index, NULL)
