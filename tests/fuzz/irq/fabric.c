/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest on three vCPUs, a hostile worker at the lines, and time, against the interrupt fabric.
 *
 * Input: operations, each a byte that chooses and a few that say with what (see step()). After each
 * one the promises of irq.h must hold that can be seen from outside.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "vmmcore/irq/irq.h"

enum { CPUS = 3 };

static struct vm vm;
static struct vcpu cpu[CPUS];
static struct vcpu_backend backend;
static struct clock *guest_clock;
static struct irq_fabric *f;
static uint64_t now, taken, nmis, started;

static void kick(struct vcpu *v)
{
	fuzz_require(v->attention);
}

static void startup(void *arg, struct vcpu *v)
{
	fuzz_require(irq_startup_pending(v));
}

static void msi(void *arg, uint64_t address, uint32_t data)
{
	fuzz_require(address >> 20 == 0xfee || data); /* irq_msi() passes on what it is given */
}

static void start(bool external)
{
	static const struct irq_ops ops = {.startup = startup, .msi = msi};

	backend.kick = kick;
	vm = (struct vm){.ops = &backend, .vcpu_count = CPUS};
	for (unsigned i = 0; i < CPUS; i++) {
		cpu[i] = (struct vcpu){.vm = &vm, .index = i};
		vm.vcpu[i] = &cpu[i];
	}
	now = 0;
	guest_clock = clock_new_manual(3000000);
	fuzz_require(guest_clock != NULL);
	clock_resume(guest_clock, 0);
	f = irq_new(&vm, guest_clock, &ops, NULL, external ? IRQ_EXTERNAL_LAPIC : 0);
	fuzz_require(f != NULL);
}

static void finish(void)
{
	irq_free(f);
	fuzz_require(clock_next_deadline(guest_clock) == CLOCK_NEVER); /* nothing left armed */
	clock_free(guest_clock);
}

/* ---- accesses ---- */

static void port_access(struct fuzz_input *in, struct vcpu *v, bool write)
{
	static const uint16_t ports[] = {0x20, 0x21, 0xa0,  0xa1,  0x40, 0x41, 0x42, 0x43,
					 0x61, 0x43, 0x4d0, 0x4d1, 0x40, 0x42, 0x20, 0x60};
	unsigned n = (unsigned)fuzz_take(in, 1), size = n & 0x80 ? 1u << (n >> 4 & 3) % 3 : 1;
	uint32_t value = write ? (uint32_t)fuzz_take(in, size) : 0;

	if (!irq_pio(v, ports[n & 15], size, write, &value))
		fuzz_require(ports[n & 15] == 0x60);
	else if (!write && size < 4)
		fuzz_require(value >> 8 * size == 0);
}

static void memory_access(struct fuzz_input *in, struct vcpu *v, bool write)
{
	unsigned n = (unsigned)fuzz_take(in, 1), size = n & 0x40 ? 1u << (n & 3) : 4;
	uint64_t base = n & 0x80 ? IRQ_IOAPIC_BASE : IRQ_LAPIC_BASE, value = 0;
	uint64_t offset = fuzz_take(in, 1) << 4; /* mostly registers */

	if (n & 0x20)
		offset += fuzz_take(in, 1) & 15;
	if (n & 0x80)
		offset = offset & 0x10 ? 0x10 : 0;
	if (write)
		value = fuzz_take(in, size);
	if (irq_mmio(v, base + offset, size, write, &value) && !write && size < 8)
		fuzz_require(value >> 8 * size == 0);
}

static void msr_access(struct fuzz_input *in, struct vcpu *v, bool write)
{
	static const uint32_t some[] = {0x10, 0x1b, 0x3b, 0x6e0};
	unsigned n = (unsigned)fuzz_take(in, 1);
	uint32_t index = n & 0x80 ? some[n & 3] : 0x800 + (n & 0x7f);
	uint64_t value = 0;

	if (write) {
		value = fuzz_take(in, n & 0x40 ? 8 : 4);
		/* A base with its reserved bits right, so that modes change at all. */
		if (index == 0x1b)
			value = IRQ_LAPIC_BASE | (value & 0xc00);
		irq_wrmsr(v, index, value);
	} else {
		irq_rdmsr(v, index, &value);
	}
}

/* ---- the vCPU ---- */

static void take(struct vcpu *v)
{
	bool pending = irq_has_pending(v);
	int vector = irq_take(v);

	fuzz_require(vector >= -1 && vector < 256);
	fuzz_require(pending || vector < 0);
	taken += vector >= 0;
}

/* Runs until nothing is to be delivered, as a back end with interrupts on and handlers that end
 * with an EOI. A level that nobody lowers keeps coming: bounded. */
