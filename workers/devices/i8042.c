/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyboard controller with one port and nothing plugged into it. A byte for the absent keyboard
 * is answered as the controller answers when the device does not clock it in: FEh with the
 * time-out bit. So drivers learn at once that there is nobody, instead of waiting for it.
 */
#include "workers/devices/devices.h"

#include "proto/control.h"

#include <string.h>

enum {
	STATUS_OUTPUT_FULL = 0x01,
	STATUS_SYSTEM = 0x04,
	STATUS_COMMAND = 0x08,
	STATUS_UNLOCKED = 0x10,
	STATUS_TIMEOUT = 0x40,
};
enum { CONTROL_INTERRUPT = 0x01, CONTROL_SYSTEM = 0x04, CONTROL_KEYBOARD_OFF = 0x10 };
enum { OUTPUT_NO_RESET = 0x01, OUTPUT_A20 = 0x02 };
enum {
	COMMAND_READ_RAM = 0x20,
	COMMAND_WRITE_RAM = 0x60,
	COMMAND_AUX_TEST = 0xa9,
	COMMAND_SELF_TEST = 0xaa,
	COMMAND_KEYBOARD_TEST = 0xab,
	COMMAND_KEYBOARD_OFF = 0xad,
	COMMAND_KEYBOARD_ON = 0xae,
	COMMAND_READ_INPUT = 0xc0,
	COMMAND_READ_OUTPUT = 0xd0,
	COMMAND_WRITE_OUTPUT = 0xd1,
	COMMAND_ECHO_KEYBOARD = 0xd2,
	COMMAND_ECHO_AUX = 0xd3,
	COMMAND_TO_AUX = 0xd4,
	COMMAND_A20_SHUT = 0xdd,
	COMMAND_A20_OPEN = 0xdf,
	COMMAND_PULSE = 0xf0,
};
enum { SELF_TEST_PASSED = 0x55, TEST_PASSED = 0x00, TEST_CLOCK_LOW = 0x01, RESEND = 0xfe };
enum { INPUT_UNLOCKED = 0x80 };

static void update_line(struct i8042 *k)
{
	device_line(&k->d, IRQ_KEYBOARD, k->s.count && k->s.control & CONTROL_INTERRUPT);
}

static void answer(struct i8042 *k, uint8_t byte, uint8_t status)
{
	/* For a driver that never reads, what has no room is lost. */
	if (k->s.count < I8042_QUEUE)
		k->s.queue[k->s.count++] = byte | status << 8;
}

static uint8_t read_data(struct i8042 *k)
{
	uint8_t byte = k->s.last_byte;

	if (k->s.count) {
		byte = k->s.last_byte = k->s.queue[0];
		k->s.count--;
		memmove(k->s.queue, k->s.queue + 1, k->s.count * sizeof(k->s.queue[0]));
		device_line(&k->d, IRQ_KEYBOARD, false); /* one edge for each byte */
	}
	update_line(k);
	return byte;
}

static uint8_t read_status(const struct i8042 *k)
{
	uint8_t status = STATUS_UNLOCKED | (k->s.control & CONTROL_SYSTEM);

	if (k->s.last_was_command)
		status |= STATUS_COMMAND;
	if (k->s.count)
		status |= STATUS_OUTPUT_FULL | k->s.queue[0] >> 8;
	return status;
}

static void write_output_port(struct i8042 *k, uint8_t value)
{
	k->s.output_port = value & ~OUTPUT_A20;
	device_set_a20(&k->d, value & OUTPUT_A20);
	if (!(value & OUTPUT_NO_RESET))
		device_event(&k->d, GUEST_RESET, 0);
}

