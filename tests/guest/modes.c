/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: through all processor modes and back.
 */
#include "guest.h"

extern const uint8_t modes_code[], modes_code_end[];
void modes_trip(void);

#define EFER_LME 0x100u
#define EFER_LMA 0x400u

/* What modes_trip.S notes; its offsets are these. */
static volatile struct modes_result {
	uint32_t compat_inc, efer_compat, efer_protected, cr0_protected, inc_protected, push16,
		add16, cr0_real, segment, int_cs, int_ip, int_flags, after_int_flags, divide_ip,
		unreal, bcd, far_return, efer_back, high_half, expect_int_ip, expect_divide_ip;
} *const r = (void *)(MODES_AT + 0xc00);

static void compatibility_mode(void)
{
	EXPECT_EQ(r->compat_inc, 6);
	EXPECT_EQ(r->efer_compat & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
}

static void protected_mode_without_paging(void)
{
	EXPECT_EQ(r->efer_protected & (EFER_LME | EFER_LMA), EFER_LME);
	EXPECT_EQ(r->cr0_protected & 0x80000001, 1);
	EXPECT_EQ(r->inc_protected, 8);
}

static void protected_mode_16_bit(void)
{
	EXPECT_EQ(r->push16, 2);
	EXPECT_EQ(r->add16, 0x10000);
}

static void real_mode_segments(void)
{
	EXPECT_EQ(r->cr0_real & 0x80000001, 0);
	EXPECT_EQ(r->segment, 0x5ea1f00d);
	EXPECT_EQ(r->far_return, MODES_AT >> 4);
}

static void real_mode_interrupt(void)
{
	EXPECT_EQ(r->int_cs, 0);
	EXPECT_EQ(r->int_ip, r->expect_int_ip);
	/* CF, PF, AF, ZF, SF, DF, OF set as pushed by the program; back again after IRET. */
	EXPECT_EQ(r->int_flags & 0x0fd7, 0x0cd7);
	EXPECT_EQ(r->after_int_flags & 0x0fd7, 0x0cd7);
}

static void real_mode_divide_fault(void)
{
	EXPECT_EQ(r->divide_ip, r->expect_divide_ip);
}

static void real_mode_keeps_descriptor_limits(void)
{
	EXPECT_EQ(r->unreal, 0x1badb002);
}

static void bcd_arithmetic(void)
{
	EXPECT_EQ(r->bcd, 0x83); /* 38 + 45 */
}

static void back_in_long_mode(void)
{
	EXPECT_EQ(r->efer_back & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
	EXPECT(READ_CR(0) & 0x80000000);
	EXPECT(r->high_half);
}

/* Mode switches leave nothing behind that would spoil the next: many times. */
static void a_hundred_times(void)
{
	for (unsigned i = 0; i < 100; i++) {
		memset((void *)r, 0, sizeof *r);
		modes_trip();
		EXPECT_EQ(r->segment, 0x5ea1f00d);
		EXPECT_EQ(r->compat_inc, 6);
		EXPECT_EQ(r->bcd, 0x83);
	}
}

void guest_main(void)
{
	if (option("weakkvm", 0)) {
		print("ok modes # SKIP this host's KVM cannot: DAA and far calls in real mode\n");
		return;
	}
	memcpy((void *)MODES_AT, modes_code, (size_t)(modes_code_end - modes_code));
	memset((void *)r, 0, sizeof *r);
	modes_trip();
	RUN(compatibility_mode);
	RUN(protected_mode_without_paging);
	RUN(protected_mode_16_bit);
	RUN(real_mode_segments);
	RUN(real_mode_interrupt);
	RUN(real_mode_divide_fault);
	RUN(real_mode_keeps_descriptor_limits);
	RUN(bcd_arithmetic);
	RUN(back_in_long_mode);
	RUN(a_hundred_times);
}
