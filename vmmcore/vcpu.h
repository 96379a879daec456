/* SPDX-License-Identifier: Apache-2.0
 *
 * The line between a virtual processor and everything around it.
 *
 * Below the line: a back end ("emu", our software processor; "kvm", hardware). It executes guest
 * code. Above the line: the partition, which is the same code for both back ends and supplies
 * memory, local APICs, ports, MSRs it owns, CPUID and time through struct vcpu_platform.
 *
 * Threads: one host thread per vCPU calls run() and owns the vCPU's registers. Any thread may call
 * vcpu_kick(). get_state/set_state are called by the owning thread, or by another one while the
 * vCPU is parked outside run().
 *
 * Errors: functions return 0 or a negative errno unless the comment says otherwise.
 *
 * Numbers: Intel SDM vol. 3A (control registers 2.5, descriptors 3.4.5, EFER 2.2.1), vol. 2A
 * (FXSAVE image, 13.4 and 13.5 of vol. 1). Segment attributes have the layout of VMCS guest access
 * rights (SDM vol. 3C, table 24-2), which KVM and we both map to easily.
 */
#ifndef BULKHEAD_VMMCORE_VCPU_H
#define BULKHEAD_VMMCORE_VCPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VCPU_MAX = 64 };                 /* most vCPUs a VM may have */

/* Encoding order of the general registers, as in ModRM. */
enum { R_AX, R_CX, R_DX, R_BX, R_SP, R_BP, R_SI, R_DI, R_8, R_9, R_10, R_11, R_12, R_13, R_14, R_15 };
/* Encoding order of the segment registers. */
enum { S_ES, S_CS, S_SS, S_DS, S_FS, S_GS, S_TR, S_LDTR, S_COUNT };

#define SEG_ATTR_TYPE   0x000fu         /* descriptor type field */
#define SEG_ATTR_S      0x0010u         /* 1: code or data, 0: system */
#define SEG_ATTR_DPL(a) (((a) >> 5) & 3u)
#define SEG_ATTR_P      0x0080u
#define SEG_ATTR_AVL    0x1000u
#define SEG_ATTR_L      0x2000u
#define SEG_ATTR_DB     0x4000u
#define SEG_ATTR_G      0x8000u
#define SEG_ATTR_UNUSABLE 0x10000u      /* loaded with a null selector */

struct vcpu_seg {
	uint64_t base;
	uint32_t limit;                 /* in bytes, granularity already applied */
	uint32_t attr;
	uint16_t selector;
	uint16_t pad[3];
};

struct vcpu_dtable {
	uint64_t base;
	uint16_t limit;
	uint16_t pad[3];
};

/* The whole architectural state of one vCPU, pointer-free, the same for both back ends. It is what
 * save, load, inspect and the boot protocol use. */
struct vcpu_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	struct vcpu_seg seg[S_COUNT];
	struct vcpu_dtable gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer, xcr0;
	uint64_t dr[8];                 /* 0-3, 6, 7 used */
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, tsc_aux;
	uint64_t mtrr_def_type, mtrr_fix[11], mtrr_var[16];
	uint64_t tsc;                   /* value at the moment of the snapshot */
	uint8_t fxsave[512];            /* FXSAVE64 image */
	uint8_t int_shadow;             /* 1: after STI, 2: after MOV SS */
	uint8_t nmi_masked, nmi_pending;
	uint8_t halted;                 /* in HLT */
	uint8_t exc_pending;            /* an exception waits to be delivered */
	uint8_t exc_vector, exc_has_error;
	uint8_t pad;
	uint32_t exc_error;
	uint32_t pad2;
};

enum vcpu_stop {
	VCPU_STOP_KICK,         /* vcpu_kick() was called, or attention is wanted */
	VCPU_STOP_HALT,         /* HLT with nothing pending; RIP is after the HLT */
	VCPU_STOP_SHUTDOWN,     /* triple fault */
	VCPU_STOP_ERROR,        /* the back end cannot go on; vcpu->error says why */
};

/* v->attention: set by any thread with atomic or, looked at by the back end at least once per
 * block of guest code. The thread that sets a bit also calls vcpu_kick(). */
#define VCPU_ATT_IRQ  0x1u      /* the local APIC may have something to deliver */
#define VCPU_ATT_NMI  0x2u      /* deliver one NMI */
#define VCPU_ATT_STOP 0x4u      /* leave run() with VCPU_STOP_KICK */

struct vcpu;
struct vm;

/* What the back end asks of the rest. All are called on the vCPU's own thread, from inside run(),
 * with an instruction half done: they may block for a device's answer, and must not touch the
 * vCPU's registers. */
