/* SPDX-License-Identifier: Apache-2.0
 *
 * The synthetic interrupt controller (TLFS chapter 11): messages, events, their interrupts.
 */
#include "rig.h"

static const char hello[] = "hello";

static int send(unsigned sint)
{
	return hv_message(&r->vcpu[0], sint, 1, hello, sizeof(hello));
}

/* What a guest does with a message (TLFS 11.10.2): empties the slot, then looks at the flag. */
static bool consume(unsigned sint)
{
	memset(slot(sint), 0, 4);
	if (!(slot(sint)[5] & 1))
		return false;
	wr(EOM, 0);
	return true;
}

START_TEST(after_reset_everything_is_off)
{
	ck_assert_uint_eq(rd(SCONTROL), 0);
	ck_assert_uint_eq(rd(SIMP), 0);
	ck_assert_uint_eq(rd(SIEFP), 0);
	ck_assert_uint_eq(rd(SVERSION), 1);
	ck_assert_uint_eq(rd(EOM), 0);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(rd(SINT(i)), SINT_MASKED);
}
END_TEST

START_TEST(registers_keep_what_is_written)
{
	synic_on();
	ck_assert_uint_eq(rd(SCONTROL), 1);
	ck_assert_uint_eq(rd(SIMP), AT_MESSAGES | 1);
	ck_assert_uint_eq(rd(SIEFP), AT_EVENTS | 1);
	wr(SINT(2), 0xf3);
	ck_assert_uint_eq(rd(SINT(2)), 0xf3);
	ck_assert_uint_eq(rd(SINT(3)), SINT_MASKED);
	hv_reset(r->hv);
	ck_assert_uint_eq(rd(SCONTROL), 0);
	ck_assert_uint_eq(rd(SIMP), 0);
	ck_assert_uint_eq(rd(SINT(2)), SINT_MASKED);
}
END_TEST

START_TEST(an_unmasked_source_has_no_exceptions_vector)
{
	for (unsigned vector = 0; vector < 16; vector++) {
		ck_assert(wr_gp(SINT(1), vector));
		wr(SINT(1), vector | SINT_MASKED);
	}
	wr(SINT(1), 16);
}
END_TEST

START_TEST(pages_outside_ram_are_gp)
{
	ck_assert(wr_gp(SIMP, LOW_END | 1));
	ck_assert(wr_gp(SIEFP, 0xfffffffffffff000ull | 1));
	ck_assert_uint_eq(rd(SIMP), 0);
	wr(SIMP, HIGH_RAM | 1);
}
END_TEST

START_TEST(enabled_pages_begin_empty)
{
	synic_on();
	for (unsigned i = 0; i < PAGE; i++) {
		ck_assert_uint_eq(((uint8_t *)ram(AT_MESSAGES))[i], 0);
		ck_assert_uint_eq(((uint8_t *)ram(AT_EVENTS))[i], 0);
	}
	ck_assert_uint_eq(*(uint8_t *)ram(AT_EVENTS + PAGE), 0xa5);
}
END_TEST

/* ---- messages ---- */

START_TEST(a_message_lies_in_its_slot_and_interrupts)
{
	synic_on();
	wr(SINT(2), 0xf3);
	ck_assert_int_eq(send(2), 0);
	ck_assert_uint_eq(slot_type(2), 1);
	ck_assert_uint_eq(slot(2)[4], sizeof(hello)); /* payload size */
	ck_assert_uint_eq(slot(2)[5], 0);             /* flags */
	ck_assert_mem_eq(slot(2) + 16, hello, sizeof(hello));
	ck_assert_int_eq(take(), 0xf3);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(slot_type(1) | slot_type(3), 0);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), -1);
}
END_TEST

START_TEST(a_slot_holds_240_bytes)
{
	uint8_t big[241];

	memset(big, 0x5a, sizeof(big));
	synic_on();
	ck_assert_int_eq(hv_message(&r->vcpu[0], 15, 1, big, 240), 0);
	ck_assert_mem_eq(slot(15) + 16, big, 240);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_MESSAGES + PAGE), 0); /* the event page's first byte */
	ck_assert_int_eq(hv_message(&r->vcpu[0], 14, 1, big, 241), -EINVAL);
	ck_assert_int_eq(hv_message(&r->vcpu[0], 16, 1, big, 1), -EINVAL);
	ck_assert_int_eq(hv_message(&r->vcpu[0], 14, 0, big, 1), -EINVAL);
}
END_TEST

