/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads and stores of x87_host_ld.c: floats, doubles, integers, packed decimals.
 */
#include "vmmcore/emu/fpu/x87_host_ld.h"

#if !defined(__x86_64__) || defined(EMU_X87_PORTABLE)

static void from_int(int64_t v, struct emu_f80 *out)
{
	uint64_t mag = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	int shift = mag ? __builtin_clzll(mag) : 0;

	out->m = mag << shift;
	out->se = (uint16_t)((v < 0 ? 0x8000 : 0) | (mag ? 16383 + 63 - shift : 0));
}

static int64_t from_bcd(const uint8_t *p)
{
	int64_t v = 0;

	for (unsigned i = 9; i--;)
		v = v * 100 + (p[i] >> 4) * 10 + (p[i] & 15);
	return v;
}

uint16_t x87_ld_widen(enum x87_format fmt, struct emu_f80 *out, const void *mem)
{
	uint64_t q = 0;
	uint32_t d;
	int16_t w;
	unsigned bits, mant;
	uint64_t m, e;

	switch (fmt) {
	case X87_I16:
		memcpy(&w, mem, 2);
		from_int(w, out);
		return 0;
	case X87_I32:
		memcpy(&d, mem, 4);
		from_int((int32_t)d, out);
		return 0;
	case X87_I64:
		memcpy(&q, mem, 8);
		from_int((int64_t)q, out);
		return 0;
	case X87_BCD:
		from_int(from_bcd(mem), out);
		out->se |= (uint16_t)((((const uint8_t *)mem)[9] & 0x80) << 8);
		return 0;
	case X87_M32:
		memcpy(&d, mem, 4);
		q = d;
		bits = 32;
		mant = 23;
		break;
	default:
		memcpy(&q, mem, 8);
		bits = 64;
		mant = 52;
		break;
	}
	/* Widening is exact. */
	e = q >> mant & ((1u << (bits - 1 - mant)) - 1);
	m = q << (63 - mant) & ~(1ull << 63);
	out->se = (uint16_t)(q >> (bits - 1) << 15);
	if (e == (1u << (bits - 1 - mant)) - 1) {
		out->se |= 0x7fff;
		out->m = 1ull << 63 | m;
		return 0;
	}
	if (!e && m) {
		int shift = __builtin_clzll(m);

		out->m = m << shift;
		out->se |= (uint16_t)(16383 - ((1 << (bits - 2 - mant)) - 1) + 1 - shift);
		return SW_DE;
	}
	out->m = e ? 1ull << 63 | m : 0;
	out->se |= (uint16_t)(e ? e + 16383 - ((1u << (bits - 2 - mant)) - 1) : 0);
	return 0;
}

uint16_t x87h_load(enum x87_format fmt, uint32_t mode, struct emu_f80 *out, const void *mem)
{
	uint16_t sw = x87_ld_widen(fmt, out, mem);

	if (is_snan(out)) {
		out->m |= 1ull << 62;
		sw = SW_IE;
	}
	return sw;
}

/* To an integer within limit, by mode or truncated; false if invalid. */
static bool to_int(const struct emu_f80 *v, bool truncate, long double limit, int64_t *out,
		   uint32_t mode, uint16_t *sw)
{
	volatile long double r;
	fenv_t env;

	*sw = SW_IE;
	if (is_nan(v) || is_unsupported(v))
		return false;
	begin(mode, &env);
	r = truncate ? truncl(to_ld(v)) : rintl(to_ld(v));
	end(&env);
	if (r >= limit || r < -limit)
		return false;
	*out = (int64_t)r;
	*sw = r != to_ld(v) ? SW_PE : 0;
	return true;
}

static uint16_t store_int(enum x87_format fmt, uint32_t mode, const struct emu_f80 *v, void *mem)
{
	bool truncate = fmt >= X87_T16;
	unsigned bytes = fmt == X87_I16 || fmt == X87_T16   ? 2
			 : fmt == X87_I32 || fmt == X87_T32 ? 4
							    : 8;
	int64_t n = (int64_t)(1ull << (8 * bytes - 1));
	uint16_t sw;

	to_int(v, truncate, ldexpl(1, (int)(8 * bytes - 1)), &n, mode, &sw);
	memcpy(mem, &n, bytes);
	return sw;
}

static uint16_t store_bcd(uint32_t mode, const struct emu_f80 *v, uint8_t *p)
{
	static const uint8_t indefinite[10] = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};
	int64_t n = 0;
	uint64_t mag;
	uint16_t sw;

	if (!to_int(v, false, 1e18L, &n, mode, &sw) || n == -1000000000000000000) {
		memcpy(p, indefinite, 10);
		return SW_IE;
	}
	mag = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
	for (unsigned i = 0; i < 9; i++, mag /= 100)
		p[i] = (uint8_t)((mag / 10 % 10) << 4 | mag % 10);
	p[9] = v->se >> 15 ? 0x80 : 0;
	return sw;
}

static uint16_t store_float(enum x87_format fmt, uint32_t mode, const struct emu_f80 *v, void *mem)
{
	bool single = fmt == X87_M32;
	volatile long double x;
	volatile double d;
	volatile float s;
	uint64_t sign = v->se >> 15, q;
	uint32_t w;
	fenv_t env;

	if (is_nan(v) || is_unsupported(v)) {
		struct emu_f80 n = is_nan(v) && !is_unsupported(v) ? *v : default_nan;

		sign = n.se >> 15;
		n.m |= 1ull << 62;
		w = (uint32_t)(sign << 31 | 0x7f800000 | (n.m >> 40 & 0x7fffff));
		q = sign << 63 | 0x7ff0000000000000 | (n.m >> 11 & 0xfffffffffffff);
		memcpy(mem, single ? (void *)&w : (void *)&q, single ? 4 : 8);
		return is_snan(v) || is_unsupported(v) ? SW_IE : 0;
	}
	x = to_ld(v);
	begin(mode, &env);
	if (single) {
		s = (float)x;
		memcpy(mem, (const void *)&s, 4);
	} else {
		d = (double)x;
		memcpy(mem, (const void *)&d, 8);
	}
	return end(&env);
}

uint16_t x87h_store(enum x87_format fmt, uint32_t mode, const struct emu_f80 *v, void *mem)
{
	if (fmt == X87_M32 || fmt == X87_M64)
		return store_float(fmt, mode, v, mem);
	if (fmt == X87_BCD)
		return store_bcd(mode, v, mem);
	return store_int(fmt, mode, v, mem);
}

#endif
