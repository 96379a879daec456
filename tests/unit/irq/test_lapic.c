/* SPDX-License-Identifier: Apache-2.0
 *
 * Local APIC: priorities, acceptance, EOI, modes, errors.
 */
#include "board.h"

static struct board *b;

static void setup(void)
{
	b = board_new(2, 0);
	board_enable_apics(b);
}

static void teardown(void)
{
	board_free(b);
}

static int take(void)
{
	return irq_take(&b->vcpu[0]);
}

static void post(uint8_t vector)
{
	irq_post(&b->vcpu[0], vector);
}

START_TEST(highest_vector_comes_first)
{
	post(0x31);
	post(0xe1);
	post(0x52);
	ck_assert_int_eq(take(), 0xe1);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_int_eq(take(), 0x52);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_int_eq(take(), 0x31);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(same_class_waits_for_eoi)
{
	post(0x51);
	ck_assert_int_eq(take(), 0x51);
	post(0x5f);
	ck_assert(!irq_has_pending(&b->vcpu[0]));
	ck_assert_int_eq(take(), -1);
	post(0x60);
	ck_assert_int_eq(take(), 0x60);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ISR(0x51)), 1u << 0x11);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ISR(0x60)), 1u << 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_IRR(0x5f)), 1u << 0x1f);
	apic_write(b, 0, APIC_EOI, 0); /* of 60h */
	ck_assert_int_eq(take(), -1);
	apic_write(b, 0, APIC_EOI, 0); /* of 51h */
	ck_assert_int_eq(take(), 0x5f);
}
END_TEST

START_TEST(eoi_makes_attention_for_what_waited)
{
	post(0x51);
	take();
	post(0x52);
	ck_assert_uint_eq(b->vcpu[0].attention, 0);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_uint_eq(b->vcpu[0].attention, VCPU_ATT_IRQ);
}
END_TEST

START_TEST(attention_stays_while_more_is_deliverable)
{
	post(0x41);
	post(0x71);
	ck_assert_uint_eq(b->vcpu[0].attention, VCPU_ATT_IRQ);
	/* 41h is below 71h in service, so nothing is deliverable after the first. */
	ck_assert_int_eq(take(), 0x71);
	ck_assert_uint_eq(b->vcpu[0].attention, 0);
	post(0x91);
	post(0x81);
	irq_set_auto_eoi(&b->vcpu[0], 0x91, true);
	ck_assert_int_eq(take(), 0x91);
	ck_assert_uint_eq(b->vcpu[0].attention, VCPU_ATT_IRQ);
}
END_TEST

START_TEST(tpr_holds_back_its_class_and_below)
{
	apic_write(b, 0, APIC_TPR, 0x50);
	post(0x5f);
	ck_assert_int_eq(take(), -1);
	post(0x60);
	ck_assert_int_eq(take(), 0x60);
	apic_write(b, 0, APIC_EOI, 0);
	irq_set_cr8(&b->vcpu[0], 4);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TPR), 0x40);
	ck_assert_uint_eq(b->vcpu[0].attention & VCPU_ATT_IRQ, VCPU_ATT_IRQ);
	ck_assert_int_eq(take(), 0x5f);
	apic_write(b, 0, APIC_TPR, 0xa7);
	ck_assert_uint_eq(irq_get_cr8(&b->vcpu[0]), 0xa);
}
END_TEST

START_TEST(ppr_is_the_higher_class)
{
	apic_write(b, 0, APIC_TPR, 0x23);
	ck_assert_uint_eq(apic_read(b, 0, APIC_PPR), 0x23);
	post(0x45);
	take();
	ck_assert_uint_eq(apic_read(b, 0, APIC_PPR), 0x40);
	apic_write(b, 0, APIC_TPR, 0x47);
	ck_assert_uint_eq(apic_read(b, 0, APIC_PPR), 0x47);
	apic_write(b, 0, APIC_TPR, 0x63);
	ck_assert_uint_eq(apic_read(b, 0, APIC_PPR), 0x63);
}
END_TEST

