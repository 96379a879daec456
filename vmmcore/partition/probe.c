/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-partition --probe: can an ordinary 64-bit kernel run on this host's KVM? Runs the probe
 * guest through the kvm back end, in a sandbox of its own, for a bounded time, and tells the
 * broker.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/kvm/kvm.h"
#include "vmmcore/partition/partition.h"
#include "vmmcore/partition/probe.h"

#define TIME_LIMIT_S 2

extern const uint8_t probe_guest[], probe_guest_end[];

static const struct sandbox_rule rules[] = {
	{SCMP_SYS(ioctl), "runs the vCPU", 1, {{1, 0xffffffffull, KVM_RUN}}},
	{SCMP_SYS(ioctl), "text of a failure", 1, {{1, 0xffffffffull, KVM_GET_REGS}}},
	{SCMP_SYS(ioctl), "text of a failure", 1, {{1, 0xffffffffull, KVM_GET_SREGS}}},
	{SCMP_SYS(gettid), "own thread id, for kicks"},
	{SCMP_SYS(tgkill), "the time limit's kick", 1, {{2, ~0ull, SIGUSR1}}},
	{SCMP_SYS(rt_sigreturn), "end of the time limit's handler"},
	{SCMP_SYS(sendmsg), "the result"},
	{SCMP_SYS(write), "the log"},
	{SCMP_SYS(exit_group), "end of the process"},
};

static const char *const step_name[] = {
	[0] = "its first instruction",       [PROBE_START] = "ordinary instructions",
	[PROBE_FAR_RETURN] = "a far return", [PROBE_IRETQ] = "IRETQ",
	[PROBE_CMPXCHG16B] = "CMPXCHG16B",   [PROBE_FXSAVE] = "FXSAVE and FXRSTOR",
	[PROBE_XRSTOR] = "XSAVE and XRSTOR", [PROBE_WRMSR] = "WRMSR and SWAPGS",
	[PROBE_SYSRET] = "SYSRET",           [PROBE_SYSCALL] = "SYSCALL",
	[PROBE_PAGE_FAULT] = "a page fault", [PROBE_INTERRUPT] = "an interrupt",
};

static struct {
	struct vm vm;
	struct vcpu vcpu;
	unsigned step; /* the last that was begun */
	bool wrong, late;
} probe;

/* ---- the platform: one port ---- */

static void pio(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	if (!write)
		*value = ~0u;
	if (!write || port != PROBE_PORT)
		return;
	if (*value == PROBE_WRONG)
		probe.wrong = true;
	else
		probe.step = *value & 0xff;
	if (probe.wrong || probe.step >= PROBE_DONE)
		atomic_fetch_or(&v->attention, VCPU_ATT_STOP);
}

static void mmio(struct vcpu *v, uint64_t gpa, unsigned size, bool write, uint64_t *value)
{
	if (!write)
		*value = ~0ull;
}

static int rdmsr(struct vcpu *v, uint32_t index, uint64_t *value)
{
	return -1;
}

static int wrmsr(struct vcpu *v, uint32_t index, uint64_t value)
{
	return -1;
}

static void cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	backend_kvm.cpuid(v->vm, leaf, subleaf, out);
	if (leaf == 1)
		out[2] |= 1u << 21; /* x2APIC */
}

static int irq_none(struct vcpu *v)
{
	return -1;
}

static uint64_t tsc(struct vcpu *v)
{
	return 0;
}

static const struct vcpu_platform platform = {
	.pio = pio,
	.mmio = mmio,
	.rdmsr = rdmsr,
	.wrmsr = wrmsr,
	.cpuid = cpuid,
	.irq_take = irq_none,
	.tsc = tsc,
};

/* ---- the guest ---- */

/* All of memory, four megabytes of it present, for all rings. */
static void page_tables(uint8_t *ram)
{
	uint64_t *pml4 = (uint64_t *)(ram + PROBE_PML4), *pdpt = (uint64_t *)(ram + PROBE_PDPT),
		 *pd = (uint64_t *)(ram + PROBE_PD);

	pml4[0] = PROBE_PDPT | 7;
	pdpt[0] = PROBE_PD | 7;
	for (unsigned i = 0; i < PROBE_RAM >> 21; i++)
		pd[i] = (uint64_t)i << 21 | 0x87; /* large page */
}

static int registers(struct vcpu *v)
{
	const struct vcpu_seg data = {
		.limit = 0xffffffff, .attr = 0xc093, .selector = PROBE_KERNEL_DS};
	struct vcpu_state st;

	vcpu_state_reset(&st);
	for (unsigned i = S_ES; i <= S_GS; i++)
		st.seg[i] = data;
	st.seg[S_CS] =
		(struct vcpu_seg){.limit = 0xffffffff, .attr = 0xa09b, .selector = PROBE_KERNEL_CS};
	st.seg[S_TR] = (struct vcpu_seg){.base = PROBE_TSS, .limit = 0x67, .attr = 0x8b};
	st.seg[S_LDTR].attr = SEG_ATTR_UNUSABLE;
	st.rip = PROBE_LOAD;
	st.cr0 = 0x80010033; /* PG, WP, NE, ET, MP, PE */
	st.cr3 = PROBE_PML4;
	st.cr4 = 0x620;  /* PAE, OSFXSR, OSXMMEXCPT */
	st.efer = 0x501; /* LMA, LME, SCE */
	return backend_kvm.set_state(v, &st);
}

