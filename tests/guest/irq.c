/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: the interrupt fabric as a driver sees it: PIC, PIT, I/O APIC, local APIC and its timer,
 * priorities, NMI, the shadow after STI. One processor.
 */
#include "guest.h"

enum { V_PIT = 0x40, V_UART = 0x44, V_TIMER = 0x48 };
#define APIC_SELF 0x44000u /* shorthand: self; assert; fixed */

static void pic_handler(struct frame *f)
{
	outb(0x20, 0x20);
}

/* As many interrupts as wanted, within a second each. */
static bool got(unsigned vector, unsigned n)
{
	uint64_t end = deadline_ms(1000 * n);

	sti();
	while (interrupts[vector] < n && rdtsc() < end)
		pause();
	cli();
	return interrupts[vector] >= n;
}

static void none(unsigned ms)
{
	sti();
	delay_us(1000 * ms);
	cli();
}

/* ---- PIC and PIT ---- */

static void pit_through_the_pic(void)
{
	set_handler(0x20, pic_handler);
	interrupts[0x20] = 0;
	pit_set(0, 2, 11932); /* 100 Hz */
	pic_mask(0xfffe);
	EXPECT(got(0x20, 5));
	pic_mask(0xffff);
	none(30);
	interrupts[0x20] = 0;
	none(30);
	EXPECT_EQ(interrupts[0x20], 0);
}

static void pit_one_shot(void)
{
	pit_set(0, 0, 20000);
	pic_init(); /* forgets the edges that came while it was masked */
	interrupts[0x20] = 0;
	pic_mask(0xfffe);
	EXPECT(got(0x20, 1));
	interrupts[0x20] = 0;
	none(60);
	EXPECT_EQ(interrupts[0x20], 0);
	pic_mask(0xffff);
}

static void pit_counts_down(void)
{
	unsigned a, b;

	pit_set(0, 2, 0);
	delay_us(1000);
	outb(0x43, 0x00); /* latch */
	a = inb(0x40);
	a |= (unsigned)inb(0x40) << 8;
	delay_us(1000);
	outb(0x43, 0xc2); /* read back: count and status of counter 0 */
	EXPECT_EQ(inb(0x40) & 0x7f, 0x34);
	b = inb(0x40);
	b |= (unsigned)inb(0x40) << 8;
	EXPECT(((a - b) & 0xffff) >= 1193);
	pit_set(0, 0, 1); /* quiet */
}

static void pic_request_is_kept_while_masked(void)
{
	delay_us(1000);
	pic_init();
	pit_set(0, 0, 2);
	outb(0x20, 0x0a);
	for (unsigned ms = 0; ms < 1000 && !(inb(0x20) & 1); ms++)
		delay_us(1000); /* a host under load may be late */
	EXPECT_EQ(inb(0x20) & 1, 1);
	interrupts[0x20] = 0;
	pic_mask(0xfffe);
	EXPECT(got(0x20, 1));
	pic_mask(0xffff);
	outb(0x20, 0x0a);
	EXPECT_EQ(inb(0x20) & 1, 0);
}

/* ---- I/O APIC ---- */

static void apic_mode(void)
{
	apic_enable();
	apic_write(APIC_LINT0, 0x10700);
}

static void pit_through_the_io_apic(void)
{
	apic_mode();
	interrupts[V_PIT] = interrupts[0x20] = 0;
	ioapic_pin(2, V_PIT, (uint8_t)this_cpu()->apic_id);
	pit_set(0, 2, 11932);
	EXPECT(got(V_PIT, 5));
	EXPECT_EQ(interrupts[0x20], 0);
	ioapic_pin(2, IOAPIC_MASKED, 0);
	none(1); /* one that the APIC has taken already is still delivered */
	interrupts[V_PIT] = 0;
	none(30);
	EXPECT_EQ(interrupts[V_PIT], 0);
	pit_set(0, 0, 1);
}

