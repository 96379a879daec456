/* SPDX-License-Identifier: Apache-2.0
 *
 * What the probe guest (probe_guest.S) and its monitor (probe.c) have agreed on.
 */
#ifndef BULKHEAD_VMMCORE_PROBE_H
#define BULKHEAD_VMMCORE_PROBE_H

/* The guest writes the number of the step it begins to this port. */
#define PROBE_PORT       0xe9
#define PROBE_START      1
#define PROBE_FAR_RETURN 2
#define PROBE_IRETQ      3
#define PROBE_CMPXCHG16B 4
#define PROBE_FXSAVE     5
#define PROBE_XRSTOR     6
#define PROBE_WRMSR      7
#define PROBE_SYSRET     8
#define PROBE_SYSCALL    9
#define PROBE_PAGE_FAULT 10
#define PROBE_INTERRUPT  11
#define PROBE_DONE       12
#define PROBE_WRONG      0xff /* the step gave a wrong result */

/* Guest-physical layout. */
#define PROBE_RAM   0x400000
#define PROBE_PML4  0x1000
#define PROBE_PDPT  0x2000
#define PROBE_PD    0x3000
#define PROBE_TSS   0x4000
#define PROBE_AREA  0x6000 /* FXSAVE and XSAVE images */
#define PROBE_STACK 0x9000
#define PROBE_LOAD  0x10000 /* the guest's code, below 64 KiB of it */

#define PROBE_KERNEL_CS   0x08
#define PROBE_KERNEL_DS   0x10
#define PROBE_SYSRET_BASE 0x18 /* SYSRET: SS is this + 8, CS this + 16 */
#define PROBE_VECTOR      0x41

#endif
