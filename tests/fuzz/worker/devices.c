/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest, its serial lines and time do anything they like to a machine with all its devices.
 *
 * Input: operations, each a byte that chooses and a few that say with what (see step()).
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "workers/machine.h"

static struct chipset *c;
static uint64_t accesses, events, sent;
static uint32_t lines;
static bool in_settle;

static void line(void *arg, unsigned gsi, bool level)
{
	fuzz_require(gsi < CHIPSET_GSIS);
	fuzz_require((lines >> gsi & 1) != level); /* changes only */
	lines ^= 1u << gsi;
}

static void event(void *arg, unsigned what, uint32_t value)
{
	fuzz_require(what == GUEST_POWER_OFF || what == GUEST_RESET || what == GUEST_EXIT);
	events++;
}

static void transmit(void *arg, const uint8_t *bytes, size_t count)
{
	fuzz_require(count && count <= UART_FIFO_BYTES);
	sent += count;
}

static void room(void *arg)
{
	fuzz_require(in_settle && uart_room(arg));
}

static void start(struct fuzz_input *in)
{
	static const struct chipset_host host = {line, event, NULL};
	struct vm_config config = {.ram_bytes = 256ull << 20, .serials = 2, .exit_device = 1};
	struct uart_host hosts[2];

	if (!c)
		c = malloc(sizeof(*c));
	fuzz_require(c != NULL);
	memset(c, 0, sizeof(*c));
	lines = 0;
	for (unsigned i = 0; i < 2; i++)
		hosts[i] = (struct uart_host){transmit, room, &c->com[i]};
	chipset_init(c, &host);
	fuzz_require(machine_build(c, &config, hosts) == 0);
	/* Any time of day within the years 1677 to 2262, which 64 bits of nanoseconds can say. */
	rtc_set_wall(&c->rtc, (int64_t)fuzz_take(in, 8) / 2);
}

static unsigned access_size(uint64_t n)
{
	return 1u << (n & 3);
}

/* Half of the accesses go to ports where something is. */
static uint16_t port(struct fuzz_input *in)
{
	static const uint16_t known[] = {0x60,  0x64,  0x70,  0x71,  0x71,  0x71,  0x92,  0xf4,
					 0x2f8, 0x2f9, 0x2fa, 0x2fb, 0x3f8, 0x3f9, 0x3fa, 0x3fb,
					 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x600, 0x602, 0x604, 0x608,
					 0x620, 0x622, 0xcf8, 0xcf9, 0xcfc, 0xcfd, 0xcfe, 0xcff};
	uint64_t n = fuzz_take(in, 1);

	return n & 0x80 ? (uint16_t)fuzz_take(in, 2) : known[n % 32];
}

static void read_access(struct fuzz_input *in, unsigned size, bool mmio)
{
	uint64_t value;

	if (!mmio && size > 4)
		size = 4;
	value = mmio ? chipset_mmio_read(c, fuzz_take(in, 8), size)
		     : chipset_pio_read(c, port(in), size);
	fuzz_require(size == 8 || value >> (size * 8) == 0);
}

static void write_access(struct fuzz_input *in, unsigned size, bool mmio)
{
	if (mmio) {
		uint64_t address = fuzz_take(in, 8);

		chipset_mmio_write(c, address, size, fuzz_take(in, size));
	} else {
		uint16_t p = port(in);

		size = size > 4 ? 4 : size;
		chipset_pio_write(c, p, size, fuzz_take(in, size));
	}
}

static void settle(void)
{
	in_settle = true;
	chipset_settle(c);
	in_settle = false;
}

/* Time passes: up to 4 s, or up to 12 days. No timer may be due again at once. */
static void pass(struct fuzz_input *in, bool far)
{
	uint64_t next;

	c->clock.guest_ns += fuzz_take(in, 4) << (far ? 18 : 0);
	next = chipset_timers(c);
	fuzz_require(!next || next > c->clock.guest_ns);
}

static void receive(struct fuzz_input *in)
{
	struct uart *u = &c->com[fuzz_take(in, 1) & 1];
	size_t count = (size_t)fuzz_take(in, 1) & 31, had = uart_room(u), took;
	uint8_t bytes[32];

	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)fuzz_take(in, 1);
	took = uart_receive(u, bytes, count);
	fuzz_require(took == (count < had ? count : had));
}

static void step(struct fuzz_input *in)
{
	uint64_t op = fuzz_take(in, 1);
	unsigned size = access_size(op >> 4);

	accesses++;
	switch (op & 15) {
	case 0 ... 3:
		read_access(in, size, false);
		break;
	case 4 ... 8:
		write_access(in, size, false);
		break;
	case 9:
		read_access(in, size, true);
		break;
	case 10:
		write_access(in, size, true);
		break;
	case 11:
		settle();
		break;
	case 12:
		pass(in, false);
		break;
	case 13:
		pass(in, op & 0x10);
		break;
	case 14:
		receive(in);
		break;
	case 15:
		if (op & 0x10)
			chipset_reset(c);
		else if (op & 0x20)
			acpi_pm_power_button(&c->acpi_pm);
		else
			acpi_pm_gpe(&c->acpi_pm, (unsigned)fuzz_take(in, 1) & 15);
		break;
	}
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	start(&in);
	while (in.size)
		step(&in);
	settle();
	/* What a reset must leave: no line, no timer. */
	chipset_reset(c);
	settle();
	fuzz_require(lines == 0);
	fuzz_require(chipset_next_deadline(c) == 0);
	return 0;
}

void fuzz_report(void)
{
	printf("devices: %llu operations, %llu events, %llu serial bytes\n",
	       (unsigned long long)accesses, (unsigned long long)events, (unsigned long long)sent);
}