static void io_apic_registers(void)
{
	EXPECT_EQ(ioapic_read(1) >> 16 & 0xff, 23);
	ioapic_write(0x10 + 2 * 20, 0x1a9fe);
	EXPECT_EQ(ioapic_read(0x10 + 2 * 20), 0x1a9fe);
	ioapic_write(0x11 + 2 * 20, 0x05000000);
	EXPECT_EQ(ioapic_read(0x11 + 2 * 20), 0x05000000);
	ioapic_pin(20, IOAPIC_MASKED, 0);
}

/* The UART's "transmitter empty" interrupt: its line stays up until IIR is read or IER cleared. */
static unsigned uart_quiet_after;

static void uart_handler(struct frame *f)
{
	if (interrupts[V_UART] >= uart_quiet_after)
		outb(COM1 + 1, 0);
	apic_write(APIC_EOI, 0);
}

static void level_interrupt_repeats_until_the_line_falls(void)
{
	set_handler(V_UART, uart_handler);
	interrupts[V_UART] = 0;
	uart_quiet_after = 4;
	outb(COM1 + 4, 0x0b); /* OUT2 lets the interrupt out */
	ioapic_pin(4, IOAPIC_LEVEL | V_UART, (uint8_t)this_cpu()->apic_id);
	outb(COM1 + 1, 0x02);
	EXPECT(got(V_UART, 4));
	/* A host may take a moment to see the write that lets the line fall. */
	none(20);
	interrupts[V_UART] = 0;
	none(20);
	EXPECT_EQ(interrupts[V_UART], 0);
	EXPECT_EQ(ioapic_read(0x10 + 8) & 0x4000, 0); /* remote IRR */
	ioapic_pin(4, IOAPIC_MASKED, 0);
}

static void edge_interrupt_comes_once(void)
{
	interrupts[V_UART] = 0;
	uart_quiet_after = 100;
	ioapic_pin(4, V_UART, (uint8_t)this_cpu()->apic_id);
	outb(COM1 + 1, 0x02);
	EXPECT(got(V_UART, 1));
	none(20);
	EXPECT_EQ(interrupts[V_UART], 1);
	outb(COM1 + 1, 0);
	ioapic_pin(4, IOAPIC_MASKED, 0);
}

/* ---- local APIC timer ---- */

static void timer_one_shot(void)
{
	interrupts[V_TIMER] = 0;
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, V_TIMER);
	apic_write(APIC_TMICT, 2000000);
	EXPECT(got(V_TIMER, 1));
	EXPECT_EQ(apic_read(APIC_TMCCT), 0);
	none(20);
	EXPECT_EQ(interrupts[V_TIMER], 1);
}

static void timer_periodic(void)
{
	interrupts[V_TIMER] = 0;
	apic_write(APIC_LVTT, 0x20000 | V_TIMER);
	apic_write(APIC_TMICT, 2000000);
	EXPECT(got(V_TIMER, 10));
	apic_write(APIC_TMICT, 0);
	none(20);
	interrupts[V_TIMER] = 0;
	none(20);
	EXPECT_EQ(interrupts[V_TIMER], 0);
}

static void timer_counts_while_masked(void)
{
	uint32_t a;

	interrupts[V_TIMER] = 0;
	apic_write(APIC_LVTT, 0x10000 | V_TIMER);
	apic_write(APIC_TMICT, 0xffffffff);
	a = apic_read(APIC_TMCCT);
	EXPECT(a && a < 0xffffffff);
	delay_us(1000);
	EXPECT(apic_read(APIC_TMCCT) < a);
	apic_write(APIC_TMICT, 1000);
	none(20);
	EXPECT_EQ(interrupts[V_TIMER], 0);
	EXPECT_EQ(apic_read(APIC_TMCCT), 0);
}

