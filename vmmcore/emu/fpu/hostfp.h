/* SPDX-License-Identifier: Apache-2.0
 *
 * SSE arithmetic on the host: one hf_ function per operation, with x86 results (which NaN is
 * returned, denormals as zeros, flush to zero, integer indefinite), under the mode that
 * hf_load() set. Exceptions gather in the host until hf_flags() reads them, except those that a
 * function finds itself, which go to emu_fp_raise().
 *
 * hostfp_x86.h uses the host's SSE instructions; inline assembly, because a compiler may exchange
 * the operands of an addition and so return the other NaN. hostfp_fenv.h is C and <fenv.h>. Define
 * EMU_HOSTFP_PORTABLE to get the latter on x86 too (that is how it is tested).
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_HOSTFP_H
#define BULKHEAD_VMMCORE_EMU_FPU_HOSTFP_H

#include "vmmcore/emu/fpu/simd.h"

#if defined(__x86_64__) && !defined(EMU_HOSTFP_PORTABLE)
#include "vmmcore/emu/fpu/hostfp_x86.h"
#else
#include "vmmcore/emu/fpu/hostfp_fenv.h"
#endif

#endif
