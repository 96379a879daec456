/* SPDX-License-Identifier: Apache-2.0
 *
 * Which operations of the decoder there are, and which ones a test has compared. What there is
 * comes from the decoder itself: every opcode of every map, with every prefix and ModRM byte.
 */
#ifndef TESTS_EMU_CORE_FORMS_H
#define TESTS_EMU_CORE_FORMS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmmcore/emu/emu.h"

struct op_set {
	uint8_t has[OP_COUNT];
};

/* All operations that some encoding means in the mode, but those that raise #UD or #GP. */
void forms_announced(struct op_set *s, enum emu_mode mode);
/* The operations of the instructions in code. */
void forms_mark(struct op_set *s, const uint8_t *code, unsigned n, enum emu_mode mode);
/* Not to be compared in user mode, or not without a system around it. */
bool forms_system(unsigned op);
/* What the tests of vector and x87 instructions count. */
bool forms_fpu(unsigned op);

#endif
