/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <sys/mman.h>

struct rig *r;

#define MAP_BYTES (HIGH_RAM + RIG_HIGH_PAGES * PAGE)

static void kick(struct vcpu *v)
{
}

static void startup(void *arg, struct vcpu *v)
{
}

static const struct irq_ops irq_ops = {.startup = startup};

static int post_message(void *arg, struct vcpu *v, uint32_t connection, uint32_t type,
			const void *payload, size_t bytes)
{
	struct rig *rig = arg;

	ck_assert_uint_le(bytes, HV_MESSAGE_PAYLOAD);
	rig->posts++;
	rig->connection = connection;
	rig->type = type;
	memcpy(rig->payload, payload, bytes);
	rig->bytes = bytes;
	return rig->post_answer;
}

static int signal_event(void *arg, struct vcpu *v, uint32_t connection, uint16_t flag)
{
	struct rig *rig = arg;

	rig->signals++;
	rig->connection = connection;
	rig->flag = flag;
	return rig->signal_answer;
}

static void message_room(void *arg, struct vcpu *v, unsigned sint)
{
	struct rig *rig = arg;

	rig->rooms++;
	rig->room_sint = sint;
	rig->room_vcpu = v;
}

static void crash(void *arg, struct vcpu *v, const uint64_t parameter[5], const char *text,
		  size_t length)
{
	struct rig *rig = arg;

	ck_assert_uint_le(length, HV_CRASH_TEXT);
	rig->crashes++;
	memcpy(rig->crash_parameter, parameter, sizeof(rig->crash_parameter));
	memcpy(rig->crash_text, text, length);
	rig->crash_text[length] = 0;
	rig->crash_length = length;
}

static void discard(void *arg, uint64_t gpa, uint64_t bytes)
{
	struct rig *rig = arg;

	rig->discards++;
	rig->discard_gpa = gpa;
	rig->discard_bytes = bytes;
	memset(rig->map + gpa, 0, bytes); /* ends the test if that is no RAM */
}

static void reset(void *arg, struct vcpu *v)
{
	((struct rig *)arg)->resets++;
}

static void flush_tlb(struct vcpu *v, uint64_t vcpus, const struct vcpu_flush *what)
{
	ck_assert_uint_le(what->pages, 64);
	r->flushes++;
	r->flush_vcpus = vcpus;
	r->flush_global = what->global;
	r->flush_pages = what->pages;
	if (what->pages)
		memcpy(r->flush_page, what->page, what->pages * sizeof(what->page[0]));
}

void enable_flushes(void)
{
	r->backend.flush_tlb = flush_tlb;
}