static void command(struct i8042 *k, uint8_t c)
{
	k->s.command = 0;
	switch (c) {
	case COMMAND_READ_RAM:
		answer(k, k->s.control, 0);
		break;
	case COMMAND_READ_RAM + 1 ... COMMAND_READ_RAM + 0x1f:
		answer(k, k->s.ram[c & 0x1f], 0);
		break;
	case COMMAND_WRITE_RAM ... COMMAND_WRITE_RAM + 0x1f:
	case COMMAND_WRITE_OUTPUT:
	case COMMAND_ECHO_KEYBOARD:
	case COMMAND_ECHO_AUX:
	case COMMAND_TO_AUX:
		k->s.command = c;
		break;
	case COMMAND_AUX_TEST:
		answer(k, TEST_CLOCK_LOW, 0); /* there is no second port */
		break;
	case COMMAND_SELF_TEST:
		k->s.control |= CONTROL_SYSTEM;
		answer(k, SELF_TEST_PASSED, 0);
		break;
	case COMMAND_KEYBOARD_TEST:
		answer(k, TEST_PASSED, 0);
		break;
	case COMMAND_KEYBOARD_OFF:
		k->s.control |= CONTROL_KEYBOARD_OFF;
		break;
	case COMMAND_KEYBOARD_ON:
		k->s.control &= ~CONTROL_KEYBOARD_OFF;
		break;
	case COMMAND_READ_INPUT:
		answer(k, INPUT_UNLOCKED, 0);
		break;
	case COMMAND_READ_OUTPUT:
		answer(k, k->s.output_port | (device_a20(&k->d) ? OUTPUT_A20 : 0), 0);
		break;
	case COMMAND_A20_SHUT: /* as chip sets have it that answer for the controller */
	case COMMAND_A20_OPEN:
		device_set_a20(&k->d, c == COMMAND_A20_OPEN);
		break;
	case COMMAND_PULSE ... 0xff:
		/* Pulses low the output lines whose bits are 0; line 0 is the processor's reset. */
		if (!(c & OUTPUT_NO_RESET))
			device_event(&k->d, GUEST_RESET, 0);
		break;
	}
}

static void write_data(struct i8042 *k, uint8_t value)
{
	uint8_t c = k->s.command;

	k->s.command = 0;
	switch (c) {
	case COMMAND_WRITE_RAM:
		k->s.control = value;
		break;
	case COMMAND_WRITE_RAM + 1 ... COMMAND_WRITE_RAM + 0x1f:
		k->s.ram[c & 0x1f] = value;
		break;
	case COMMAND_WRITE_OUTPUT:
		write_output_port(k, value);
		break;
	case COMMAND_ECHO_KEYBOARD:
	case COMMAND_ECHO_AUX: /* without the second port's mark: there is none */
		answer(k, value, 0);
		break;
	default: /* for the keyboard, or (D4h) the mouse */
		k->s.control &= ~CONTROL_KEYBOARD_OFF;
		answer(k, RESEND, STATUS_TIMEOUT);
	}
}

static uint64_t i8042_read(struct device *d, uint64_t address, unsigned size)
{
	struct i8042 *k = (struct i8042 *)d;

	return address == PORT_KEYBOARD_DATA ? read_data(k) : read_status(k);
}

static void i8042_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	struct i8042 *k = (struct i8042 *)d;

	k->s.last_was_command = address == PORT_KEYBOARD_STATUS;
	if (k->s.last_was_command)
		command(k, value);
	else
		write_data(k, value);
	update_line(k);
}

static void i8042_reset(struct device *d)
{
	struct i8042 *k = (struct i8042 *)d;

	memset(&k->s, 0, sizeof(k->s));
	k->s.control = CONTROL_SYSTEM; /* as firmware leaves it: self test passed, interrupt off */
	k->s.output_port = OUTPUT_NO_RESET;
	update_line(k);
}

static const struct device_ops ops = {
	.name = "i8042",
	.widest = 1,
	.read = i8042_read,
	.write = i8042_write,
	.reset = i8042_reset,
};

void i8042_init(struct i8042 *k)
{
	k->d.ops = &ops;
	k->d.port[0] = (struct device_range){PORT_KEYBOARD_DATA, 1};
	k->d.port[1] = (struct device_range){PORT_KEYBOARD_STATUS, 1};
}
