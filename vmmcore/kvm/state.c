/* SPDX-License-Identifier: Apache-2.0
 *
 * struct vcpu_state to and from what KVM keeps.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmmcore/kvm/kvm_internal.h"

/* ---- MSRs ---- */

struct msr_place {
	uint32_t index;
	uint16_t offset; /* of the uint64_t in struct vcpu_state */
	bool optional;   /* a host that lacks it keeps the reset value */
};

#define PLACE(index, field)                                                                        \
	{                                                                                          \
		index, offsetof(struct vcpu_state, field), false                                   \
	}
#define OPTIONAL(index, field)                                                                     \
	{                                                                                          \
		index, offsetof(struct vcpu_state, field), true                                    \
	}

static const struct msr_place msr_places[] = {
	PLACE(0xc0000081, star),
	PLACE(0xc0000082, lstar),
	PLACE(0xc0000083, cstar),
	PLACE(0xc0000084, sfmask),
	PLACE(0xc0000102, kernel_gs_base),
	PLACE(0x174, sysenter_cs),
	PLACE(0x175, sysenter_esp),
	PLACE(0x176, sysenter_eip),
	PLACE(0x277, pat),
	OPTIONAL(0x1a0, misc_enable),
	OPTIONAL(0xc0000103, tsc_aux),
	PLACE(0x10, tsc),
	OPTIONAL(0x2ff, mtrr_def_type),
	OPTIONAL(0x250, mtrr_fix[0]),
	OPTIONAL(0x258, mtrr_fix[1]),
	OPTIONAL(0x259, mtrr_fix[2]),
	OPTIONAL(0x268, mtrr_fix[3]),
	OPTIONAL(0x269, mtrr_fix[4]),
	OPTIONAL(0x26a, mtrr_fix[5]),
	OPTIONAL(0x26b, mtrr_fix[6]),
	OPTIONAL(0x26c, mtrr_fix[7]),
	OPTIONAL(0x26d, mtrr_fix[8]),
	OPTIONAL(0x26e, mtrr_fix[9]),
	OPTIONAL(0x26f, mtrr_fix[10]),
	OPTIONAL(0x200, mtrr_var[0]),
	OPTIONAL(0x201, mtrr_var[1]),
	OPTIONAL(0x202, mtrr_var[2]),
	OPTIONAL(0x203, mtrr_var[3]),
	OPTIONAL(0x204, mtrr_var[4]),
	OPTIONAL(0x205, mtrr_var[5]),
	OPTIONAL(0x206, mtrr_var[6]),
	OPTIONAL(0x207, mtrr_var[7]),
	OPTIONAL(0x208, mtrr_var[8]),
	OPTIONAL(0x209, mtrr_var[9]),
	OPTIONAL(0x20a, mtrr_var[10]),
	OPTIONAL(0x20b, mtrr_var[11]),
	OPTIONAL(0x20c, mtrr_var[12]),
	OPTIONAL(0x20d, mtrr_var[13]),
	OPTIONAL(0x20e, mtrr_var[14]),
	OPTIONAL(0x20f, mtrr_var[15]),
};
#define MSRS (sizeof(msr_places) / sizeof(msr_places[0]))

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

/* One at a time: KVM stops at the first it does not know. */
static int get_msrs(int fd, struct vcpu_state *st)
{
	for (size_t i = 0; i < MSRS; i++) {
		struct one_msr m = {.head.nmsrs = 1, .entry.index = msr_places[i].index};
		int r = kvm_ioctl(fd, KVM_GET_MSRS, &m);

		if (r != 1 && !msr_places[i].optional)
			return r < 0 ? r : -EIO;
		if (r == 1)
			memcpy((char *)st + msr_places[i].offset, &m.entry.data, 8);
	}
	return 0;
}

static int set_msrs(int fd, const struct vcpu_state *st)
{
	for (size_t i = 0; i < MSRS; i++) {
		struct one_msr m = {.head.nmsrs = 1, .entry.index = msr_places[i].index};
		int r;

		memcpy(&m.entry.data, (const char *)st + msr_places[i].offset, 8);
		r = kvm_ioctl(fd, KVM_SET_MSRS, &m);
		if (r != 1 && !msr_places[i].optional)
			return r < 0 ? r : -EINVAL;
	}
	return 0;
}

/* ---- segments, control registers ---- */

static struct vcpu_seg from_segment(const struct kvm_segment *s)
{
	return (struct vcpu_seg){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.attr = s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 12 |
			s->l << 13 | s->db << 14 | s->g << 15 |
			(s->unusable ? SEG_ATTR_UNUSABLE : 0),
	};
}

static struct kvm_segment to_segment(const struct vcpu_seg *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->attr & SEG_ATTR_TYPE,
		.s = !!(s->attr & SEG_ATTR_S),
		.dpl = SEG_ATTR_DPL(s->attr),
		.present = !!(s->attr & SEG_ATTR_P),
		.avl = !!(s->attr & SEG_ATTR_AVL),
		.l = !!(s->attr & SEG_ATTR_L),
		.db = !!(s->attr & SEG_ATTR_DB),
		.g = !!(s->attr & SEG_ATTR_G),
		.unusable = !!(s->attr & SEG_ATTR_UNUSABLE),
	};
}

