/* SPDX-License-Identifier: Apache-2.0
 *
 * Suite of the KVM back end: small pieces of guest code, run without a partition around them. What
 * a host's KVM cannot execute is skipped, and says so.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmmcore/kvm/kvm.h"
#include "tests/unit/run_suite.h"

#define LOAD 0x1000u
#define LOW  (16ull << 20)
#define HIGH (16ull << 20)
#define PML4 0x10000u
#define PDPT 0x11000u
#define PD   0x12000u /* five of them: 0 to 5 GiB */

struct access {
	bool write, mmio, msr;
	uint64_t address, value;
	unsigned size;
};

static struct {
	struct vm vm;
	struct vcpu vcpu;
	int device;
	struct access log[64];
	unsigned logged;
	bool stop_at_read;
	int vector; /* the PIC's, -1: none */
} g;

#define SNIPPET(name)                                                                              \
	({                                                                                         \
		extern const uint8_t snippet_##name[], snippet_##name##_end[];                     \
		memcpy(g.vm.mem.base + LOAD, snippet_##name,                                       \
		       (size_t)(snippet_##name##_end - snippet_##name));                           \
	})

/* ---- the platform ---- */

static void record(struct access a)
{
	ck_assert_uint_lt(g.logged, 64);
	g.log[g.logged++] = a;
}

static void pio(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	if (write && port == 0xff) {
		atomic_fetch_or(&v->attention, VCPU_ATT_STOP);
		return;
	}
	if (write && port == 0x30 && g.vector >= 0)
		atomic_fetch_or(&v->attention, VCPU_ATT_IRQ);
	if (!write) {
		*value = port == 0x21 ? 'a' + g.logged % 8 : 0x5a;
		if (g.stop_at_read)
			atomic_fetch_or(&v->attention, VCPU_ATT_STOP);
	}
	record((struct access){.write = write, .address = port, .value = *value, .size = size});
}

static void mmio(struct vcpu *v, uint64_t gpa, unsigned size, bool write, uint64_t *value)
{
	if (!write)
		*value = (0xcafe0000 | (gpa & 0xff)) & ((1ull << size * 8) - 1);
	record((struct access){
		.write = write, .mmio = true, .address = gpa, .value = *value, .size = size});
}

static int rdmsr(struct vcpu *v, uint32_t index, uint64_t *value)
{
	*value = 0x1111111122222222;
	record((struct access){.msr = true, .address = index});
	return index == 0x40000666 ? -1 : 0;
}

static int wrmsr(struct vcpu *v, uint32_t index, uint64_t value)
{
	record((struct access){.msr = true, .write = true, .address = index, .value = value});
	return 0;
}

static void cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	backend_kvm.cpuid(v->vm, leaf, subleaf, out);
	if (leaf >= 0x40000000 && leaf < 0x40000100) {
		out[0] = 0x40000000;
		out[1] = 0xfeedface;
	}
	if (leaf == 0x80000002)
		out[0] = 0x646e6142;
}

static int take_vector(struct vcpu *v)
{
	int vector = g.vector;

	g.vector = -1;
	atomic_fetch_and(&v->attention, ~VCPU_ATT_IRQ);
	return vector;
}

static uint64_t tsc(struct vcpu *v)
{
	return 1000000;
}

static const struct vcpu_platform platform = {
	.pio = pio,
	.mmio = mmio,
	.rdmsr = rdmsr,
	.wrmsr = wrmsr,
	.cpuid = cpuid,
	.irq_take = take_vector,
	.tsc = tsc,
};

/* ---- the machine ---- */

static void setup(void)
{
	char why[160] = "";

	memset(&g, 0, sizeof(g));
	g.vector = -1;
	g.device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(g.device, 0);
	g.vm.mem.base = mmap(NULL, GPA_HIGH_BASE + HIGH, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(g.vm.mem.base, MAP_FAILED);
	ck_assert_int_eq(mprotect(g.vm.mem.base, LOW, PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(mprotect(g.vm.mem.base + GPA_HIGH_BASE, HIGH, PROT_READ | PROT_WRITE), 0);
	g.vm.mem.low_size = LOW;
	g.vm.mem.high_size = HIGH;
	g.vm.ops = &backend_kvm;
	g.vm.platform = &platform;
	g.vm.vcpu_count = 1;
	g.vm.vcpu[0] = &g.vcpu;
	g.vcpu.vm = &g.vm;
	kvm_use_device(g.device);
	ck_assert_msg(backend_kvm.vm_init(&g.vm, why, sizeof(why)) == 0, "%s", why);
	ck_assert_int_eq(backend_kvm.vcpu_init(&g.vcpu), 0);
}

static void teardown(void)
{
	backend_kvm.vcpu_fini(&g.vcpu);
	backend_kvm.vm_fini(&g.vm);
	munmap(g.vm.mem.base, GPA_HIGH_BASE + HIGH);
	close(g.device);
}

static void real_mode(struct vcpu_state *st)
{
	vcpu_state_reset(st);
	st->seg[S_CS].base = 0;
	st->seg[S_CS].selector = 0;
	st->rip = LOAD;
}

static void flat_mode(struct vcpu_state *st)
{
	const struct vcpu_seg data = {.limit = 0xffffffff, .attr = 0xc093, .selector = 0x10};

	vcpu_state_reset(st);
	for (unsigned i = S_ES; i <= S_GS; i++)
		st->seg[i] = data;
	st->seg[S_CS] = (struct vcpu_seg){.limit = 0xffffffff, .attr = 0xc09b, .selector = 8};
	st->idt.limit = 0;
	st->gdt.limit = 0;
	st->cr0 = 0x11;
	st->rip = LOAD;
}

static void long_mode(struct vcpu_state *st)
{
	uint64_t *pml4 = (uint64_t *)(g.vm.mem.base + PML4);
	uint64_t *pdpt = (uint64_t *)(g.vm.mem.base + PDPT);
	uint64_t *pd = (uint64_t *)(g.vm.mem.base + PD);

	flat_mode(st);
	pml4[0] = PDPT | 3;
	for (unsigned i = 0; i < 5; i++)
		pdpt[i] = (PD + i * 0x1000) | 3;
	for (uint64_t i = 0; i < 5 * 512; i++)
		pd[i] = i << 21 | 0x83;
	st->seg[S_CS].attr = 0xa09b;
	st->cr0 = 0x80010033;
	st->cr3 = PML4;
	st->cr4 = 0x620;
	st->efer = 0x500;
}

/* Runs from st to the end; false if this KVM cannot. */
static bool run(const struct vcpu_state *st, enum vcpu_stop expected)
{
	enum vcpu_stop stop;
	int r = backend_kvm.set_state(&g.vcpu, st);

	ck_assert_msg(r == 0, "set_state: %s", strerror(-r));
	stop = backend_kvm.run(&g.vcpu);
	if (stop == VCPU_STOP_ERROR && strstr(g.vcpu.error, "cannot emulate")) {
		printf("SKIP: this host's KVM does not run it: %s\n", g.vcpu.error);
		return false;
	}
	ck_assert_msg(stop == expected, "stop %d: %s", stop, g.vcpu.error);
	return true;
}

static void logged(unsigned i, bool write, uint64_t address, unsigned size, uint64_t value)
{
	ck_assert_uint_lt(i, g.logged);
	ck_assert_int_eq(g.log[i].write, write);
	ck_assert_uint_eq(g.log[i].address, address);
	if (!g.log[i].msr)
		ck_assert_uint_eq(g.log[i].size, size);
	ck_assert_uint_eq(g.log[i].value, value);
}

/* ---- ports ---- */

START_TEST(ports_are_read_and_written)
{
	struct vcpu_state st;

	real_mode(&st);
	st.gpr[R_AX] = 0xdead0000;
	SNIPPET(real_ports);
	if (!run(&st, VCPU_STOP_KICK))
		return;
	logged(0, true, 0x10, 2, 0x1234);
	logged(1, false, 0x11, 1, 0x5a);
	logged(2, true, 0x12, 1, 0x5b);
	/* IN wrote AL only. */
	logged(3, true, 0x345, 4, 0xdead125b);
	ck_assert_uint_eq(g.logged, 4);
}
END_TEST

START_TEST(string_instructions_pass_every_element)
{
	struct vcpu_state st;

	real_mode(&st);
	SNIPPET(real_string);
	if (!run(&st, VCPU_STOP_KICK))
		return;
	for (unsigned i = 0; i < 5; i++)
		logged(i, true, 0x20, 1, (uint8_t) "hello"[i]);
	for (unsigned i = 5; i < 8; i++)
		logged(i, false, 0x21, 1, 'a' + i);
	logged(8, true, 0x22, 1, 'a' + 5);
	logged(9, true, 0x22, 1, 'a' + 7);
}
END_TEST

/* A stop in the middle of a read: the read is finished, the next instruction is not begun. */
START_TEST(a_stop_completes_the_access)
{
	struct vcpu_state st;

	real_mode(&st);
	st.gpr[R_AX] = 0x1100;
	SNIPPET(real_read);
	g.stop_at_read = true;
	if (!run(&st, VCPU_STOP_KICK))
		return;
	ck_assert_int_eq(backend_kvm.get_state(&g.vcpu, &st), 0);
	ck_assert_uint_eq(st.gpr[R_AX], 0x115a);
	ck_assert_uint_eq(st.gpr[R_BX], 0);
	ck_assert_uint_eq(st.rip, LOAD + 2);
}
END_TEST

/* ---- device memory, MSRs, CPUID ---- */

START_TEST(device_memory_is_read_and_written)
{
	struct vcpu_state st;

	flat_mode(&st);
	SNIPPET(flat_mmio);
	if (!run(&st, VCPU_STOP_KICK))
		return;
	logged(0, true, 0xd0000000, 1, 0x11);
	logged(1, true, 0xd0000002, 2, 0x2222);
	logged(2, true, 0xd0000004, 4, 0x33333333);
	logged(3, false, 0xd0000008, 4, 0xcafe0008);
	logged(4, true, 0x10, 4, 0xcafe0008);
	logged(5, false, 0xd0000009, 1, 0x09);
	logged(6, true, 0x10, 4, 0x09);
}
END_TEST

START_TEST(msrs_that_kvm_lacks_come_to_the_platform)
{
	struct vcpu_state st;

	flat_mode(&st);
	SNIPPET(flat_msr);
	if (!run(&st, VCPU_STOP_KICK))
		return;
	ck_assert_uint_eq(g.logged, 4);
	logged(0, false, 0x40000123, 0, 0);
	logged(1, true, 0x10, 4, 0x22222222);
	logged(2, true, 0x10, 4, 0x11111111);
	logged(3, true, 0x40000124, 0, 0x0123456789abcdef);
}
END_TEST

START_TEST(an_msr_that_the_platform_refuses_faults)
{
	struct vcpu_state st;

	flat_mode(&st);
	SNIPPET(flat_msr_fault);
	run(&st, VCPU_STOP_SHUTDOWN);
}
END_TEST

START_TEST(cpuid_is_what_the_platform_composed)
{
	struct vcpu_state st;

	flat_mode(&st);
	SNIPPET(flat_cpuid);
	if (!run(&st, VCPU_STOP_KICK))
		return;
	logged(0, true, 0x10, 4, 0xfeedface);
	logged(1, true, 0x10, 4, 0x646e6142);
}
END_TEST

/* ---- memory and registers ---- */

START_TEST(memory_above_the_hole_is_there)
{
	struct vcpu_state st;
	uint64_t value;

	long_mode(&st);
	SNIPPET(long_high);
	if (!run(&st, VCPU_STOP_KICK))
		return;
	logged(0, true, 0x10, 4, 0x11223344);
	memcpy(&value, g.vm.mem.base + GPA_HIGH_BASE + 0x1000, 8);
	ck_assert_uint_eq(value, 0x1122334455667788);
}
END_TEST

START_TEST(registers_of_64_bit_mode_go_in_and_out)
{
	struct vcpu_state st;

	long_mode(&st);
	st.gpr[R_AX] = 0xffffffff00000000;
	st.gpr[R_BX] = 0x0123456700000000;
	st.gpr[R_CX] = 0x89abcdef;
	st.gpr[R_SP] = 0xffff800012345678;
	SNIPPET(long_registers);
	if (!run(&st, VCPU_STOP_KICK))
		return;
	ck_assert_int_eq(backend_kvm.get_state(&g.vcpu, &st), 0);
	ck_assert_uint_eq(st.gpr[R_8], 0xffffffff00000001);
	ck_assert_uint_eq(st.gpr[R_9], 0x0123456789abcdef);
	ck_assert_uint_eq(st.gpr[R_10], 0xffff800012345678);
	ck_assert_uint_eq(st.efer, 0x500);
	ck_assert_uint_eq(st.cr3, PML4);
}
END_TEST

/* What is set is got, without a guest in between. */
START_TEST(state_survives_the_round_trip)
{
	struct vcpu_state in, out;

	long_mode(&in);
	for (unsigned i = 0; i < 16; i++)
		in.gpr[i] = 0x1111111111111111ull * i + 7;
	in.rflags = 0x246;
	in.seg[S_FS].base = 0xffff888000001000;
	in.seg[S_GS].base = 0x7fff00002000;
	in.seg[S_TR] =
		(struct vcpu_seg){.base = 0x5000, .limit = 0x67, .attr = 0x8b, .selector = 0x30};
	in.gdt = (struct vcpu_dtable){.base = 0xfffffe0000001000, .limit = 0x7f};
	in.idt = (struct vcpu_dtable){.base = 0xfffffe0000000000, .limit = 0xfff};
	in.cr2 = 0xdeadbeef000;
	in.dr[0] = 0x1234;
	in.dr[3] = 0xffff800000001234;
	in.star = 0x0023001000000000;
	in.lstar = 0xffffffff81000000;
	in.sfmask = 0x47700;
	in.kernel_gs_base = 0xffff888012340000;
	in.sysenter_cs = 0x10;
	in.sysenter_esp = 0xfffffe0000002000;
	in.sysenter_eip = 0xffffffff81000100;
	in.pat = 0x0407050600070106;
	in.fxsave[0] = 0x7f; /* control word 037F */
	in.fxsave[1] = 0x03;
	for (unsigned i = 0; i < 10; i++) /* ST0, a number */
		in.fxsave[32 + i] = (uint8_t)(i == 7 ? 0x80 : i == 9 ? 0x40 : i);
	for (unsigned i = 0; i < 16; i++)
		in.fxsave[160 + i] = (uint8_t)(0xa0 + i);
	ck_assert_int_eq(backend_kvm.set_state(&g.vcpu, &in), 0);
	ck_assert_int_eq(backend_kvm.get_state(&g.vcpu, &out), 0);

	ck_assert_mem_eq(out.gpr, in.gpr, sizeof(in.gpr));
	ck_assert_uint_eq(out.rip, in.rip);
	ck_assert_uint_eq(out.rflags, in.rflags);
	for (unsigned i = 0; i < S_COUNT; i++) {
		ck_assert_uint_eq(out.seg[i].base, in.seg[i].base);
		ck_assert_uint_eq(out.seg[i].limit, in.seg[i].limit);
		ck_assert_uint_eq(out.seg[i].attr, in.seg[i].attr);
		ck_assert_uint_eq(out.seg[i].selector, in.seg[i].selector);
	}
	ck_assert_mem_eq(&out.gdt, &in.gdt, sizeof(in.gdt));
	ck_assert_mem_eq(&out.idt, &in.idt, sizeof(in.idt));
	ck_assert_uint_eq(out.cr0, in.cr0);
	ck_assert_uint_eq(out.cr2, in.cr2);
	ck_assert_uint_eq(out.cr3, in.cr3);
	ck_assert_uint_eq(out.cr4, in.cr4);
	ck_assert_uint_eq(out.efer & ~0x400ull, in.efer & ~0x400ull);
	ck_assert_uint_eq(out.dr[0], in.dr[0]);
	ck_assert_uint_eq(out.dr[3], in.dr[3]);
	ck_assert_uint_eq(out.star, in.star);
	ck_assert_uint_eq(out.lstar, in.lstar);
	ck_assert_uint_eq(out.sfmask, in.sfmask);
	ck_assert_uint_eq(out.kernel_gs_base, in.kernel_gs_base);
	ck_assert_uint_eq(out.sysenter_cs, in.sysenter_cs);
	ck_assert_uint_eq(out.sysenter_esp, in.sysenter_esp);
	ck_assert_uint_eq(out.sysenter_eip, in.sysenter_eip);
	ck_assert_uint_eq(out.pat, in.pat);
	ck_assert_mem_eq(out.fxsave, in.fxsave, 5);
	ck_assert_mem_eq(out.fxsave + 32, in.fxsave + 32, 10);
	ck_assert_mem_eq(out.fxsave + 160, in.fxsave + 160, 16);
	ck_assert_uint_eq(out.halted, 0);
}
END_TEST

START_TEST(reset_gives_back_the_power_on_state)
{
	struct vcpu_state in, out;

	long_mode(&in);
	in.nmi_masked = 1;
	ck_assert_int_eq(backend_kvm.set_state(&g.vcpu, &in), 0);
	backend_kvm.reset(&g.vcpu);
	vcpu_state_reset(&in);
	ck_assert_int_eq(backend_kvm.set_state(&g.vcpu, &in), 0);
	ck_assert_int_eq(backend_kvm.get_state(&g.vcpu, &out), 0);
	ck_assert_uint_eq(out.rip, 0xfff0);
	ck_assert_uint_eq(out.seg[S_CS].base, 0xffff0000);
	ck_assert_uint_eq(out.cr0, 0x60000010);
	ck_assert_uint_eq(out.efer, 0);
	ck_assert_uint_eq(out.nmi_masked, 0);
}
END_TEST

/* ---- kicks and interrupts ---- */

static void *kicker(void *arg)
{
	usleep(50000);
	vcpu_kick(&g.vcpu, VCPU_ATT_STOP);
	return NULL;
}

START_TEST(a_kick_ends_an_endless_loop)
{
	struct vcpu_state st;
	pthread_t t;

	real_mode(&st);
	SNIPPET(real_loop);
	for (unsigned i = 0; i < 3; i++) {
		atomic_store(&g.vcpu.attention, 0);
		pthread_create(&t, NULL, kicker, NULL);
		run(&st, VCPU_STOP_KICK);
		pthread_join(t, NULL);
		ck_assert_int_eq(backend_kvm.get_state(&g.vcpu, &st), 0);
		ck_assert_uint_eq(st.rip, LOAD);
	}
}
END_TEST

START_TEST(a_kick_before_run_is_not_lost)
{
	struct vcpu_state st;

	real_mode(&st);
	SNIPPET(real_loop);
	vcpu_kick(&g.vcpu, VCPU_ATT_STOP);
	run(&st, VCPU_STOP_KICK);
}
END_TEST

START_TEST(the_pics_vector_is_delivered)
{
	struct vcpu_state st;

	real_mode(&st);
	SNIPPET(real_interrupt);
	g.vector = 0x20;
	if (!run(&st, VCPU_STOP_KICK))
		return;
	logged(1, true, 0x31, 1, 0x31);
	ck_assert_int_eq(g.vector, -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("kvm");
	TCase *t = tcase_create("snippets");

	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		printf("SKIP: /dev/kvm: %s\n", strerror(errno));
		return 77;
	}
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, ports_are_read_and_written);
	tcase_add_test(t, string_instructions_pass_every_element);
	tcase_add_test(t, a_stop_completes_the_access);
	tcase_add_test(t, device_memory_is_read_and_written);
	tcase_add_test(t, msrs_that_kvm_lacks_come_to_the_platform);
	tcase_add_test(t, an_msr_that_the_platform_refuses_faults);
	tcase_add_test(t, cpuid_is_what_the_platform_composed);
	tcase_add_test(t, memory_above_the_hole_is_there);
	tcase_add_test(t, registers_of_64_bit_mode_go_in_and_out);
	tcase_add_test(t, state_survives_the_round_trip);
	tcase_add_test(t, reset_gives_back_the_power_on_state);
	tcase_add_test(t, a_kick_ends_an_endless_loop);
	tcase_add_test(t, a_kick_before_run_is_not_lost);
	tcase_add_test(t, the_pics_vector_is_delivered);
	suite_add_tcase(s, t);
	return run_suite(s);
}