static int build(int kvm, char *why, size_t why_size)
{
	struct vm *vm = &probe.vm;
	void *ram =
		mmap(NULL, PROBE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (ram == MAP_FAILED)
		return -errno;
	page_tables(ram);
	memcpy((uint8_t *)ram + PROBE_LOAD, probe_guest, probe_guest_end - probe_guest);
	*vm = (struct vm){.ops = &backend_kvm, .platform = &platform, .vcpu_count = 1};
	vm->mem.base = ram;
	vm->mem.low_size = PROBE_RAM;
	vm->vcpu[0] = &probe.vcpu;
	probe.vcpu.vm = vm;
	kvm_use_device(kvm);
	r = backend_kvm.vm_init(vm, why, why_size);
	if (r)
		return r;
	r = backend_kvm.vcpu_init(&probe.vcpu);
	if (r) {
		snprintf(why, why_size, "KVM makes no vCPU: %s", strerror(-r));
		return r;
	}
	r = registers(&probe.vcpu);
	if (r)
		snprintf(why, why_size, "KVM refuses the registers of 64-bit mode: %s",
			 strerror(-r));
	return r;
}

/* ---- the verdict ---- */

static void on_time(int signal)
{
	probe.late = true;
	vcpu_kick(&probe.vcpu, VCPU_ATT_STOP);
}

static bool judge(enum vcpu_stop stop, char *text, size_t size)
{
	const char *step = probe.step < PROBE_DONE ? step_name[probe.step] : "";

	if (probe.step == PROBE_DONE && !probe.wrong)
		snprintf(text, size, "the probe guest ran through all its steps");
	else if (probe.wrong)
		snprintf(text, size, "on this host's KVM %s gives a wrong result", step);
	else if (stop == VCPU_STOP_SHUTDOWN)
		snprintf(text, size, "on this host's KVM %s ends in a triple fault", step);
	else if (stop == VCPU_STOP_ERROR)
		snprintf(text, size, "on this host's KVM %s fails: %s", step, probe.vcpu.error);
	else
		snprintf(text, size, "on this host's KVM %s does not end within %u s", step,
			 TIME_LIMIT_S);
	return probe.step == PROBE_DONE && !probe.wrong;
}

static int receive_start(int sock, struct msg_start_probe *start)
{
	union {
		struct msg_header h;
		struct msg_start_probe start;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	char why[CONTROL_TEXT_BYTES];
	int kvm;
	size_t nfds;
	ptrdiff_t n = msgsock_recv(sock, &msg, sizeof(msg), &kvm, 1, &nfds);

	if (n <= 0 || control_check(&msg, n, nfds, why, sizeof(why)) ||
	    msg.h.type != MSG_START_PROBE)
		fatal("no START_PROBE from the broker");
	*start = msg.start;
	return kvm;
}

static int run_confined(const struct msg_start_probe *start, char *why, size_t why_size,
			uint32_t *usable)
{
	const struct sandbox_policy policy = {
		.program = "bulkhead-partition --probe",
		.rules = rules,
		.nrules = sizeof(rules) / sizeof(rules[0]),
	};
	struct itimerval limit = {.it_value.tv_sec = TIME_LIMIT_S};
	struct sandbox_report report;
	enum vcpu_stop stop;
	int r;

	signal(SIGALRM, on_time);
	setitimer(ITIMER_REAL, &limit, NULL);
	r = sandbox_enter(&policy, start->uid, start->gid, start->sandbox_flags, &report, why,
			  why_size);
	if (r)
		return r;
	stop = backend_kvm.run(&probe.vcpu);
	*usable = judge(stop, why, why_size);
	return 0;
}

int probe_main(int sock)
{
	struct msg_probe_result result = {0};
	struct msg_start_probe start;
	char why[CONTROL_TEXT_BYTES] = "";
	int kvm = receive_start(sock, &start);

	/* Not being able to make the guest is a result, too. */
	if (!build(kvm, why, sizeof(why))) {
		close(kvm);
		if (run_confined(&start, why, sizeof(why), &result.usable))
			fatal("%s", why);
	}
	control_text(result.text, sizeof(result.text), "%s", why);
	control_header(&result.h, MSG_PROBE_RESULT, 0);
	if (msgsock_send(sock, &result.h, NULL, 0))
		fatal("the broker is gone");
	return 0;
}