/* The segment registers of KVM in our order. */
static struct kvm_segment *segment(struct kvm_sregs *s, unsigned i)
{
	struct kvm_segment *const order[S_COUNT] = {
		[S_ES] = &s->es, [S_CS] = &s->cs, [S_SS] = &s->ss, [S_DS] = &s->ds,
		[S_FS] = &s->fs, [S_GS] = &s->gs, [S_TR] = &s->tr, [S_LDTR] = &s->ldt,
	};

	return order[i];
}

static int get_sregs(int fd, struct vcpu_state *st)
{
	struct kvm_sregs s;
	int r = kvm_ioctl(fd, KVM_GET_SREGS, &s);

	if (r)
		return r;
	for (unsigned i = 0; i < S_COUNT; i++)
		st->seg[i] = from_segment(segment(&s, i));
	st->gdt.base = s.gdt.base;
	st->gdt.limit = s.gdt.limit;
	st->idt.base = s.idt.base;
	st->idt.limit = s.idt.limit;
	st->cr0 = s.cr0;
	st->cr2 = s.cr2;
	st->cr3 = s.cr3;
	st->cr4 = s.cr4;
	st->cr8 = s.cr8;
	st->efer = s.efer;
	return 0;
}

static int set_sregs(struct vcpu *v, const struct vcpu_state *st)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);
	struct kvm_sregs s;
	int r = kvm_ioctl(kv->fd, KVM_GET_SREGS, &s);

	if (r)
		return r;
	for (unsigned i = 0; i < S_COUNT; i++)
		*segment(&s, i) = to_segment(&st->seg[i]);
	s.gdt.base = st->gdt.base;
	s.gdt.limit = st->gdt.limit;
	s.idt.base = st->idt.base;
	s.idt.limit = st->idt.limit;
	s.cr0 = st->cr0;
	s.cr2 = st->cr2;
	s.cr3 = st->cr3;
	s.cr4 = st->cr4;
	s.cr8 = st->cr8;
	/* LMA is not written on hardware; KVM wants it to agree. */
	s.efer = st->efer & ~0x400ull;
	if ((st->efer & 0x100) && (st->cr0 & 0x80000000))
		s.efer |= 0x400;
	memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
	if (kv->power_on)
		s.apic_base = IRQ_LAPIC_BASE | 0x800 | (v->index ? 0 : 0x100);
	return kvm_ioctl(kv->fd, KVM_SET_SREGS, &s);
}

/* ---- general registers, FPU, debug registers ---- */

static int get_regs(int fd, struct vcpu_state *st)
{
	struct kvm_regs k;
	int r = kvm_ioctl(fd, KVM_GET_REGS, &k);
	const uint64_t order[16] = {k.rax, k.rcx, k.rdx, k.rbx, k.rsp, k.rbp, k.rsi, k.rdi,
				    k.r8,  k.r9,  k.r10, k.r11, k.r12, k.r13, k.r14, k.r15};

	if (r)
		return r;
	memcpy(st->gpr, order, sizeof(st->gpr));
	st->rip = k.rip;
	st->rflags = k.rflags;
	return 0;
}

static int set_regs(int fd, const struct vcpu_state *st)
{
	const uint64_t *g = st->gpr;
	struct kvm_regs k = {
		.rax = g[R_AX],
		.rcx = g[R_CX],
		.rdx = g[R_DX],
		.rbx = g[R_BX],
		.rsp = g[R_SP],
		.rbp = g[R_BP],
		.rsi = g[R_SI],
		.rdi = g[R_DI],
		.r8 = g[R_8],
		.r9 = g[R_9],
		.r10 = g[R_10],
		.r11 = g[R_11],
		.r12 = g[R_12],
		.r13 = g[R_13],
		.r14 = g[R_14],
		.r15 = g[R_15],
		.rip = st->rip,
		.rflags = st->rflags,
	};

	return kvm_ioctl(fd, KVM_SET_REGS, &k);
}

/* The legacy area of the FXSAVE64 image (SDM vol. 1, 10.5.1). */
static int get_fpu(int fd, struct vcpu_state *st)
{
	struct kvm_fpu f;
	uint8_t *x = st->fxsave;
	int r = kvm_ioctl(fd, KVM_GET_FPU, &f);

	if (r)
		return r;
	memset(x, 0, sizeof(st->fxsave));
	memcpy(x, &f.fcw, 2);
	memcpy(x + 2, &f.fsw, 2);
	x[4] = f.ftwx;
	memcpy(x + 6, &f.last_opcode, 2);
	memcpy(x + 8, &f.last_ip, 8);
	memcpy(x + 16, &f.last_dp, 8);
	memcpy(x + 24, &f.mxcsr, 4);
	memcpy(x + 32, f.fpr, sizeof(f.fpr));
	memcpy(x + 160, f.xmm, sizeof(f.xmm));
	return 0;
}

