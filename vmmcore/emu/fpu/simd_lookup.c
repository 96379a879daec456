/* SPDX-License-Identifier: Apache-2.0
 *
 * From opcode to operation.
 */
#include "vmmcore/emu/fpu/simd_table.h"

static bool form_matches(u16 form, bool rex_w, bool is_mem, uint8_t reg)
{
	if (form & FORM_REG && is_mem)
		return false;
	if (form & FORM_MEM && !is_mem)
		return false;
	if (form & FORM_W0 && rex_w)
		return false;
	if (form & FORM_W1 && !rex_w)
		return false;
	return !(form & FORM_DIG) || FORM_REGFIELD(form) == (reg & 7u);
}

/* The first entry with a key not below this one. */
static const struct simd_entry *lower_bound(const struct simd_entry *t, unsigned n, u32 key)
{
	while (n) {
		unsigned half = n / 2;

		if (t[half].key < key) {
			t += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return t;
}

const struct emu_simd_op *emu_simd_lookup(unsigned map, enum emu_simd_prefix prefix, uint8_t opcode,
					  bool rex_w, bool modrm_is_mem, uint8_t modrm_reg)
{
	const struct simd_entry *t, *end;
	bool crc = map == 2 && (opcode & 0xfe) == 0xf0;
	u32 key = KEY(map, opcode, prefix == EMU_PFX_66F2 && !crc ? EMU_PFX_F2 : prefix);

	switch (map) {
	case 1:
		t = simd_table_0f;
		end = t + simd_count_0f;
		break;
	case 2:
		t = simd_table_0f38;
		end = t + simd_count_0f38;
		break;
	case 3:
		t = simd_table_0f3a;
		end = t + simd_count_0f3a;
		break;
	default:
		return NULL;
	}
	for (t = lower_bound(t, (unsigned)(end - t), key); t < end && t->key == key; t++)
		if (form_matches(t->form, rex_w, modrm_is_mem, modrm_reg))
			return &t->op;
	return NULL;
}

struct emu_simd_code emu_simd_code(const struct emu_simd_op *op)
{
	const struct simd_entry *s =
		(const struct simd_entry *)((const char *)op - offsetof(struct simd_entry, op));

	return (struct emu_simd_code){
		.map = (uint8_t)(s->key >> 16),
		.opcode = (uint8_t)(s->key >> 8),
		.prefix = (uint8_t)s->key,
		.digit = s->form & FORM_DIG ? (int8_t)(FORM_REGFIELD(s->form)) : (int8_t)-1,
	};
}
