/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BULKHEAD_EMU_PAGING_H
#define BULKHEAD_EMU_PAGING_H

/* MAXPHYADDR and linear address width, as CPUID 80000008 announces them. */
enum { EMU_PHYS_BITS = 46, EMU_LIN_BITS = 48 };

#endif
