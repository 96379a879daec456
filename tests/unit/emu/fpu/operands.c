/* SPDX-License-Identifier: Apache-2.0
 *
 * Random and edge-case operands.
 */
#include <string.h>

#include "tests/unit/emu/fpu/native.h"

static uint64_t state = 0x9e3779b97f4a7c15;

void rnd_seed(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15 + 1;
}

/* splitmix64 */
uint64_t rnd(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

#define PICK(array) ((array)[rnd_below(sizeof(array) / sizeof((array)[0]))])

/* A significand of n bits: sparse, dense, or a run of ones, so that ties and carries happen. */
static uint64_t rnd_mant(unsigned n)
{
	uint64_t mask = n == 64 ? ~0ull : (1ull << n) - 1;

	switch (rnd_below(6)) {
	case 0:
		return 0;
	case 1:
		return (1ull << rnd_below(n)) & mask;
	case 2:
		return (~0ull << rnd_below(n)) & mask;
	case 3:
		return (~0ull >> rnd_below(64)) & mask;
	case 4:
		return (rnd() << rnd_below(n)) & mask;
	default:
		return rnd() & mask;
	}
}

/* A biased exponent: anywhere, near one, near the integers' limits, near the ends. */
static uint64_t rnd_exp(unsigned bias)
{
	uint64_t max = 2 * bias + 1;
	int64_t e;

	switch (rnd_below(8)) {
	case 0:
		return 0;
	case 1:
		return max;
	case 2:
		return rnd_below(max + 1);
	case 3:
		return rnd_below(2) ? 1 + rnd_below(24) : max - 1 - rnd_below(24);
	case 4:
		e = bias + PICK(((const int[]){7, 8, 15, 16, 30, 31, 32, 62, 63, 64})) -
		    (int64_t)rnd_below(2);
		break;
	case 5:
		/* Products and quotients near the ends. */
		e = (int64_t)bias + (rnd_below(2) ? 1 : -1) * (int64_t)(bias / 2) +
		    (int64_t)rnd_below(32) - 16;
		break;
	default:
		e = (int64_t)bias + (int64_t)rnd_below(9) - 4;
		break;
	}
	return e < 0 ? 0 : (uint64_t)e > max ? max : (uint64_t)e;
}

uint32_t rnd_f32(void)
{
	return (uint32_t)(rnd() << 31 | rnd_exp(127) << 23 | rnd_mant(23));
}

uint64_t rnd_f64(void)
{
	return rnd() << 63 | rnd_exp(1023) << 52 | rnd_mant(52);
}

void rnd_f80(uint64_t *m, uint16_t *se)
{
	uint64_t e = rnd_exp(16383);

	*m = rnd_mant(63) | (e ? 1ull << 63 : 0);
	/* Sometimes encodings that the processor does not support, and pseudo-denormals. */
	if (!rnd_below(16))
		*m ^= 1ull << 63;
	/* Values that are floats or doubles are common in practice. */
	if (!rnd_below(3))
		*m &= rnd_below(2) ? ~0ull << 40 : ~0ull << 11;
	*se = (uint16_t)(rnd() << 15 | e);
}

uint32_t rnd_mxcsr(void)
{
	uint32_t v = (uint32_t)rnd() & 0x603f; /* rounding and sticky flags */

	if (!rnd_below(2))
		v &= 0x6000;
	v |= rnd_below(4) ? 0 : 0x40;
	v |= rnd_below(4) ? 0 : 0x8000;
	/* Mostly all masked. */
	v |= rnd_below(4) ? 0x1f80 : (uint32_t)rnd() & 0x1f80;
	return v;
}

void rnd_vector(uint8_t v[16])
{
	static const uint8_t edge8[] = {0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe, 2};
	static const uint16_t edge16[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0xff80, 0x7f, 0xff};
	static const uint32_t edge32[] = {0,          1,          0x7fffffff, 0x80000000,
					  0x80000001, 0xffffffff, 0xffff8000, 0x7fff,
					  0xffff,     0x3f800000};
	uint16_t w[8];
	uint32_t d[4];
	uint64_t q[2];
	unsigned kind = (unsigned)rnd_below(11), base;

	switch (kind) {
	case 0:
		for (unsigned i = 0; i < 16; i++)
			v[i] = PICK(edge8);
		return;
	case 1:
		for (unsigned i = 0; i < 8; i++)
			w[i] = PICK(edge16);
		memcpy(v, w, 16);
		return;
	case 2:
		for (unsigned i = 0; i < 4; i++)
			d[i] = PICK(edge32);
		memcpy(v, d, 16);
		return;
	case 3:
		/* A small number, as shift counts and short strings are. */
		memset(v, 0, 16);
		v[0] = (uint8_t)rnd_below(80);
		return;
	case 4:
		/* Text of few letters, with or without an end. */
		base = rnd_below(2) ? 'a' : 0x7e;
		for (unsigned i = 0; i < 16; i++)
			v[i] = (uint8_t)(base + rnd_below(4));
		if (rnd_below(2))
			v[rnd_below(16)] = 0;
		return;
	case 5:
		base = rnd_below(2) ? 'a' : 0x7ffe;
		for (unsigned i = 0; i < 8; i++)
			w[i] = (uint16_t)(base + rnd_below(4));
		if (rnd_below(2))
			w[rnd_below(8)] = 0;
		memcpy(v, w, 16);
		return;
	case 6:
	case 7:
		for (unsigned i = 0; i < 4; i++)
			d[i] = rnd_f32();
		memcpy(v, d, 16);
		return;
	case 8:
	case 9:
		for (unsigned i = 0; i < 2; i++)
			q[i] = rnd_f64();
		memcpy(v, q, 16);
		return;
	default:
		for (unsigned i = 0; i < 2; i++)
			q[i] = rnd();
		memcpy(v, q, 16);
		return;
	}
}
