/* SPDX-License-Identifier: Apache-2.0
 *
 * 16550D UART. Register and interrupt behaviour by the PC16550D data sheet, chapter 8.
 *
 * Where it differs from silicon, and why:
 * - The line has no speed. What the guest puts into the transmitter is gone at the end of the batch
 *   of accesses, or as soon as the guest looks (LSR, IIR): one interrupt for a FIFO full of bytes,
 *   as silicon gives, and never a wait.
 * - Received bytes below the trigger level count as timed out at once.
 * - Input that has no room stays with the host: the line never overruns.
 * - INTR is not gated by OUT2, as on a PC it would be; guests that forget OUT2 still work.
 */
#include "workers/devices/devices.h"

#include <string.h>

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum { IER_RX = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8 };
enum {
	IIR_NONE = 1,
	IIR_MODEM = 0,
	IIR_THRE = 2,
	IIR_RX = 4,
	IIR_LINE = 6,
	IIR_TIMEOUT = 0xc,
	IIR_FIFOS = 0xc0,
};
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_TRIGGER = 0xc0 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_BITS = 0x1f };
enum { LSR_DR = 1, LSR_OE = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum {
	MSR_DCTS = 1,
	MSR_DDSR = 2,
	MSR_TERI = 4,
	MSR_DDCD = 8,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

static unsigned capacity(const struct uart *u)
{
	return u->s.fcr & FCR_ENABLE ? UART_FIFO_BYTES : 1;
}

static unsigned trigger_level(const struct uart *u)
{
	static const uint8_t level[4] = {1, 4, 8, 14};

	return u->s.fcr & FCR_ENABLE ? level[u->s.fcr >> 6] : 1;
}

/* The highest-priority interrupt that is pending and enabled (table IV of the data sheet). */
static unsigned interrupt(const struct uart *u)
{
	if (u->s.ier & IER_LINE && u->s.lsr_errors)
		return IIR_LINE;
	if (u->s.ier & IER_RX && u->s.rx_count)
		return u->s.rx_count >= trigger_level(u) ? IIR_RX : IIR_TIMEOUT;
	if (u->s.ier & IER_THRE && u->s.thre_pending)
		return IIR_THRE;
	if (u->s.ier & IER_MODEM && u->s.msr_deltas)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_line(struct uart *u)
{
	device_line(&u->d, u->irq, interrupt(u) != IIR_NONE);
}

static void receive_byte(struct uart *u, uint8_t byte)
{
	if (u->s.rx_count >= capacity(u)) {
		/* Only loopback gets here. The FIFO keeps what it has and drops the new byte; a
		 * receiver without FIFO is overwritten. */
		u->s.lsr_errors |= LSR_OE;
		if (!(u->s.fcr & FCR_ENABLE))
			u->s.rx[u->s.rx_head] = byte;
		return;
	}
	u->s.rx[(u->s.rx_head + u->s.rx_count++) % UART_FIFO_BYTES] = byte;
}

/* The transmitter runs empty. */
static void drain(struct uart *u)
{
	unsigned count = u->s.tx_count;

	if (!count)
		return;
	u->s.tx_count = 0;
	u->s.thre_pending = 1;
	if (u->s.mcr & MCR_LOOP) {
		for (unsigned i = 0; i < count; i++)
			receive_byte(u, u->s.tx[i]);
	} else {
		u->host.transmit(u->host.arg, u->s.tx, count);
	}
}

static void write_data(struct uart *u, uint8_t value)
{
	if (u->s.tx_count >= capacity(u))
		drain(u);
	u->s.tx[u->s.tx_count++] = value;
	u->s.thre_pending = 0;
	device_unsettled(&u->d);
}

static uint8_t read_data(struct uart *u)
{
	uint8_t value = u->s.rx[u->s.rx_head];

	if (!u->s.rx_count)
		return value; /* the last byte, as the buffer register still holds it */
	u->s.rx_head = (u->s.rx_head + 1) % UART_FIFO_BYTES;
	u->s.rx_count--;
	if (u->refused)
		device_unsettled(&u->d);
	return value;
}

static void write_fcr(struct uart *u, uint8_t value)
{
	/* Changing the enable bit clears both FIFOs; the other bits count only beside a set one. */
	bool toggled = (value ^ u->s.fcr) & FCR_ENABLE;

	if (toggled)
		drain(u);
	if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_RX)) {
		u->s.rx_count = 0;
		if (u->refused)
			device_unsettled(&u->d);
	}
	if (value & FCR_ENABLE && value & FCR_CLEAR_TX && u->s.tx_count) {
		u->s.tx_count = 0;
		u->s.thre_pending = 1;
	}
	u->s.fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
}

/* Modem inputs: a connected, ready peer; in loopback the four outputs. */
static void update_modem(struct uart *u)
{
	uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD, changed;

	if (u->s.mcr & MCR_LOOP)
		lines = (u->s.mcr & MCR_RTS ? MSR_CTS : 0) | (u->s.mcr & MCR_DTR ? MSR_DSR : 0) |
			(u->s.mcr & MCR_OUT1 ? MSR_RI : 0) | (u->s.mcr & MCR_OUT2 ? MSR_DCD : 0);
	changed = lines ^ u->s.msr_lines;
	/* RI counts only when it ends. */
	if (lines & MSR_RI)
		changed &= ~MSR_RI;
	u->s.msr_deltas |= changed >> 4;
	u->s.msr_lines = lines;
}

static void write_mcr(struct uart *u, uint8_t value)
{
	drain(u); /* what is in the transmitter goes where it was meant to go */
	u->s.mcr = value & MCR_BITS;
	update_modem(u);
	if (u->refused)
		device_unsettled(&u->d);
}

static uint8_t read_iir(struct uart *u)
{
	unsigned cause;

	drain(u);
	cause = interrupt(u);
	if (cause == IIR_THRE)
		u->s.thre_pending = 0;
	return cause | (u->s.fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *u)
{
	uint8_t value;

	drain(u);
	value = LSR_THRE | LSR_TEMT | u->s.lsr_errors | (u->s.rx_count ? LSR_DR : 0);
	u->s.lsr_errors = 0;
	return value;
}

static uint8_t read_msr(struct uart *u)
{
	uint8_t value = u->s.msr_lines | u->s.msr_deltas;

	u->s.msr_deltas = 0;
	return value;
}

static uint64_t uart_read(struct device *d, uint64_t address, unsigned size)
{
	struct uart *u = (struct uart *)d;
	bool dlab = u->s.lcr & LCR_DLAB;
	uint8_t value = 0xff;

	switch (address - u->base) {
	case REG_DATA:
		value = dlab ? u->s.dll : read_data(u);
		break;
	case REG_IER:
		value = dlab ? u->s.dlm : u->s.ier;
		break;
	case REG_IIR_FCR:
		value = read_iir(u);
		break;
	case REG_LCR:
		value = u->s.lcr;
		break;
	case REG_MCR:
		value = u->s.mcr;
		break;
	case REG_LSR:
		value = read_lsr(u);
		break;
	case REG_MSR:
		value = read_msr(u);
		break;
	case REG_SCR:
		value = u->s.scr;
		break;
	}
	update_line(u);
	return value;
}

static void write_ier(struct uart *u, uint8_t value)
{
	/* An empty transmitter interrupts when the interrupt is enabled. */
	if (value & ~u->s.ier & IER_THRE) {
		drain(u);
		u->s.thre_pending = 1;
	}
	u->s.ier = value & 0xf;
}

static void uart_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	struct uart *u = (struct uart *)d;
	bool dlab = u->s.lcr & LCR_DLAB;

	switch (address - u->base) {
	case REG_DATA:
		if (dlab)
			u->s.dll = value;
		else
			write_data(u, value);
		break;
	case REG_IER:
		if (dlab)
			u->s.dlm = value;
		else
			write_ier(u, value);
		break;
	case REG_IIR_FCR:
		write_fcr(u, value);
		break;
	case REG_LCR:
		u->s.lcr = value;
		break;
	case REG_MCR:
		write_mcr(u, value);
		break;
	case REG_SCR:
		u->s.scr = value;
		break;
	}
	update_line(u);
}

static void uart_settle(struct device *d)
{
	struct uart *u = (struct uart *)d;

	drain(u);
	update_line(u);
	if (u->refused && uart_room(u)) {
		u->refused = false;
		u->host.room(u->host.arg);
	}
}

/* Master reset (table I of the data sheet). RBR, THR and the divisor keep what they had. */
static void uart_reset(struct device *d)
{
	struct uart *u = (struct uart *)d;

	memset(&u->s, 0, sizeof(u->s));
	u->s.msr_lines = MSR_CTS | MSR_DSR | MSR_DCD;
	update_line(u);
	if (u->refused)
		device_unsettled(d);
}

size_t uart_room(const struct uart *u)
{
	unsigned cap = capacity(u);

	/* In loopback the input pin is disconnected: the host keeps its bytes. */
	if (u->s.mcr & MCR_LOOP || u->s.rx_count >= cap)
		return 0;
	return cap - u->s.rx_count;
}

size_t uart_receive(struct uart *u, const uint8_t *bytes, size_t count)
{
	size_t take = uart_room(u);

	if (take >= count)
		take = count;
	else
		u->refused = true;
	for (size_t i = 0; i < take; i++)
		receive_byte(u, bytes[i]);
	update_line(u);
	return take;
}

static const struct device_ops ops = {
	.name = "uart",
	.widest = 1,
	.read = uart_read,
	.write = uart_write,
	.reset = uart_reset,
	.settle = uart_settle,
};

void uart_init(struct uart *u, uint16_t base, uint8_t irq, const struct uart_host *host)
{
	u->d.ops = &ops;
	u->d.port[0] = (struct device_range){base, 8};
	u->base = base;
	u->irq = irq;
	u->host = *host;
}