static void timer_tsc_deadline(void)
{
	uint32_t r[4];
	uint64_t when;

	cpuid(1, 0, r);
	SKIP_UNLESS(r[2] >> 24 & 1, "no TSC deadline");
	interrupts[V_TIMER] = 0;
	apic_write(APIC_LVTT, 0x40000 | V_TIMER);
	__asm__ volatile("mfence" : : : "memory");
	when = rdtsc() + 5ull * tsc_khz();
	wrmsr(0x6e0, when);
	EXPECT_EQ(rdmsr(0x6e0), when);
	EXPECT(got(V_TIMER, 1));
	EXPECT(rdtsc() >= when);
	EXPECT_EQ(rdmsr(0x6e0), 0);
	wrmsr(0x6e0, 1); /* long ago: at once */
	EXPECT(got(V_TIMER, 2));
	wrmsr(0x6e0, rdtsc() + 5ull * tsc_khz());
	wrmsr(0x6e0, 0);
	none(20);
	EXPECT_EQ(interrupts[V_TIMER], 2);
	apic_write(APIC_LVTT, 0x10000);
}

static void halt_ends_with_an_interrupt(void)
{
	interrupts[V_TIMER] = 0;
	apic_write(APIC_LVTT, V_TIMER);
	for (unsigned i = 1; i <= 10; i++) {
		apic_write(APIC_TMICT, 1000000);
		while (interrupts[V_TIMER] < i)
			wait_interrupt();
	}
	EXPECT_EQ(interrupts[V_TIMER], 10);
}

/* ---- priorities ---- */

static unsigned order[8], taken;

static void note(struct frame *f)
{
	order[taken++ & 7] = (unsigned)f->vector;
	apic_write(APIC_EOI, 0);
}

static void highest_vector_first(void)
{
	taken = 0;
	for (unsigned v = 0x50; v <= 0x70; v += 0x10)
		set_handler(v, note);
	apic_icr(0, APIC_SELF | 0x50);
	apic_icr(0, APIC_SELF | 0x70);
	apic_icr(0, APIC_SELF | 0x60);
	EXPECT(apic_bit(APIC_IRR, 0x50) && apic_bit(APIC_IRR, 0x60) && apic_bit(APIC_IRR, 0x70));
	sti();
	EXPECT(WAIT(*(volatile unsigned *)&taken == 3, 1000));
	cli();
	EXPECT_EQ(order[0], 0x70);
	EXPECT_EQ(order[1], 0x60);
	EXPECT_EQ(order[2], 0x50);
}

static void task_priority_holds_back(void)
{
	taken = 0;
	WRITE_CR(8, 7);
	EXPECT_EQ(apic_read(APIC_TPR), 0x70);
	apic_icr(0, APIC_SELF | 0x70);
	none(2);
	EXPECT_EQ(taken, 0);
	EXPECT(apic_bit(APIC_IRR, 0x70));
	sti();
	WRITE_CR(8, 6);
	EXPECT(WAIT(*(volatile unsigned *)&taken == 1, 1000));
	cli();
	apic_write(APIC_TPR, 0x30);
	EXPECT_EQ(READ_CR(8), 3);
	WRITE_CR(8, 0);
}

static unsigned seen_in_service[3];

static void nesting(struct frame *f)
{
	order[taken++ & 7] = (unsigned)f->vector;
	apic_icr(0, APIC_SELF | 0x58); /* same class: waits for the EOI */
	apic_icr(0, APIC_SELF | 0x60); /* higher: comes at once */
	seen_in_service[0] = apic_bit(APIC_ISR, 0x50);
	sti();
	WAIT(*(volatile unsigned *)&taken == 2, 1000);
	cli();
	seen_in_service[1] = apic_bit(APIC_IRR, 0x58);
	seen_in_service[2] = apic_read(APIC_PPR);
	apic_write(APIC_EOI, 0);
}