START_TEST(without_synic_or_page_nobody_listens)
{
	ck_assert_int_eq(send(2), -ENODEV);
	wr(SIMP, AT_MESSAGES | 1);
	ck_assert_int_eq(send(2), -ENODEV);
	wr(SCONTROL, 1);
	ck_assert_int_eq(send(2), 0);
	wr(SIMP, AT_MESSAGES);
	ck_assert_int_eq(send(3), -ENODEV);
}
END_TEST

START_TEST(a_taken_slot_says_that_more_is_waiting)
{
	synic_on();
	wr(SINT(2), 0xf3);
	ck_assert_int_eq(send(2), 0);
	ck_assert_int_eq(take(), 0xf3);
	ck_assert_int_eq(send(2), -EAGAIN);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(slot(2)[5], 1);
	ck_assert_mem_eq(slot(2) + 16, hello, sizeof(hello));
	ck_assert_uint_eq(r->rooms, 0);
	ck_assert(consume(2));
	ck_assert_uint_eq(r->rooms, 1);
	ck_assert_uint_eq(r->room_sint, 2);
	ck_assert_ptr_eq(r->room_vcpu, &r->vcpu[0]);
	ck_assert_int_eq(send(2), 0);
	ck_assert_uint_eq(slot(2)[5], 0);
	ck_assert_int_eq(take(), 0xf3);
	ck_assert(!consume(2));
	wr(EOM, 0); /* for nothing: nobody waits */
	ck_assert_uint_eq(r->rooms, 1);
}
END_TEST

/* A crash kernel takes over: its page is another one, and empty; it has nothing to write EOM for.
 */
START_TEST(a_new_message_page_has_room_for_what_was_refused)
{
	synic_on();
	ck_assert_int_eq(send(2), 0);
	ck_assert_int_eq(send(2), -EAGAIN);
	ck_assert_uint_eq(r->rooms, 0);
	wr(SIMP, AT_EVENTS | 1);
	ck_assert_uint_eq(r->rooms, 1);
	ck_assert_uint_eq(r->room_sint, 2);
	ck_assert_int_eq(send(2), 0);
	ck_assert_int_eq(send(2), -EAGAIN);
	wr(SCONTROL, 0);
	ck_assert_uint_eq(r->rooms, 2); /* who asks hears that nobody listens */
	ck_assert_int_eq(send(2), -ENODEV);
}
END_TEST

START_TEST(a_refused_message_of_another_source_is_not_forgotten)
{
	synic_on();
	ck_assert_int_eq(send(2), 0);
	ck_assert_int_eq(send(5), 0);
	ck_assert_int_eq(send(2), -EAGAIN);
	ck_assert_int_eq(send(5), -EAGAIN);
	ck_assert(consume(5));
	ck_assert_uint_eq(r->rooms, 2); /* both may try; 2 is refused again, and told again */
	ck_assert_int_eq(send(2), -EAGAIN);
	ck_assert(consume(2));
	ck_assert_uint_eq(r->rooms, 3);
}
END_TEST

START_TEST(a_masked_or_polled_source_gets_messages_without_interrupts)
{
	synic_on();
	wr(SINT(2), SINT_MASKED | 0xf3);
	ck_assert_int_eq(send(2), 0);
	ck_assert_uint_eq(slot_type(2), 1);
	ck_assert_int_eq(take(), -1);
	wr(SINT(2), 0xf3); /* the interrupt is lost (TLFS 11.8), the message is not */
	ck_assert_int_eq(take(), -1);
	wr(SINT(4), SINT_POLLING | 0xf4);
	ck_assert_int_eq(send(4), 0);
	ck_assert_uint_eq(slot_type(4), 1);
	ck_assert_int_eq(take(), -1);
}
END_TEST

/* ---- AutoEOI ---- */

static bool needs_eoi(uint8_t vector)
{
	int first, second;

	irq_post(&r->vcpu[0], vector);
	first = irq_take(&r->vcpu[0]);
	irq_post(&r->vcpu[0], vector - 1); /* of the same priority class: held back by the first */
	second = irq_take(&r->vcpu[0]);
	ck_assert_int_eq(first, vector);
	irq_eoi(&r->vcpu[0]);
	if (second >= 0)
		return false;
	ck_assert_int_eq(take(), vector - 1);
	return true;
}

START_TEST(auto_eoi_belongs_to_the_unmasked_source)
{
	ck_assert(needs_eoi(0x65));
	wr(SINT(2), SINT_AUTO_EOI | 0x65);
	ck_assert(!needs_eoi(0x65));
	wr(SINT(2), SINT_AUTO_EOI | SINT_MASKED | 0x65);
	ck_assert(needs_eoi(0x65));
	wr(SINT(2), SINT_AUTO_EOI | 0x75);
	ck_assert(needs_eoi(0x65));
	ck_assert(!needs_eoi(0x75));
	hv_reset(r->hv);
	ck_assert(needs_eoi(0x75));
}
END_TEST

