/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers that bind.c may choose instead of an operation's own.
 */
#ifndef BULKHEAD_EMU_FUSED_H
#define BULKHEAD_EMU_FUSED_H

#include "vmmcore/emu/emu.h"

/* op_fused.c: a joint handler for two neighbours, or NULL. */
emu_fn emu_fused(unsigned first, unsigned second);

/* op_noflags.c: a handler that leaves the flags alone, or NULL. Right only where every flag is
 * written again before anything can look. */
emu_fn emu_noflags(unsigned op);

#endif