struct vcpu_platform {
	/* Port I/O of 1, 2 or 4 bytes. On a read *value is filled, zero-extended. */
	void (*pio)(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *value);
	/* Access to a guest-physical address that is not RAM, 1 to 8 bytes. */
	void (*mmio)(struct vcpu *v, uint64_t gpa, unsigned size, bool write, uint64_t *value);
	/* MSRs the back end does not own: APIC base, x2APIC, TSC deadline, Hyper-V, unknown ones.
	 * Return 0, or -1 for #GP(0). */
	int (*rdmsr)(struct vcpu *v, uint32_t index, uint64_t *value);
	int (*wrmsr)(struct vcpu *v, uint32_t index, uint64_t value);
	/* out = EAX, EBX, ECX, EDX */
	void (*cpuid)(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
	/* The vector to deliver now, acknowledged (APIC or, for ExtINT, the PIC); -1 if none. Clears
	 * VCPU_ATT_IRQ when nothing more is pending. */
	int (*irq_take)(struct vcpu *v);
	/* CR8, the local APIC's task priority, 0 to 15. */
	uint8_t (*get_cr8)(struct vcpu *v);
	void (*set_cr8)(struct vcpu *v, uint8_t tpr);
	/* Guest time-stamp counter. Stops while the VM is paused. */
	uint64_t (*tsc)(struct vcpu *v);
	/* Hypercall (VMCALL or VMMCALL) at CPL 0 with registers in st->gpr order; returns false to
	 * raise #UD. May change gpr[]. */
	bool (*hypercall)(struct vcpu *v, uint64_t gpr[16], bool long_mode);
};

/* Guest-physical memory as the back end sees it: a reserved host range in which guest-physical
 * address g is at base + g where it is RAM. RAM is [0, low_size) and [4 GiB, 4 GiB + high_size).
 * The rest of the range is not mapped. */
#define GPA_HIGH_BASE 0x100000000ull
struct vm_memory {
	uint8_t *base;                  /* mapping, owned by the partition */
	uint64_t low_size, high_size;   /* bytes, multiples of 4096 */
	/* One generation counter per RAM page, in guest-physical page order (the pages above
	 * 4 GiB follow directly after the low ones). Whoever writes a page that may hold decoded
	 * code increments it; shared with the other processes of the VM. */
	_Atomic uint32_t *page_gen;
};

static inline bool vm_memory_is_ram(const struct vm_memory *m, uint64_t gpa)
{
	return gpa < m->low_size || (gpa >= GPA_HIGH_BASE && gpa - GPA_HIGH_BASE < m->high_size);
}

/* Index into page_gen of a RAM address. */
static inline uint64_t vm_memory_page(const struct vm_memory *m, uint64_t gpa)
{
	return gpa < GPA_HIGH_BASE ? gpa >> 12 : (m->low_size + (gpa - GPA_HIGH_BASE)) >> 12;
}

/* Translations to drop: those of some pages, or all. */
struct vcpu_flush {
	bool global;                    /* those of global pages, too; always with a list */
	unsigned pages;                 /* 0: all */
	const uint64_t *page;           /* linear addresses, borrowed for the call */
};

struct vcpu_backend {
	const char *name;
	/* Once per VM, before any vCPU. On failure writes a sentence to why. */
	int (*vm_init)(struct vm *vm, char *why, size_t why_size);
	void (*vm_fini)(struct vm *vm);
	int (*vcpu_init)(struct vcpu *v);
	void (*vcpu_fini)(struct vcpu *v);
	/* Runs guest code until there is a reason to stop. */
	enum vcpu_stop (*run)(struct vcpu *v);
	/* Makes run() look at v->attention soon. Any thread; must be cheap and async-signal-safe. */
	void (*kick)(struct vcpu *v);
	int (*get_state)(struct vcpu *v, struct vcpu_state *st);
	int (*set_state)(struct vcpu *v, const struct vcpu_state *st);
	/* Feature words the processor can offer: the CPUID leaves 1, 7, 0xd and 0x8000xxxx that
	 * depend on it. The partition's CPUID is this, plus topology, APIC and hypervisor leaves. */
	void (*cpuid)(struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
	/* The rest may be NULL. */
	/* The A20 gate: whether guest-physical address bit 20 counts (open, as at first) or is 0
	 * in every access by the VM's vCPUs, not in those by others. Any thread, one at a time. A
	 * vCPU on whose thread it is called sees it in its next instruction's data, and in the code
	 * that it fetches after it; the others within a block. NULL: it is always open. */
	void (*a20)(struct vm *vm, bool open);
	/* The next two are called while the vCPU is parked. */
	/* The guest clock goes on after a pause (or starts): take the TSC over from the platform. */
	void (*resumed)(struct vcpu *v);
	/* Power-on reset of what the back end has beyond struct vcpu_state. set_state follows. */
	void (*reset)(struct vcpu *v);
	/* For v, from within vcpu_platform.hypercall: when it returns no vCPU of the mask (bit per
	 * index; all exist) uses a translation that it had before. NULL: cannot. */
	void (*flush_tlb)(struct vcpu *v, uint64_t vcpus, const struct vcpu_flush *what);
};

struct vcpu {
	struct vm *vm;
	unsigned index;                 /* also its APIC ID and VP index */
	_Atomic uint32_t attention;     /* VCPU_ATT_* */
	void *backend;                  /* the back end's own state, owned by it */
	void *lapic;                    /* the platform's */
	void *hv;                       /* the hypervisor personality's */
	void *thread;                   /* the partition's */
	char error[160];                /* a sentence, after VCPU_STOP_ERROR */
};

struct vm {
	const struct vcpu_backend *ops;
	const struct vcpu_platform *platform;
	struct vm_memory mem;
	unsigned vcpu_count;
	struct vcpu *vcpu[VCPU_MAX];
	uint32_t tsc_khz;               /* rate of vcpu_platform.tsc */
	void *backend;                  /* the back end's, per VM */
	void *partition;                /* the partition's */
};

static inline void vcpu_kick(struct vcpu *v, uint32_t attention)
{
	__atomic_fetch_or(&v->attention, attention, __ATOMIC_SEQ_CST);
	v->vm->ops->kick(v);
}

/* State after RESET or INIT (SDM vol. 3A, table 9-1). */
void vcpu_state_reset(struct vcpu_state *st);

extern const struct vcpu_backend backend_emu;
extern const struct vcpu_backend backend_kvm;

#endif
