/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the devices: for each file its registers, its state and what the rest may ask of it.
 * Each *_init sets the device's ranges; chipset_add() connects and resets it.
 */
#ifndef BULKHEAD_WORKERS_DEVICES_DEVICES_H
#define BULKHEAD_WORKERS_DEVICES_DEVICES_H

#include "workers/device.h"

/* Where things are. The DSDT (tables/dsdt.asl) says the same. */
enum {
	IRQ_KEYBOARD = 1,
	IRQ_COM2 = 3,
	IRQ_COM1 = 4,
	IRQ_RTC = 8,
	IRQ_SCI = 9,
	PORT_KEYBOARD_DATA = 0x60,
	PORT_KEYBOARD_STATUS = 0x64,
	PORT_RTC = 0x70,
	PORT_SYSTEM_A = 0x92,
	PORT_EXIT = 0xf4,
	PORT_COM2 = 0x2f8,
	PORT_COM1 = 0x3f8,
	PORT_PM1_EVENT = 0x600,
	PORT_PM1_CONTROL = 0x604,
	PORT_PM_TIMER = 0x608,
	PORT_GPE0 = 0x620,
	PORT_PCI_ADDRESS = 0xcf8,
	PORT_RESET = 0xcf9,
	PORT_PCI_DATA = 0xcfc,
};

/* uart.c: 16550D (National Semiconductor data sheet PC16550D, 1995). */
enum { UART_FIFO_BYTES = 16 };

/* The other side of the serial line. */
struct uart_host {
	void (*transmit)(void *arg, const uint8_t *bytes, size_t count);
	void (*room)(void *arg); /* the receiver has room again after uart_receive refused */
	void *arg;
};

struct uart {
	struct device d;
	struct uart_host host;
	uint16_t base;
	uint8_t irq;
	bool refused; /* the host has more: call room() */
	struct uart_state {
		uint8_t ier, lcr, mcr, scr, dll, dlm;
		uint8_t fcr;          /* enable and trigger level as last written */
		uint8_t lsr_errors;   /* overrun, parity, framing, break */
		uint8_t msr_lines;    /* DCD RI DSR CTS as last seen, MSR bits 7-4 */
		uint8_t msr_deltas;   /* MSR bits 3-0 */
		uint8_t thre_pending; /* THRE interrupt not yet acknowledged */
		uint8_t rx_head, rx_count, tx_count;
		uint8_t rx[UART_FIFO_BYTES], tx[UART_FIFO_BYTES];
	} s;
};
void uart_init(struct uart *u, uint16_t base, uint8_t irq, const struct uart_host *host);
/* Bytes from the line; returns how many the receiver took. If not all, room() is called later. */
size_t uart_receive(struct uart *u, const uint8_t *bytes, size_t count);
/* How many uart_receive would take now. */
size_t uart_room(const struct uart *u);

/* rtc.c: MC146818A with 128 bytes (Motorola data sheet, 1984). Port 70h index, 71h data. */
enum { RTC_BYTES = 128 };

struct rtc {
	struct device d;
	struct rtc_state {
		uint8_t index;
		uint8_t ram[RTC_BYTES]; /* registers A to C; time registers while it stands */
		int64_t wall_s;         /* time of day (since 1970) at guest time 0 */
		uint64_t wall_ns;       /* below a second */
		int64_t host_wall_ns;   /* what the host said; the rest is the guest's doing */
		uint64_t seen_ns;       /* guest time up to which register C is right */
	} s;
};
void rtc_init(struct rtc *r);
/* Sets the time of day at guest time 0, keeping what the guest set the clock apart from it. */
void rtc_set_wall(struct rtc *r, int64_t wall_ns_at_guest_zero);
/* The bytes by which a PC's firmware tells how much RAM there is. */
void rtc_set_memory(struct rtc *r, uint64_t ram_below_4g, uint64_t ram_above_4g);

/* i8042.c: keyboard controller without a keyboard (IBM PS/2 Hardware Technical Reference, 1988). */
enum { I8042_QUEUE = 4 };

struct i8042 {
	struct device d;
	struct i8042_state {
		uint8_t control;     /* "command byte" */
		uint8_t output_port; /* but for the A20 gate, which is the chipset's */
		uint8_t command;     /* that waits for its data byte; 0: none */
		uint8_t last_was_command;
		uint8_t last_byte; /* what the output buffer register still holds */
		uint8_t count;
		uint16_t queue[I8042_QUEUE]; /* data byte, and status bits in the high half */
		uint8_t ram[32];
	} s;
};
void i8042_init(struct i8042 *k);

/* acpi_pm.c: ACPI 6.4 fixed hardware, section 4.8. */
enum { ACPI_SLEEP_TYPE_S4 = 4, ACPI_SLEEP_TYPE_S5 = 5, ACPI_PM_TIMER_HZ = 3579545 };

struct acpi_pm {
	struct device d;
	struct acpi_pm_state {
		uint16_t status, enable; /* PM1 event */
		uint16_t control;
		uint8_t gpe_status[2], gpe_enable[2];
		uint64_t timer_turns; /* changes of the timer's bit 31 when status was right */
	} s;
};
void acpi_pm_init(struct acpi_pm *a);
/* Somebody pressed the power button. */
void acpi_pm_power_button(struct acpi_pm *a);
/* A general-purpose event, 0 to 15. */
void acpi_pm_gpe(struct acpi_pm *a, unsigned event);

/* reset.c: port 92h (fast A20 and reset) and the reset control register CF9h of Intel's PIIX. */
struct reset_control {
	struct device d;
	struct reset_control_state {
		uint8_t system_a, control;
	} s;
};
void reset_control_init(struct reset_control *r);

/* pci.c: configuration mechanism 1 (PCI 2.3, section 3.2.2.3) with a host bridge on bus 0. */
struct pci_host {
	struct device d;
	struct pci_host_state {
		uint32_t address;
		uint8_t config[256];
	} s;
};
void pci_host_init(struct pci_host *p);

/* exit.c: lets a test guest end its VM with a value. Not on the machine unless asked for. */
struct exit_device {
	struct device d;
};
void exit_device_init(struct exit_device *e);

#endif