START_TEST(second_request_while_pending_is_merged_while_in_service_kept)
{
	post(0x33);
	post(0x33);
	ck_assert_int_eq(take(), 0x33);
	post(0x33);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_int_eq(take(), 0x33);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(kick_only_when_deliverable)
{
	unsigned before = b->kicks[0];

	post(0x71);
	ck_assert_uint_eq(b->kicks[0], before + 1);
	take();
	post(0x61);
	ck_assert_uint_eq(b->kicks[0], before + 1);
}
END_TEST

START_TEST(vectors_below_16_are_receive_errors)
{
	apic_write(b, 0, APIC_LVTERR, 0xfe);
	post(0x0f);
	ck_assert_int_eq(take(), 0xfe);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ESR), 0); /* until it is written */
	apic_write(b, 0, APIC_ESR, 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ESR), 0x40);
	apic_write(b, 0, APIC_ESR, 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ESR), 0);
}
END_TEST

START_TEST(unknown_register_and_illegal_ipi_are_errors)
{
	apic_read(b, 0, 0x2a0);
	apic_write(b, 0, APIC_ICR, 0x4000 | 1u << 18 | 0x0e);
	apic_write(b, 0, APIC_ESR, 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ESR), 0xa0);
}
END_TEST

START_TEST(software_disabled_takes_no_fixed_interrupt_and_masks_lvt)
{
	apic_write(b, 0, APIC_LVTERR, 0xfe);
	apic_write(b, 0, APIC_SVR, 0xff);
	ck_assert_uint_eq(apic_read(b, 0, APIC_LVTERR), 0x100fe);
	apic_write(b, 0, APIC_LVTERR, 0xfe);
	ck_assert_uint_eq(apic_read(b, 0, APIC_LVTERR), 0x100fe);
	post(0x55);
	ck_assert_int_eq(take(), -1);
	/* Enabled again: entries stay masked until written. */
	apic_write(b, 0, APIC_SVR, 0x1ff);
	ck_assert_uint_eq(apic_read(b, 0, APIC_LVTERR), 0x100fe);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(software_disable_holds_pending_interrupts)
{
	post(0x55);
	apic_write(b, 0, APIC_SVR, 0xff);
	ck_assert_uint_eq(apic_read(b, 0, APIC_IRR(0x55)), 1u << 0x15);
}
END_TEST

START_TEST(register_values_after_reset)
{
	irq_reset(b->f);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		ck_assert_uint_eq(apic_read(b, cpu, APIC_ID), cpu << 24);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_VERSION) & 0xff, 0x14);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_VERSION) >> 16, 5);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_SVR), 0xff);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_DFR), 0xffffffff);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_LDR), 0);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_TPR), 0);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_LVTT), 0x10000);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_LINT1), 0x10000);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_TMICT), 0);
		ck_assert_uint_eq(apic_read(b, cpu, APIC_TMCCT), 0);
	}
	/* The boot processor is in virtual wire mode, as firmware leaves it. */
	ck_assert_uint_eq(apic_read(b, 0, APIC_LINT0), 0x700);
	ck_assert_uint_eq(apic_read(b, 1, APIC_LINT0), 0x10000);
}
END_TEST

START_TEST(id_and_version_are_read_only_ldr_dfr_have_their_bits)
{
	apic_write(b, 1, APIC_ID, 0x07000000);
	ck_assert_uint_eq(apic_read(b, 1, APIC_ID), 0x01000000);
	apic_write(b, 1, APIC_LDR, 0xffffffff);
	ck_assert_uint_eq(apic_read(b, 1, APIC_LDR), 0xff000000);
	apic_write(b, 1, APIC_DFR, 0);
	ck_assert_uint_eq(apic_read(b, 1, APIC_DFR), 0x0fffffff);
}
END_TEST