static void higher_class_interrupts_a_handler(void)
{
	SKIP_ON_WEAK_KVM("ISR as the manual has it");
	taken = 0;
	set_handler(0x50, nesting);
	set_handler(0x58, note);
	apic_icr(0, APIC_SELF | 0x50);
	sti();
	EXPECT(WAIT(*(volatile unsigned *)&taken == 3, 2000));
	cli();
	EXPECT_EQ(order[0], 0x50);
	EXPECT_EQ(order[1], 0x60);
	EXPECT_EQ(order[2], 0x58);
	EXPECT_EQ(seen_in_service[0], 1);
	EXPECT_EQ(seen_in_service[1], 1);
	EXPECT_EQ(seen_in_service[2] & 0xf0, 0x50);
}

static void illegal_vector_is_an_error(void)
{
	SKIP_ON_QEMU("it delivers vector 5");
	SKIP_ON_KVM("no send-illegal-vector error");
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	apic_icr(0, APIC_SELF | 0x05);
	apic_write(APIC_ESR, 0);
	/* Send illegal vector; some implementations see it at the receiving side. */
	EXPECT(apic_read(APIC_ESR) & 0x60);
	apic_write(APIC_ESR, 0);
}

/* ---- NMI and shadows ---- */

static unsigned nmi_depth, nmi_deepest;

static void nmi_handler(struct frame *f)
{
	if (++nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	if (interrupts[2] == 1) {
		apic_icr(this_cpu()->apic_id, 0x4400); /* another one: waits for our IRET */
		delay_us(1000);
	}
	nmi_depth--;
}

static void nmi_is_taken_with_interrupts_off_and_not_nested(void)
{
	set_handler(2, nmi_handler);
	interrupts[2] = 0;
	apic_icr(this_cpu()->apic_id, 0x4400);
	EXPECT(WAIT(interrupts[2] == 2, 1000));
	EXPECT_EQ(nmi_deepest, 1);
}

static void sti_shadow(void)
{
	SKIP_ON_WEAK_KVM("delivery at the end of the shadow");
	taken = 0;
	set_handler(0x50, note);
	apic_icr(0, APIC_SELF | 0x50);
	EXPECT(apic_bit(APIC_IRR, 0x50));
	__asm__ volatile("sti; cli" : : : "memory"); /* SDM vol. 2, STI: not in between */
	EXPECT_EQ(taken, 0);
	__asm__ volatile("sti; nop; cli" : : : "memory");
	EXPECT_EQ(taken, 1);
}

static void popf_and_iret_enable_at_once(void)
{
	uint64_t flags = 0x202;

	SKIP_ON_WEAK_KVM("delivery right after POPF");
	taken = 0;
	set_handler(0x50, note);
	apic_icr(0, APIC_SELF | 0x50);
	EXPECT(apic_bit(APIC_IRR, 0x50));
	__asm__ volatile("push %0; popfq; cli" : : "r"(flags) : "memory", "cc");
	EXPECT_EQ(taken, 1);
}

void guest_main(void)
{
	tsc_khz();
	RUN(pit_through_the_pic);
	RUN(pit_one_shot);
	RUN(pit_counts_down);
	RUN(pic_request_is_kept_while_masked);
	RUN(io_apic_registers);
	RUN(pit_through_the_io_apic);
	RUN(level_interrupt_repeats_until_the_line_falls);
	RUN(edge_interrupt_comes_once);
	RUN(timer_one_shot);
	RUN(timer_periodic);
	RUN(timer_counts_while_masked);
	RUN(timer_tsc_deadline);
	RUN(halt_ends_with_an_interrupt);
	RUN(highest_vector_first);
	RUN(task_priority_holds_back);
	RUN(higher_class_interrupts_a_handler);
	RUN(illegal_vector_is_an_error);
	RUN(nmi_is_taken_with_interrupts_off_and_not_nested);
	RUN(sti_shadow);
	RUN(popf_and_iret_enable_at_once);
}
