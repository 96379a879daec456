/* SPDX-License-Identifier: Apache-2.0
 *
 * ACPI fixed hardware: PM1 event and control registers, the 32-bit power management timer and one
 * block of general-purpose events, all on SCI. ACPI mode is always on (SCI_EN reads 1, there is no
 * SMI_CMD). Register layouts: ACPI 6.4 sections 4.8.3 and 4.8.4.
 */
#include "workers/devices/devices.h"

#include "proto/control.h"
#include "workers/clock.h"

#include <string.h>

/* Nothing here sets RTC_STS (the FADT says so), but systems enable and disable it all the same. */
enum {
	EVENT_TIMER = 0x0001,
	EVENT_GLOBAL = 0x0020,
	EVENT_POWER_BUTTON = 0x0100,
	EVENT_RTC = 0x0400
};
enum { EVENT_BITS = EVENT_TIMER | EVENT_GLOBAL | EVENT_POWER_BUTTON | EVENT_RTC };
enum { CONTROL_SCI_EN = 0x0001, CONTROL_KEPT = 0x0002 | 0x1c00, CONTROL_SLP_EN = 0x2000 };
enum { TIMER_TOGGLE_BIT = 31, GPE0_BYTES = 4 };

static uint64_t timer_ticks(uint64_t ns)
{
	return ns / NS_PER_S * ACPI_PM_TIMER_HZ + ns % NS_PER_S * ACPI_PM_TIMER_HZ / NS_PER_S;
}

/* First nanosecond at which the timer has counted that far. */
static uint64_t ticks_begin(uint64_t ticks)
{
	return ticks / ACPI_PM_TIMER_HZ * NS_PER_S +
	       (ticks % ACPI_PM_TIMER_HZ * NS_PER_S + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ;
}

/* TMR_STS is set whenever the highest bit of the timer changes. */
static void evaluate(struct acpi_pm *a)
{
	uint64_t now = device_now(&a->d), turns = timer_ticks(now) >> TIMER_TOGGLE_BIT;

	if (turns != a->s.timer_turns)
		a->s.status |= EVENT_TIMER;
	a->s.timer_turns = turns;
	a->d.deadline_ns = 0;
	if (a->s.enable & EVENT_TIMER && !(a->s.status & EVENT_TIMER))
		a->d.deadline_ns = ticks_begin((turns + 1) << TIMER_TOGGLE_BIT);
}

static void update_sci(struct acpi_pm *a)
{
	bool gpe = (a->s.gpe_status[0] & a->s.gpe_enable[0]) ||
		   (a->s.gpe_status[1] & a->s.gpe_enable[1]);

	device_line(&a->d, IRQ_SCI, gpe || (a->s.status & a->s.enable));
}

static uint8_t read_byte(struct acpi_pm *a, uint64_t port)
{
	switch (port) {
	case PORT_PM1_EVENT:
	case PORT_PM1_EVENT + 1:
		return a->s.status >> (port - PORT_PM1_EVENT) * 8;
	case PORT_PM1_EVENT + 2:
	case PORT_PM1_EVENT + 3:
		return a->s.enable >> (port - PORT_PM1_EVENT - 2) * 8;
	case PORT_PM1_CONTROL:
	case PORT_PM1_CONTROL + 1:
		return (a->s.control | CONTROL_SCI_EN) >> (port - PORT_PM1_CONTROL) * 8;
	case PORT_GPE0:
	case PORT_GPE0 + 1:
		return a->s.gpe_status[port - PORT_GPE0];
	case PORT_GPE0 + 2:
	case PORT_GPE0 + 3:
		return a->s.gpe_enable[port - PORT_GPE0 - 2];
	}
	return 0;
}

static uint64_t acpi_read(struct device *d, uint64_t address, unsigned size)
{
	struct acpi_pm *a = (struct acpi_pm *)d;
	uint64_t value = 0;

	if (address >= PORT_PM_TIMER && address < PORT_PM_TIMER + 4)
		return (uint32_t)timer_ticks(device_now(d)) >> (address - PORT_PM_TIMER) * 8;
	evaluate(a);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)read_byte(a, address + i) << (i * 8);
	update_sci(a);
	return value;
}

/* To hibernate is to be turned off: the memory is on a disk of the system's own. */
static bool turns_off(uint16_t control)
{
	unsigned type = control >> 10 & 7;

	return control & CONTROL_SLP_EN &&
	       (type == ACPI_SLEEP_TYPE_S4 || type == ACPI_SLEEP_TYPE_S5);
}

static void write_control(struct acpi_pm *a, unsigned shift, uint8_t byte)
{
	uint16_t mask = 0xff << shift, value = (a->s.control & ~mask) | byte << shift;

	a->s.control = value & CONTROL_KEPT;
	if (turns_off(value))
		device_event(&a->d, GUEST_POWER_OFF, 0);
}

static void write_byte(struct acpi_pm *a, uint64_t port, uint8_t byte)
{
	unsigned shift = (port & 1) * 8;

	switch (port) {
	case PORT_PM1_EVENT:
	case PORT_PM1_EVENT + 1:
		a->s.status &= ~(byte << shift); /* write 1 to clear */
		break;
	case PORT_PM1_EVENT + 2:
	case PORT_PM1_EVENT + 3:
		a->s.enable = ((a->s.enable & ~(0xff << shift)) | byte << shift) & EVENT_BITS;
		break;
	case PORT_PM1_CONTROL:
	case PORT_PM1_CONTROL + 1:
		write_control(a, shift, byte);
		break;
	case PORT_GPE0:
	case PORT_GPE0 + 1:
		a->s.gpe_status[port - PORT_GPE0] &= ~byte;
		break;
	case PORT_GPE0 + 2:
	case PORT_GPE0 + 3:
		a->s.gpe_enable[port - PORT_GPE0 - 2] = byte;
		break;
	}
}

static void acpi_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	struct acpi_pm *a = (struct acpi_pm *)d;

	evaluate(a);
	for (unsigned i = 0; i < size; i++)
		write_byte(a, address + i, value >> (i * 8));
	evaluate(a);
	update_sci(a);
}

static void acpi_expire(struct device *d, uint64_t now_ns)
{
	struct acpi_pm *a = (struct acpi_pm *)d;

	evaluate(a);
	update_sci(a);
}

static void acpi_reset(struct device *d)
{
	struct acpi_pm *a = (struct acpi_pm *)d;

	memset(&a->s, 0, sizeof(a->s));
	a->s.timer_turns = timer_ticks(device_now(d)) >> TIMER_TOGGLE_BIT;
	update_sci(a);
}

void acpi_pm_power_button(struct acpi_pm *a)
{
	a->s.status |= EVENT_POWER_BUTTON;
	update_sci(a);
}

void acpi_pm_gpe(struct acpi_pm *a, unsigned event)
{
	a->s.gpe_status[event / 8 & 1] |= 1u << event % 8;
	update_sci(a);
}

static const struct device_ops ops = {
	.name = "acpi-pm",
	.widest = 4,
	.read = acpi_read,
	.write = acpi_write,
	.reset = acpi_reset,
	.expire = acpi_expire,
};

void acpi_pm_init(struct acpi_pm *a)
{
	a->d.ops = &ops;
	a->d.port[0] = (struct device_range){PORT_PM1_EVENT, 6};
	a->d.port[1] = (struct device_range){PORT_PM_TIMER, 4};
	a->d.port[2] = (struct device_range){PORT_GPE0, GPE0_BYTES};
}