START_TEST(narrow_and_misaligned_accesses_do_no_harm)
{
	uint64_t v;

	apic_write(b, 0, APIC_TPR, 0x73);
	for (unsigned size = 1; size <= 8; size *= 2) {
		v = ~0ull;
		ck_assert(irq_mmio(&b->vcpu[0], IRQ_LAPIC_BASE + APIC_TPR, size, false, &v));
		ck_assert_uint_eq(v, 0x73);
	}
	v = 0x55;
	ck_assert(irq_mmio(&b->vcpu[0], IRQ_LAPIC_BASE + APIC_TPR, 1, true, &v));
	ck_assert(irq_mmio(&b->vcpu[0], IRQ_LAPIC_BASE + APIC_TPR + 2, 4, true, &v));
	ck_assert_uint_eq(apic_read(b, 0, APIC_TPR), 0x73);
	for (unsigned offset = 0; offset < 0x1000; offset++)
		ck_assert(irq_mmio(&b->vcpu[0], IRQ_LAPIC_BASE + offset, 8, false, &v));
	ck_assert(!irq_mmio(&b->vcpu[0], IRQ_LAPIC_BASE + 0x1000, 4, false, &v));
}
END_TEST

START_TEST(nmi_line_goes_to_lint1)
{
	irq_nmi(b->f);
	ck_assert_uint_eq(b->vcpu[0].attention | b->vcpu[1].attention, 0); /* masked */
	apic_write(b, 1, APIC_LINT1, 0x400);
	irq_nmi(b->f);
	ck_assert_uint_eq(b->vcpu[0].attention, 0);
	ck_assert_uint_eq(b->vcpu[1].attention, VCPU_ATT_NMI);
}
END_TEST

START_TEST(auto_eoi_vector_is_not_in_service)
{
	irq_set_auto_eoi(&b->vcpu[0], 0x55, true);
	post(0x55);
	ck_assert_int_eq(take(), 0x55);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ISR(0x55)), 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_PPR), 0);
}
END_TEST

/* ---- APIC base MSR and x2APIC ---- */

static enum irq_msr_result wr(uint32_t msr, uint64_t value)
{
	return irq_wrmsr(&b->vcpu[1], msr, value);
}

static uint64_t rd(uint32_t msr)
{
	uint64_t v = 0;

	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], msr, &v), IRQ_MSR_OK);
	return v;
}

START_TEST(base_msr_allows_only_the_legal_transitions)
{
	ck_assert_uint_eq(rd(0x1b), 0xfee00800);
	ck_assert_int_eq(wr(0x1b, 0xfee00400), IRQ_MSR_GP); /* x2 without enable */
	ck_assert_int_eq(wr(0x1b, 0xfee00801), IRQ_MSR_GP); /* reserved */
	ck_assert_int_eq(wr(0x1b, 1ull << 60 | 0xfee00800), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x1b, 0xfee00c00), IRQ_MSR_OK);
	ck_assert_int_eq(wr(0x1b, 0xfee00800), IRQ_MSR_GP); /* x2 to xAPIC */
	ck_assert_int_eq(wr(0x1b, 0xfee00000), IRQ_MSR_OK);
	ck_assert(!irq_apic_enabled(&b->vcpu[1]));
	ck_assert_int_eq(wr(0x1b, 0xfee00c00), IRQ_MSR_GP); /* disabled to x2 */
	ck_assert_int_eq(wr(0x1b, 0xfee00800), IRQ_MSR_OK);
	ck_assert(irq_apic_enabled(&b->vcpu[1]));
}
END_TEST

