/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine's devices and the dispatcher that finds the owner of an access. It knows nothing of
 * channels and sockets: main.c connects it to them, tests connect it to themselves.
 */
#ifndef BULKHEAD_WORKERS_CHIPSET_H
#define BULKHEAD_WORKERS_CHIPSET_H

#include "workers/clock.h"
#include "workers/device.h"
#include "workers/devices/devices.h"

enum { CHIPSET_MAX_DEVICES = 16, CHIPSET_MAX_MMIO = 16, CHIPSET_GSIS = 24 };

/* What the chipset needs of the outside. */
struct chipset_host {
	void (*line)(void *arg, unsigned gsi, bool level); /* called on changes only */
	void (*event)(void *arg, unsigned event, uint32_t value);
	void *arg;
};

struct chipset_mmio {
	uint64_t base, end; /* [base, end) */
	struct device *owner;
};

struct chipset {
	struct guest_clock clock;
	struct chipset_host host;
	struct device *device[CHIPSET_MAX_DEVICES]; /* [0] stays NULL: nobody */
	unsigned devices;                           /* used entries, [0] included */
	uint8_t port_owner[65536];                  /* index into device[] */
	struct chipset_mmio mmio[CHIPSET_MAX_MMIO]; /* sorted by base */
	unsigned mmios;
	uint32_t lines; /* level of each GSI */
	bool unsettled; /* some device is */
	bool a20;       /* the gate is open */

	struct uart com[2];
	struct rtc rtc;
	struct i8042 i8042;
	struct acpi_pm acpi_pm;
	struct reset_control reset_control;
	struct pci_host pci;
	struct exit_device exit_device;
};

/* An empty chipset. c must be zeroed memory. */
void chipset_init(struct chipset *c, const struct chipset_host *host);
/* Adds a device, whose struct must outlive the chipset, with the ranges it already names.
 * -EBUSY if a range belongs to another device, -ENOSPC. */
int chipset_add(struct chipset *c, struct device *d);

/* size: 1, 2, 4 (MMIO also 8). What nobody owns reads as all ones, and ignores writes. */
uint64_t chipset_pio_read(struct chipset *c, uint16_t port, unsigned size);
void chipset_pio_write(struct chipset *c, uint16_t port, unsigned size, uint64_t value);
uint64_t chipset_mmio_read(struct chipset *c, uint64_t address, unsigned size);
void chipset_mmio_write(struct chipset *c, uint64_t address, unsigned size, uint64_t value);

void chipset_reset(struct chipset *c);
/* Ends a batch of accesses. */
void chipset_settle(struct chipset *c);
/* Runs the timers that are due; returns the guest time of the next one, 0 if there is none. */
uint64_t chipset_timers(struct chipset *c);
uint64_t chipset_next_deadline(const struct chipset *c);

#endif
