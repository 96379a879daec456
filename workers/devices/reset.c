/* SPDX-License-Identifier: Apache-2.0
 *
 * Two ways to reset a PC besides the keyboard controller. Port 92h: PS/2 system control port A, of
 * which bit 0 resets on its rising edge and bit 1 is the A20 gate, open after power-on as firmware
 * leaves it. Port CF9h: bit 2 resets on its rising edge, bit 1 chooses hard or soft.
 */
#include "workers/devices/devices.h"

#include "proto/control.h"

enum {
	SYSTEM_A_RESET = 1,
	SYSTEM_A_GATE = 2,
	CONTROL_HARD = 2,
	CONTROL_RESET = 4,
	CONTROL_FULL = 8
};

static uint64_t reset_read(struct device *d, uint64_t address, unsigned size)
{
	struct reset_control *r = (struct reset_control *)d;

	if (address != PORT_SYSTEM_A)
		return r->s.control;
	return r->s.system_a | (device_a20(d) ? SYSTEM_A_GATE : 0);
}

static void reset_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	struct reset_control *r = (struct reset_control *)d;
	bool fire;

	if (address == PORT_SYSTEM_A) {
		fire = value & ~r->s.system_a & SYSTEM_A_RESET;
		r->s.system_a = value & SYSTEM_A_RESET;
		device_set_a20(d, value & SYSTEM_A_GATE);
	} else {
		fire = value & ~r->s.control & CONTROL_RESET;
		r->s.control = value & (CONTROL_HARD | CONTROL_RESET | CONTROL_FULL);
	}
	if (fire)
		device_event(d, GUEST_RESET, 0);
}

static void reset_reset(struct device *d)
{
	struct reset_control *r = (struct reset_control *)d;

	r->s.system_a = 0;
	r->s.control = 0;
}

static const struct device_ops ops = {
	.name = "reset",
	.widest = 1,
	.read = reset_read,
	.write = reset_write,
	.reset = reset_reset,
};

void reset_control_init(struct reset_control *r)
{
	r->d.ops = &ops;
	r->d.port[0] = (struct device_range){PORT_SYSTEM_A, 1};
	r->d.port[1] = (struct device_range){PORT_RESET, 1};
}