/* Only RAM is mapped: an access beside it ends the test. */
static void make_ram(struct rig *rig)
{
	rig->map = mmap(NULL, MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			0);
	ck_assert_ptr_ne(rig->map, MAP_FAILED);
	ck_assert_int_eq(mprotect(rig->map, LOW_END, PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(
		mprotect(rig->map + HIGH_RAM, RIG_HIGH_PAGES * PAGE, PROT_READ | PROT_WRITE), 0);
	memset(rig->map, 0xa5, LOW_END); /* what happened to lie there */
	rig->vm.mem = (struct vm_memory){
		.base = rig->map,
		.low_size = LOW_END,
		.high_size = RIG_HIGH_PAGES * PAGE,
		.page_gen = rig->page_gen,
	};
}

struct rig *rig_new(unsigned flags)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct rig *before = r;

	ck_assert_ptr_nonnull(rig);
	rig->backend.kick = kick;
	rig->vm.ops = &rig->backend;
	rig->vm.vcpu_count = RIG_VCPUS;
	for (unsigned i = 0; i < RIG_VCPUS; i++) {
		rig->vcpu[i].vm = &rig->vm;
		rig->vcpu[i].index = i;
		rig->vm.vcpu[i] = &rig->vcpu[i];
	}
	make_ram(rig);
	rig->clock = clock_new_manual(RIG_TSC_KHZ);
	ck_assert_ptr_nonnull(rig->clock);
	clock_resume(rig->clock, 0);
	rig->f = irq_new(&rig->vm, rig->clock, &irq_ops, rig, 0);
	ck_assert_ptr_nonnull(rig->f);
	for (unsigned i = 0; i < RIG_VCPUS; i++) {
		uint64_t enabled = 0x1ff; /* SVR: APIC on, spurious vector FFh */

		ck_assert(irq_mmio(&rig->vcpu[i], IRQ_LAPIC_BASE + 0xf0, 4, true, &enabled));
	}
	rig->ops = (struct hv_ops){
		.post_message = post_message,
		.signal_event = signal_event,
		.message_room = message_room,
		.crash = crash,
		.discard = discard,
		.reset = reset,
	};
	rig->hv = hv_new(&rig->vm, rig->clock, &rig->ops, rig, flags);
	ck_assert_ptr_nonnull(rig->hv);
	r = before;
	return rig;
}

void rig_free(struct rig *rig)
{
	hv_free(rig->hv);
	irq_free(rig->f);
	clock_free(rig->clock);
	munmap(rig->map, MAP_BYTES);
	free(rig);
}

void rig_setup(void)
{
	r = rig_new(0);
}

void rig_teardown(void)
{
	rig_free(r);
}

void *ram(uint64_t gpa)
{
	return r->map + gpa;
}

void at_ns(uint64_t ns)
{
	r->host_ns = ns;
	clock_manual_set(r->clock, ns);
	clock_dispatch(r->clock);
}

void after_ns(uint64_t ns)
{
	at_ns(r->host_ns + ns);
}

uint64_t rd(uint32_t msr)
{
	uint64_t value = 0xdeadbeef;

	ck_assert_msg(hv_rdmsr(&r->vcpu[0], msr, &value) == IRQ_MSR_OK, "RDMSR %x", msr);
	return value;
}

void wr(uint32_t msr, uint64_t value)
{
	ck_assert_msg(hv_wrmsr(&r->vcpu[0], msr, value) == IRQ_MSR_OK, "WRMSR %x", msr);
}

bool rd_gp(uint32_t msr)
{
	uint64_t value;

	return hv_rdmsr(&r->vcpu[0], msr, &value) == IRQ_MSR_GP;
}

bool wr_gp(uint32_t msr, uint64_t value)
{
	return hv_wrmsr(&r->vcpu[0], msr, value) == IRQ_MSR_GP;
}

int take(void)
{
	int vector = irq_take(&r->vcpu[0]);

	if (vector >= 0)
		irq_eoi(&r->vcpu[0]);
	return vector;
}

void synic_on(void)
{
	wr(SIMP, AT_MESSAGES | 1);
	wr(SIEFP, AT_EVENTS | 1);
	wr(SCONTROL, 1);
}

uint8_t *slot(unsigned sint)
{
	return (uint8_t *)ram(AT_MESSAGES) + sint * 256;
}

uint32_t slot_type(unsigned sint)
{
	uint32_t type;

	memcpy(&type, slot(sint), 4);
	return type;
}

void enable_hypercalls(void)
{
	wr(GUEST_OS_ID, 0x8100000000000000ull);
	wr(HYPERCALL, AT_HYPERCALL | 1);
}

uint64_t call64(uint64_t control, uint64_t in, uint64_t out)
{
	uint64_t gpr[16], before[16];

	for (unsigned i = 0; i < 16; i++)
		gpr[i] = 0x1111111111111111ull * i;
	gpr[R_CX] = control;
	gpr[R_DX] = in;
	gpr[R_8] = out;
	memcpy(before, gpr, sizeof(before));
	ck_assert(hv_hypercall(&r->vcpu[0], gpr, true));
	for (unsigned i = 0; i < 16; i++)
		ck_assert_msg(i == R_AX || gpr[i] == before[i], "register %u changed", i);
	return gpr[R_AX];
}
