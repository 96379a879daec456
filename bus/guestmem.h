/* SPDX-License-Identifier: Apache-2.0
 *
 * A VM's RAM in a process that is not the partition: the sealed memfd, mapped, and checked access
 * to it. Guest-physical layout: RAM from 0 to at most 3 GiB, the rest from 4 GiB up; the memfd
 * holds the two parts one after the other. GUESTMEM_LOW_MAX leaves 1 GiB below 4 GiB for devices.
 *
 * Guest memory changes under our feet: read it once into private memory, then check, then use.
 */
#ifndef BULKHEAD_BUS_GUESTMEM_H
#define BULKHEAD_BUS_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUESTMEM_LOW_MAX   0xC0000000ull
#define GUESTMEM_HIGH_BASE 0x100000000ull

struct guestmem {
	uint8_t *map;                   /* owned mapping of the memfd, size bytes */
	uint64_t size;                  /* RAM bytes, a multiple of 4096 */
	uint64_t low_size;              /* min(size, GUESTMEM_LOW_MAX) */
	_Atomic uint32_t *page_gen;     /* owned mapping: one counter per RAM page; a writer of
	                                   guest RAM increments the counters of the pages it wrote,
	                                   so that decoded code is dropped */
};

/* Makes the RAM memfd (sealed against resize) and the generation-counter memfd of a VM. */
int guestmem_create(uint64_t size, int *ram_fd, int *gen_fd);
/* Maps both; the descriptors stay the caller's. Checks size and seals. */
int guestmem_map(struct guestmem *gm, int ram_fd, int gen_fd, uint64_t size);
void guestmem_unmap(struct guestmem *gm);

/* Host address of [gpa, gpa+len) if all of it is RAM and contiguous, else NULL. */
void *guestmem_ptr(const struct guestmem *gm, uint64_t gpa, uint64_t len);
/* Copies; -EFAULT unless the whole range is RAM (nothing is copied then). Writes mark pages. */
int guestmem_read(const struct guestmem *gm, uint64_t gpa, void *buf, size_t len);
int guestmem_write(const struct guestmem *gm, uint64_t gpa, const void *buf, size_t len);
int guestmem_zero(const struct guestmem *gm, uint64_t gpa, uint64_t len);
/* After writing through guestmem_ptr. */
void guestmem_wrote(const struct guestmem *gm, uint64_t gpa, uint64_t len);

#endif