START_TEST(x2apic_registers)
{
	uint64_t v;

	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x802, &v), IRQ_MSR_GP); /* not in x2 mode */
	ck_assert_int_eq(wr(0x1b, 0xfee00c00), IRQ_MSR_OK);
	ck_assert(!irq_mmio(&b->vcpu[1], IRQ_LAPIC_BASE + APIC_ID, 4, false, &v));
	ck_assert_uint_eq(rd(0x802), 1);
	ck_assert_uint_eq(rd(0x80d), 2);
	ck_assert_uint_eq(rd(0x80f), 0x1ff); /* kept from xAPIC mode */
	ck_assert_int_eq(wr(0x808, 0x30), IRQ_MSR_OK);
	ck_assert_uint_eq(rd(0x80a), 0x30);
	/* Read-only, write-only, missing, reserved bits: SDM table 10-6. */
	ck_assert_int_eq(wr(0x802, 1), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x80d, 1), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x80a, 0), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x810, 0), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x839, 0), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x80e, 0), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x831, 0), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x840, 0), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x808, 0x100), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x80b, 1), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x828, 1), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x80f, 1ull << 32), IRQ_MSR_GP);
	ck_assert_int_eq(wr(0x83e, 4), IRQ_MSR_GP);
	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x80b, &v), IRQ_MSR_GP);
	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x83f, &v), IRQ_MSR_GP);
	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x80e, &v), IRQ_MSR_GP);
	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x8ff, &v), IRQ_MSR_GP);
	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x900, &v), IRQ_MSR_NOT_MINE);
}
END_TEST

START_TEST(x2apic_self_ipi_and_eoi)
{
	wr(0x1b, 0xfee00c00);
	ck_assert_int_eq(wr(0x83f, 0x77), IRQ_MSR_OK);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), 0x77);
	ck_assert_uint_eq(rd(0x813), 1u << 0x17);
	ck_assert_int_eq(wr(0x80b, 0), IRQ_MSR_OK);
	ck_assert_uint_eq(rd(0x813), 0);
}
END_TEST

START_TEST(disabling_resets)
{
	irq_post(&b->vcpu[1], 0x44);
	wr(0x1b, 0xfee00000);
	wr(0x1b, 0xfee00800);
	ck_assert_uint_eq(apic_read(b, 1, APIC_SVR), 0xff);
	ck_assert_uint_eq(apic_read(b, 1, APIC_IRR(0x44)), 0);
}
END_TEST

START_TEST(tsc_writes_move_tsc_adjust)
{
	uint64_t v;

	board_time(b, 1000);
	ck_assert_uint_eq(irq_tsc(&b->vcpu[1]), 2000); /* 2 GHz */
	ck_assert_int_eq(wr(0x10, 5000), IRQ_MSR_OK);
	ck_assert_uint_eq(irq_tsc(&b->vcpu[1]), 5000);
	ck_assert_uint_eq(rd(0x3b), 3000);
	ck_assert_int_eq(wr(0x3b, 0), IRQ_MSR_OK);
	ck_assert_uint_eq(rd(0x10), 2000);
	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x11, &v), IRQ_MSR_NOT_MINE);
}
END_TEST

/* ---- ExtINT ---- */

START_TEST(pic_reaches_boot_processor_by_virtual_wire)
{
	irq_reset(b->f);
	board_init_pics(b, 0);
	irq_line(b->f, 5, true);
	ck_assert_uint_eq(b->vcpu[0].attention, VCPU_ATT_IRQ);
	ck_assert_uint_eq(b->vcpu[1].attention, 0);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), -1);
	ck_assert_int_eq(take(), 0x25);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(extint_ignores_tpr_and_masked_lint0_stops_it)
{
	apic_write(b, 0, APIC_TPR, 0xff);
	board_init_pics(b, 0);
	apic_write(b, 0, APIC_LINT0, 0x10700);
	irq_line(b->f, 5, true);
	ck_assert(!irq_has_pending(&b->vcpu[0]));
	apic_write(b, 0, APIC_LINT0, 0x700);
	ck_assert_uint_eq(b->vcpu[0].attention, VCPU_ATT_IRQ);
	ck_assert_int_eq(take(), 0x25);
}
END_TEST

START_TEST(disabled_apic_passes_intr_through)
{
	ck_assert_int_eq(irq_wrmsr(&b->vcpu[0], 0x1b, 0xfee00100), IRQ_MSR_OK);
	board_init_pics(b, 0);
	irq_line(b->f, 3, true);
	ck_assert_int_eq(take(), 0x23);
}
END_TEST

