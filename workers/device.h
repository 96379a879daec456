/* SPDX-License-Identifier: Apache-2.0
 *
 * What a device is to the dispatcher (chipset.c), and what the dispatcher does for a device.
 *
 * A device is one struct with a struct device as its first member, then its state, which is free of
 * pointers so that a saved-state message can be made of it. The chipset owns them all.
 *
 * Threads: one. Nothing here blocks, and nothing here allocates.
 */
#ifndef BULKHEAD_WORKERS_DEVICE_H
#define BULKHEAD_WORKERS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chipset;
struct device;

struct device_ops {
	const char *name;
	/* Widest access the device understands, in bytes. A wider one, or one that leaves the
	 * device's range, arrives as several single bytes, as an ISA bridge would send it. */
	uint8_t widest;
	/* address: the port number or guest-physical address of the first byte. */
	uint64_t (*read)(struct device *d, uint64_t address, unsigned size);
	void (*write)(struct device *d, uint64_t address, unsigned size, uint64_t value);
	/* To the state after power-on. */
	void (*reset)(struct device *d);
	/* The guest clock has reached d->deadline_ns, which has been disarmed. May be NULL. */
	void (*expire)(struct device *d, uint64_t now_ns);
	/* A batch of accesses is over and the device asked (device_unsettled): the place for work
	 * that is better done once per batch than once per access. May be NULL. */
	void (*settle)(struct device *d);
};

enum { DEVICE_MAX_RANGES = 4 };

struct device_range {
	uint64_t base, count;
};

struct device {
	const struct device_ops *ops;
	struct chipset *chipset;
	struct device_range port[DEVICE_MAX_RANGES]; /* those with a count of 0 are unused */
	struct device_range mmio[DEVICE_MAX_RANGES];
	uint64_t deadline_ns; /* guest time of expire(); 0: none */
	bool unsettled;
};

/* For devices: the services of the chipset. */

/* Guest time, nanoseconds. */
uint64_t device_now(const struct device *d);
/* The level of a global system interrupt that belongs to this device alone. */
void device_line(struct device *d, unsigned gsi, bool level);
/* The guest asked for something that concerns the whole VM: enum guest_event. */
void device_event(struct device *d, unsigned event, uint32_t value);
void device_unsettled(struct device *d);
/* The A20 gate: one, which two devices can move. The last one that did says where it stands. */
void device_set_a20(struct device *d, bool open);
bool device_a20(const struct device *d);

#endif
