/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/devices/devices.h"

#include "proto/control.h"

static uint64_t exit_read(struct device *d, uint64_t address, unsigned size)
{
	return 0;
}

static void exit_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	if (address == PORT_EXIT)
		device_event(d, GUEST_EXIT, value);
}

static void exit_reset(struct device *d)
{
}

static const struct device_ops ops = {
	.name = "exit",
	.widest = 4,
	.read = exit_read,
	.write = exit_write,
	.reset = exit_reset,
};

void exit_device_init(struct exit_device *e)
{
	e->d.ops = &ops;
	e->d.port[0] = (struct device_range){PORT_EXIT, 4};
}