static void drain(struct vcpu *v)
{
	for (unsigned i = 0; i < 300 && (v->attention & VCPU_ATT_IRQ); i++) {
		take(v);
		irq_eoi(v);
	}
}

static void startup_step(struct vcpu *v)
{
	uint8_t vector = 0;
	bool pending = irq_startup_pending(v);
	enum irq_startup what = irq_startup(v, &vector);

	fuzz_require(pending || what == IRQ_STARTUP_NONE);
	if (what == IRQ_STARTUP_SIPI)
		fuzz_require(!irq_waiting_for_sipi(v));
	started += what == IRQ_STARTUP_SIPI;
}

static void pass(uint64_t ns)
{
	uint64_t next;

	now += ns;
	clock_manual_set(guest_clock, now);
	clock_dispatch(guest_clock);
	/* Whatever the guest programmed, nothing is due again at once. */
	next = clock_next_deadline(guest_clock);
	fuzz_require(next > clock_now(guest_clock));
}

/* What is saved can be loaded. */
static void save_and_load(void)
{
	struct irq_lapic_state lapic;
	struct irq_ioapic_state ioapic;
	struct irq_pic_state pic;
	struct irq_pit_state pit;

	irq_pause(f);
	irq_save_pit(f, &pit);
	irq_save_pic(f, &pic);
	irq_save_ioapic(f, &ioapic);
	fuzz_require(irq_load_pic(f, &pic) == 0);
	fuzz_require(irq_load_ioapic(f, &ioapic) == 0);
	fuzz_require(irq_load_pit(f, &pit) == 0);
	for (unsigned i = 0; i < CPUS; i++) {
		irq_save_lapic(&cpu[i], &lapic);
		fuzz_require(irq_load_lapic(&cpu[i], &lapic) == 0);
	}
	irq_resume(f);
}

static void promises(void)
{
	for (unsigned i = 0; i < CPUS; i++) {
		/* No deliverable interrupt without the back end being told. */
		if (irq_has_pending(&cpu[i]))
			fuzz_require(cpu[i].attention & VCPU_ATT_IRQ);
		fuzz_require(irq_get_cr8(&cpu[i]) < 16);
		if (cpu[i].attention & VCPU_ATT_NMI) {
			cpu[i].attention &= ~VCPU_ATT_NMI;
			nmis++;
		}
	}
	fuzz_require(!irq_waiting_for_sipi(&cpu[0]));
}

static void step(struct fuzz_input *in)
{
	uint64_t op = fuzz_take(in, 1);
	struct vcpu *v = &cpu[(op >> 6) % CPUS];

	switch (op & 31) {
	case 0 ... 4:
		port_access(in, v, true);
		break;
	case 5 ... 6:
		port_access(in, v, false);
		break;
	case 7 ... 12:
		memory_access(in, v, true);
		break;
	case 13:
		memory_access(in, v, false);
		break;
	case 14 ... 15:
		msr_access(in, v, true);
		break;
	case 16:
		msr_access(in, v, false);
		break;
	case 17 ... 18:
		op = fuzz_take(in, 1);
		irq_line(f, op & 31, op >> 7);
		break;
	case 19:
		irq_post(v, (uint8_t)fuzz_take(in, 1));
		break;
	case 20:
		op = fuzz_take(in, 4);
		irq_msi(f, IRQ_LAPIC_BASE | (op >> 16 & 0xff) << 12 | (op >> 24 & 4), op & 0xffff);
		break;
	case 21:
		irq_nmi(f);
		break;
	case 22:
		irq_set_cr8(v, (uint8_t)fuzz_take(in, 1));
		break;
	case 23:
		irq_eoi(v);
		break;
	case 24:
		take(v);
		break;
	case 25:
		drain(v);
		break;
	case 26:
		startup_step(v);
		break;
	case 27:
		pass(fuzz_take(in, 2));
		break;
	case 28:
		pass(fuzz_take(in, 4) << 8);
		break;
	case 29:
		irq_eoi_vector(f, (uint8_t)fuzz_take(in, 1));
		break;
	case 30:
		save_and_load();
		break;
	default:
		op = fuzz_take(in, 2);
		if (op == 0x1234)
			irq_reset(f);
		else
			irq_set_auto_eoi(v, (uint8_t)op, op >> 15);
		break;
	}
	promises();
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	start((fuzz_take(&in, 1) & 7) == 7);
	while (in.size)
		step(&in);
	finish();
	return 0;
}

void fuzz_report(void)
{
	printf("%llu interrupts taken, %llu NMIs, %llu processors started\n",
	       (unsigned long long)taken, (unsigned long long)nmis, (unsigned long long)started);
}
