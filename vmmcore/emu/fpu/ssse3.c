/* SPDX-License-Identifier: Apache-2.0
 *
 * SSSE3.
 */
#include "vmmcore/emu/fpu/simd_both.h"

/* Horizontal: result lane i combines lanes 2i and 2i+1 of destination and source in a row. */
#define H(k) ((k) < N ? a[(k) % N] : b[(k) % N])
LANES2(phaddw, u16, u16, H(2 * i) + H(2 * i + 1))
LANES2(phaddd, u32, u32, H(2 * i) + H(2 * i + 1))
LANES2(phaddsw, s16, s16, clamp(H(2 * i) + H(2 * i + 1), -32768, 32767))
LANES2(phsubw, u16, u16, H(2 * i) - H(2 * i + 1))
LANES2(phsubd, u32, u32, H(2 * i) - H(2 * i + 1))
LANES2(phsubsw, s16, s16, clamp(H(2 * i) - H(2 * i + 1), -32768, 32767))

/* Destination bytes unsigned, source bytes signed. */
LANES2(pmaddubsw, s16, u8,
       clamp(a[2 * i] * (s8)b[2 * i] + a[2 * i + 1] * (s8)b[2 * i + 1], -32768, 32767))

#define SIGN(T) (b[i] < 0 ? (T)(0 - (unsigned)a[i]) : b[i] ? a[i] : 0)
LANES2(psignb, s8, s8, SIGN(s8))
LANES2(psignw, s16, s16, SIGN(s16))
LANES2(psignd, s32, s32, SIGN(s32))

LANES2(pmulhrsw, s16, s16, ((a[i] * b[i] >> 14) + 1) >> 1)

#define ABS(T) (b[i] < 0 ? 0 - (unsigned)b[i] : (unsigned)b[i])
LANES2(pabsb, u8, s8, ABS())
LANES2(pabsw, u16, s16, ABS())
LANES2(pabsd, u32, s32, ABS())

static inline void shuffle_bytes(void *dst, const void *src)
{
	LANES_BODY(16, u8, u8, b[i] & 0x80 ? 0 : a[b[i] & 15])
	ST(dst, r);
}

/* Frequent in hashes and ciphers, and slow in C: the host's own where it has it. */
#ifdef HOST_INSN
static bool host_has_ssse3;

__attribute__((constructor)) static void look_at_host(void)
{
	__builtin_cpu_init();
	host_has_ssse3 = __builtin_cpu_supports("ssse3");
}

OP(pshufb)
{
	if (!host_has_ssse3) {
		shuffle_bytes(dst, src);
		return;
	}
	HOST_INSN(pshufb)
}
#else
OP(pshufb)
{
	shuffle_bytes(dst, src);
}
#endif

OP(mmx_pshufb)
{
	LANES_BODY(8, u8, u8, b[i] & 0x80 ? 0 : a[b[i] & 7])
	u64 out;

	LD(out, r);
	mmx_write(f, dst, out);
}

/* Source below, destination above, shifted right by imm bytes. */
OP(palignr)
{
	u128 low = CAT(u128, src), high = AT(u128, dst);
	unsigned n = 8 * imm;

	if (n >= 128)
		low = n < 256 ? high >> (n - 128) : 0;
	else if (n)
		low = low >> n | high << (128 - n);
	AT(u128, dst) = low;
}

OP(mmx_palignr)
{
	u8 t[24] = {0};
	unsigned n = imm > 16 ? 16 : imm;
	u64 out;

	memcpy(t, src, 8);
	memcpy(t + 8, dst, 8);
	memcpy(&out, t + n, 8);
	mmx_write(f, dst, out);
}