/* Found by the fuzzer: a reset brings LINT0 back to ExtINT while the PIC is already asking. */
START_TEST(intr_that_waits_during_a_reset_is_announced)
{
	board_init_pics(b, 0);
	apic_write(b, 0, APIC_LINT0, 0x10700);
	irq_line(b->f, 3, true);
	ck_assert_uint_eq(b->vcpu[0].attention, 0);
	irq_wrmsr(&b->vcpu[0], 0x1b, 0xfee00100);
	ck_assert_uint_eq(b->vcpu[0].attention, VCPU_ATT_IRQ);
	ck_assert_int_eq(take(), 0x23);
}
END_TEST

/* Found by the fuzzer: an ExtINT message that met a low INTR must not last until a later one. */
START_TEST(extint_message_without_intr_is_used_up)
{
	board_init_pics(b, 0);
	irq_msi(b->f, 0xfee01000, 0x700);
	ck_assert_uint_eq(b->vcpu[1].attention, VCPU_ATT_IRQ);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), -1);
	irq_line(b->f, 3, true);
	ck_assert(!irq_has_pending(&b->vcpu[1]));
	ck_assert_int_eq(take(), 0x23);
}
END_TEST

START_TEST(lint0_fixed_level_is_repeated_until_the_line_falls)
{
	board_init_pics(b, 0);
	apic_write(b, 0, APIC_LINT0, 0x8061);
	irq_line(b->f, 4, true);
	ck_assert_int_eq(take(), 0x61);
	ck_assert_uint_eq(apic_read(b, 0, APIC_LINT0), 0xc061);
	apic_write(b, 0, APIC_EOI, 0); /* INTR is still high */
	ck_assert_int_eq(take(), 0x61);
	outb(b, 0x21, 0xff);
	apic_write(b, 0, APIC_EOI, 0);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(apic_read(b, 0, APIC_LINT0), 0x8061);
}
END_TEST

Suite *lapic_suite(void)
{
	Suite *s = suite_create("lapic");
	TCase *t = tcase_create("xapic");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, highest_vector_comes_first);
	tcase_add_test(t, same_class_waits_for_eoi);
	tcase_add_test(t, eoi_makes_attention_for_what_waited);
	tcase_add_test(t, attention_stays_while_more_is_deliverable);
	tcase_add_test(t, tpr_holds_back_its_class_and_below);
	tcase_add_test(t, ppr_is_the_higher_class);
	tcase_add_test(t, second_request_while_pending_is_merged_while_in_service_kept);
	tcase_add_test(t, kick_only_when_deliverable);
	tcase_add_test(t, vectors_below_16_are_receive_errors);
	tcase_add_test(t, unknown_register_and_illegal_ipi_are_errors);
	tcase_add_test(t, software_disabled_takes_no_fixed_interrupt_and_masks_lvt);
	tcase_add_test(t, software_disable_holds_pending_interrupts);
	tcase_add_test(t, register_values_after_reset);
	tcase_add_test(t, id_and_version_are_read_only_ldr_dfr_have_their_bits);
	tcase_add_test(t, narrow_and_misaligned_accesses_do_no_harm);
	tcase_add_test(t, nmi_line_goes_to_lint1);
	tcase_add_test(t, auto_eoi_vector_is_not_in_service);
	tcase_add_test(t, base_msr_allows_only_the_legal_transitions);
	tcase_add_test(t, x2apic_registers);
	tcase_add_test(t, x2apic_self_ipi_and_eoi);
	tcase_add_test(t, disabling_resets);
	tcase_add_test(t, tsc_writes_move_tsc_adjust);
	tcase_add_test(t, pic_reaches_boot_processor_by_virtual_wire);
	tcase_add_test(t, extint_ignores_tpr_and_masked_lint0_stops_it);
	tcase_add_test(t, disabled_apic_passes_intr_through);
	tcase_add_test(t, intr_that_waits_during_a_reset_is_announced);
	tcase_add_test(t, extint_message_without_intr_is_used_up);
	tcase_add_test(t, lint0_fixed_level_is_repeated_until_the_line_falls);
	suite_add_tcase(s, t);
	return s;
}