START_TEST(auto_eoi_stays_while_one_of_two_sources_has_it)
{
	wr(SINT(2), SINT_AUTO_EOI | 0x65);
	wr(SINT(3), SINT_AUTO_EOI | 0x65);
	wr(SINT(2), SINT_MASKED);
	ck_assert(!needs_eoi(0x65));
	wr(SINT(3), SINT_MASKED);
	ck_assert(needs_eoi(0x65));
}
END_TEST

/* ---- event flags ---- */

START_TEST(an_event_sets_its_flag_and_interrupts_once)
{
	uint8_t *flags = (uint8_t *)ram(AT_EVENTS) + 2 * 256;

	synic_on();
	wr(SINT(2), 0xf3);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 2, 13), 0);
	ck_assert_uint_eq(flags[1], 1u << 5);
	ck_assert_int_eq(take(), 0xf3);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 2, 13), 0); /* not seen yet: nothing new */
	ck_assert_int_eq(take(), -1);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 2, 12), 0);
	ck_assert_uint_eq(flags[1], 3u << 4);
	ck_assert_int_eq(take(), 0xf3);
	flags[1] = 0;
	ck_assert_int_eq(hv_event(&r->vcpu[0], 2, 13), 0);
	ck_assert_int_eq(take(), 0xf3);
}
END_TEST

START_TEST(the_last_flag_is_2047)
{
	synic_on();
	ck_assert_int_eq(hv_event(&r->vcpu[0], 15, 2047), 0);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_EVENTS + PAGE - 1), 0x80);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 15, 2048), -EINVAL);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 16, 0), -EINVAL);
}
END_TEST

START_TEST(events_need_the_synic_and_their_page)
{
	ck_assert_int_eq(hv_event(&r->vcpu[0], 2, 1), -ENODEV);
	wr(SIEFP, AT_EVENTS | 1);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 2, 1), -ENODEV);
	wr(SCONTROL, 1);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 2, 1), 0);
	wr(SINT(3), SINT_MASKED | 0xf3);
	ck_assert_int_eq(hv_event(&r->vcpu[0], 3, 1), 0);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_EVENTS + 3 * 256), 2);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(an_event_goes_to_its_processor)
{
	uint64_t page = AT_ASSIST | 1;

	synic_on();
	ck_assert(hv_wrmsr(&r->vcpu[1], SIEFP, page) == IRQ_MSR_OK);
	ck_assert(hv_wrmsr(&r->vcpu[1], SCONTROL, 1) == IRQ_MSR_OK);
	ck_assert(hv_wrmsr(&r->vcpu[1], SINT(2), 0x99) == IRQ_MSR_OK);
	ck_assert_int_eq(hv_event(&r->vcpu[1], 2, 0), 0);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_ASSIST + 512), 1);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_EVENTS + 512), 0);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), 0x99);
	ck_assert_int_eq(take(), -1);
}
END_TEST

Suite *synic_suite(void)
{
	Suite *s = suite_create("hv synic");
	TCase *t = tcase_create("synic");

	tcase_add_checked_fixture(t, rig_setup, rig_teardown);
	tcase_add_test(t, after_reset_everything_is_off);
	tcase_add_test(t, registers_keep_what_is_written);
	tcase_add_test(t, an_unmasked_source_has_no_exceptions_vector);
	tcase_add_test(t, pages_outside_ram_are_gp);
	tcase_add_test(t, enabled_pages_begin_empty);
	tcase_add_test(t, a_message_lies_in_its_slot_and_interrupts);
	tcase_add_test(t, a_slot_holds_240_bytes);
	tcase_add_test(t, without_synic_or_page_nobody_listens);
	tcase_add_test(t, a_taken_slot_says_that_more_is_waiting);
	tcase_add_test(t, a_new_message_page_has_room_for_what_was_refused);
	tcase_add_test(t, a_refused_message_of_another_source_is_not_forgotten);
	tcase_add_test(t, a_masked_or_polled_source_gets_messages_without_interrupts);
	tcase_add_test(t, auto_eoi_belongs_to_the_unmasked_source);
	tcase_add_test(t, auto_eoi_stays_while_one_of_two_sources_has_it);
	tcase_add_test(t, an_event_sets_its_flag_and_interrupts_once);
	tcase_add_test(t, the_last_flag_is_2047);
	tcase_add_test(t, events_need_the_synic_and_their_page);
	tcase_add_test(t, an_event_goes_to_its_processor);
	suite_add_tcase(s, t);
	return s;
}