static int set_fpu(int fd, const struct vcpu_state *st)
{
	struct kvm_fpu f = {0};
	const uint8_t *x = st->fxsave;

	memcpy(&f.fcw, x, 2);
	memcpy(&f.fsw, x + 2, 2);
	f.ftwx = x[4];
	memcpy(&f.last_opcode, x + 6, 2);
	memcpy(&f.last_ip, x + 8, 8);
	memcpy(&f.last_dp, x + 16, 8);
	memcpy(&f.mxcsr, x + 24, 4);
	memcpy(f.fpr, x + 32, sizeof(f.fpr));
	memcpy(f.xmm, x + 160, sizeof(f.xmm));
	return kvm_ioctl(fd, KVM_SET_FPU, &f);
}

static int get_xcr0(struct vcpu *v, struct vcpu_state *st)
{
	struct kvm_xcrs x;
	int r;

	st->xcr0 = 1;
	if (!kvm_vm(v->vm)->xcrs)
		return 0;
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_XCRS, &x);
	for (unsigned i = 0; !r && i < x.nr_xcrs && i < KVM_MAX_XCRS; i++)
		if (x.xcrs[i].xcr == 0)
			st->xcr0 = x.xcrs[i].value;
	return r;
}

static int set_xcr0(struct vcpu *v, const struct vcpu_state *st)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = st->xcr0}}};

	return kvm_vm(v->vm)->xcrs ? kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_XCRS, &x) : 0;
}

static int get_debug(struct vcpu *v, struct vcpu_state *st)
{
	struct kvm_debugregs d;
	int r;

	if (!kvm_vm(v->vm)->debugregs)
		return 0;
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_DEBUGREGS, &d);
	if (r)
		return r;
	for (unsigned i = 0; i < 4; i++)
		st->dr[i] = d.db[i];
	st->dr[6] = d.dr6;
	st->dr[7] = d.dr7;
	return 0;
}

static int set_debug(struct vcpu *v, const struct vcpu_state *st)
{
	struct kvm_debugregs d = {.dr6 = st->dr[6], .dr7 = st->dr[7]};

	if (!kvm_vm(v->vm)->debugregs)
		return 0;
	for (unsigned i = 0; i < 4; i++)
		d.db[i] = st->dr[i];
	return kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_DEBUGREGS, &d);
}

/* ---- events ---- */

static int get_events(int fd, struct vcpu_state *st)
{
	struct kvm_vcpu_events e;
	struct kvm_mp_state mp;
	int r = kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, &e);

	if (!r)
		r = kvm_ioctl(fd, KVM_GET_MP_STATE, &mp);
	if (r)
		return r;
	if (e.interrupt.shadow & KVM_X86_SHADOW_INT_STI)
		st->int_shadow = 1;
	if (e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS)
		st->int_shadow = 2;
	st->nmi_pending = e.nmi.pending || e.nmi.injected;
	st->nmi_masked = e.nmi.masked;
	st->exc_pending = e.exception.pending || e.exception.injected;
	if (st->exc_pending) {
		st->exc_vector = e.exception.nr;
		st->exc_has_error = e.exception.has_error_code;
		st->exc_error = e.exception.error_code;
	}
	st->halted = mp.mp_state == KVM_MP_STATE_HALTED;
	return 0;
}

static int set_events(struct vcpu *v, const struct vcpu_state *st)
{
	int fd = kvm_vcpu(v)->fd;
	struct kvm_vcpu_events e = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
		.nmi = {.pending = st->nmi_pending, .masked = st->nmi_masked},
		.interrupt.shadow = (st->int_shadow == 1 ? KVM_X86_SHADOW_INT_STI : 0) |
				    (st->int_shadow == 2 ? KVM_X86_SHADOW_INT_MOV_SS : 0),
	};
	struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_HALTED};
	int r;

	if (st->exc_pending) {
		e.exception.injected = 1;
		e.exception.nr = st->exc_vector;
		e.exception.has_error_code = st->exc_has_error;
		e.exception.error_code = st->exc_error;
	}
	r = kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, &e);
	if (!r && st->halted)
		r = kvm_ioctl(fd, KVM_SET_MP_STATE, &mp);
	return r;
}

int kvm_get_state(struct vcpu *v, struct vcpu_state *st)
{
	int fd = kvm_vcpu(v)->fd, r;

	memset(st, 0, sizeof(*st));
	(void)((r = get_regs(fd, st)) || (r = get_sregs(fd, st)) || (r = get_fpu(fd, st)) ||
	       (r = get_xcr0(v, st)) || (r = get_debug(v, st)) || (r = get_msrs(fd, st)) ||
	       (r = get_events(fd, st)));
	return r;
}

int kvm_set_state(struct vcpu *v, const struct vcpu_state *st)
{
	int fd = kvm_vcpu(v)->fd, r;

	(void)((r = set_sregs(v, st)) || (r = set_regs(fd, st)) || (r = set_fpu(fd, st)) ||
	       (r = set_xcr0(v, st)) || (r = set_debug(v, st)) || (r = set_msrs(fd, st)) ||
	       (r = set_events(v, st)));
	if (!r)
		kvm_vcpu(v)->power_on = false;
	return r;
}
