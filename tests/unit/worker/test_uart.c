/* SPDX-License-Identifier: Apache-2.0
 *
 * The UART by the PC16550D data sheet; section and table numbers are its.
 */
#include "rig.h"
#include "suite.h"

enum { BASE = 0x3f8, IRQ = 4 };
enum {
	DATA = BASE,
	IER = BASE + 1,
	IIR = BASE + 2,
	FCR = IIR,
	LCR = BASE + 3,
	MCR = BASE + 4,
	LSR = BASE + 5,
	MSR = BASE + 6,
	SCR = BASE + 7
};

static struct rig *r;
static struct uart *u;

static void setup(void)
{
	r = rig_new();
	u = &r->c.com[0];
	uart_init(u, BASE, IRQ, &(struct uart_host){rig_transmit, rig_room, r});
	ck_assert_int_eq(chipset_add(&r->c, &u->d), 0);
}

static void teardown(void)
{
	free(r);
}

static size_t receive(const char *text)
{
	return uart_receive(u, (const uint8_t *)text, strlen(text));
}

/* Table I: master reset. */
START_TEST(registers_after_reset_are_those_of_table_1)
{
	ck_assert_uint_eq(rig_in(r, IER), 0x00);
	ck_assert_uint_eq(rig_in(r, IIR), 0x01);
	ck_assert_uint_eq(rig_in(r, LCR), 0x00);
	ck_assert_uint_eq(rig_in(r, MCR), 0x00);
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
	ck_assert_uint_eq(rig_in(r, MSR) & 0x0f, 0);
	ck_assert(!rig_level(r, IRQ));
}
END_TEST

START_TEST(dlab_switches_the_first_two_registers_to_the_divisor)
{
	rig_out(r, IER, 0x05);
	rig_out(r, LCR, 0x83);
	rig_out(r, DATA, 0x01);
	rig_out(r, IER, 0x02);
	ck_assert_uint_eq(rig_in(r, DATA), 0x01);
	ck_assert_uint_eq(rig_in(r, IER), 0x02);
	rig_out(r, LCR, 0x03);
	ck_assert_uint_eq(rig_in(r, IER), 0x05);
	ck_assert_uint_eq(r->sent_count, 0);
}
END_TEST

START_TEST(unused_bits_read_as_zero)
{
	rig_out(r, IER, 0xff);
	ck_assert_uint_eq(rig_in(r, IER), 0x0f);
	rig_out(r, MCR, 0xff);
	ck_assert_uint_eq(rig_in(r, MCR), 0x1f);
	rig_out(r, SCR, 0xa5);
	ck_assert_uint_eq(rig_in(r, SCR), 0xa5);
}
END_TEST

START_TEST(lsr_and_msr_cannot_be_written)
{
	rig_in(r, MSR);
	rig_out(r, LSR, 0xff);
	rig_out(r, MSR, 0xff);
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
	ck_assert_uint_eq(rig_in(r, MSR), 0xb0);
}
END_TEST

START_TEST(bytes_go_out_in_order_at_the_latest_when_the_batch_ends)
{
	for (unsigned i = 0; i < 40; i++)
		rig_out(r, DATA, (uint8_t)i);
	chipset_settle(&r->c);
	ck_assert_uint_eq(r->sent_count, 40);
	for (unsigned i = 0; i < 40; i++)
		ck_assert_uint_eq(r->sent[i], i);
}
END_TEST

START_TEST(a_fifo_full_of_bytes_costs_one_transmission_and_one_interrupt)
{
	rig_out(r, FCR, 0x01);
	rig_out(r, IER, 0x02);
	ck_assert(rig_level(r, IRQ));
	ck_assert_uint_eq(rig_in(r, IIR), 0xc2);
	ck_assert(!rig_level(r, IRQ));
	r->rises[IRQ] = 0;
	for (unsigned i = 0; i < 16; i++)
		rig_out(r, DATA, 'x');
	ck_assert(!rig_level(r, IRQ));
	chipset_settle(&r->c);
	ck_assert_uint_eq(r->transmits, 1);
	ck_assert_uint_eq(r->rises[IRQ], 1);
}
END_TEST

/* Table IV: reset of the THRE interrupt by reading IIR (if it is the source) or writing THR. */
START_TEST(thre_interrupt_is_acknowledged_by_reading_iir)
{
	rig_out(r, IER, 0x02);
	ck_assert_uint_eq(rig_in(r, IIR), 0x02);
	ck_assert_uint_eq(rig_in(r, IIR), 0x01);
	ck_assert(!rig_level(r, IRQ));
	/* LSR still says empty, and enabling anew interrupts anew. */
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
	rig_out(r, IER, 0x00);
	rig_out(r, IER, 0x02);
	ck_assert(rig_level(r, IRQ));
}
END_TEST

START_TEST(thre_interrupt_is_an_edge_also_for_a_driver_that_only_writes)
{
	rig_out(r, IER, 0x02);
	for (unsigned i = 1; i < 5; i++) {
		ck_assert_uint_eq(r->rises[IRQ], i);
		rig_out(r, DATA, 'x');
		ck_assert(!rig_level(r, IRQ));
		chipset_settle(&r->c);
	}
}
END_TEST

START_TEST(reading_iir_for_another_cause_leaves_thre_pending)
{
	rig_out(r, IER, 0x03);
	receive("a");
	ck_assert_uint_eq(rig_in(r, IIR), 0x04);
	ck_assert_uint_eq(rig_in(r, DATA), 'a');
	ck_assert_uint_eq(rig_in(r, IIR), 0x02);
	ck_assert_uint_eq(rig_in(r, IIR), 0x01);
}
END_TEST

START_TEST(lsr_says_empty_to_a_polling_driver_at_once)
{
	rig_out(r, DATA, 'x');
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
	ck_assert_uint_eq(r->sent_count, 1);
}
END_TEST

START_TEST(received_data_sets_dr_and_interrupts_until_read)
{
	rig_out(r, IER, 0x01);
	ck_assert_uint_eq(receive("z"), 1);
	ck_assert(rig_level(r, IRQ));
	ck_assert_uint_eq(rig_in(r, LSR), 0x61);
	ck_assert_uint_eq(rig_in(r, IIR), 0x04);
	ck_assert(rig_level(r, IRQ));
	ck_assert_uint_eq(rig_in(r, DATA), 'z');
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
	ck_assert(!rig_level(r, IRQ));
}
END_TEST

START_TEST(without_fifo_the_receiver_takes_one_byte_and_asks_for_more_when_it_is_read)
{
	ck_assert_uint_eq(receive("ab"), 1);
	ck_assert_uint_eq(uart_room(u), 0);
	chipset_settle(&r->c);
	ck_assert_uint_eq(r->rooms, 0);
	ck_assert_uint_eq(rig_in(r, DATA), 'a');
	chipset_settle(&r->c);
	ck_assert_uint_eq(r->rooms, 1);
	/* The overrun bit never shows: the host waits. */
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
}
END_TEST

START_TEST(the_fifo_holds_16_bytes)
{
	rig_out(r, FCR, 0x01);
	ck_assert_uint_eq(receive("0123456789abcdefgh"), 16);
	for (unsigned i = 0; i < 16; i++) {
		ck_assert_uint_eq(rig_in(r, LSR), 0x61);
		ck_assert_uint_eq(rig_in(r, DATA), "0123456789abcdef"[i]);
	}
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
}
END_TEST

/* 8.6.4: received data available at the trigger level, character time-out below it. */
START_TEST(iir_tells_trigger_level_from_timeout)
{
	static const struct {
		uint8_t fcr;
		unsigned level;
	} row[] = {{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};

	rig_out(r, FCR, row[_i].fcr);
	rig_out(r, IER, 0x01);
	for (unsigned n = 1; n <= 16; n++) {
		receive("x");
		ck_assert_uint_eq(rig_in(r, IIR), n >= row[_i].level ? 0xc4 : 0xcc);
	}
}
END_TEST

START_TEST(fifo_enable_changes_clear_both_fifos)
{
	rig_out(r, FCR, 0x01);
	receive("abc");
	ck_assert_uint_eq(rig_in(r, IIR) & 0xc0, 0xc0);
	rig_out(r, FCR, 0x00);
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
	ck_assert_uint_eq(rig_in(r, IIR) & 0xc0, 0);
}
END_TEST

START_TEST(fcr_bit_1_clears_the_receiver_only_and_needs_bit_0)
{
	rig_out(r, FCR, 0x01);
	receive("abc");
	rig_out(r, FCR, 0x03);
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
	/* Self-clearing: the next byte stays. */
	receive("d");
	ck_assert_uint_eq(rig_in(r, DATA), 'd');
}
END_TEST

START_TEST(fcr_bit_2_drops_what_was_not_yet_sent)
{
	rig_out(r, FCR, 0x01);
	rig_out(r, DATA, 'x');
	rig_out(r, FCR, 0x05);
	chipset_settle(&r->c);
	ck_assert_uint_eq(r->sent_count, 0);
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
}
END_TEST

/* 8.8, bit 4: loopback. */
START_TEST(loopback_returns_bytes_and_keeps_the_line_quiet)
{
	rig_out(r, FCR, 0x01);
	rig_out(r, MCR, 0x10);
	rig_out(r, DATA, 'L');
	ck_assert_uint_eq(rig_in(r, LSR), 0x61);
	ck_assert_uint_eq(rig_in(r, DATA), 'L');
	ck_assert_uint_eq(r->sent_count, 0);
	/* The input pin is disconnected; the host keeps its bytes for later. */
	ck_assert_uint_eq(receive("x"), 0);
	rig_out(r, MCR, 0x00);
	chipset_settle(&r->c);
	ck_assert_uint_eq(r->rooms, 1);
}
END_TEST

START_TEST(loopback_wires_modem_outputs_to_inputs)
{
	/* DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to DCD */
	static const struct {
		uint8_t mcr, msr;
	} row[] = {{0x10, 0x00}, {0x11, 0x20}, {0x12, 0x10},
		   {0x14, 0x40}, {0x18, 0x80}, {0x1f, 0xf0}};

	rig_out(r, MCR, row[_i].mcr);
	ck_assert_uint_eq(rig_in(r, MSR) & 0xf0, row[_i].msr);
}
END_TEST

START_TEST(modem_changes_set_deltas_which_reading_clears)
{
	rig_out(r, MCR, 0x10);
	rig_in(r, MSR);
	rig_out(r, IER, 0x08);
	ck_assert(!rig_level(r, IRQ));
	rig_out(r, MCR, 0x12);
	ck_assert(rig_level(r, IRQ));
	ck_assert_uint_eq(rig_in(r, IIR), 0x00);
	ck_assert_uint_eq(rig_in(r, MSR), 0x11);
	ck_assert_uint_eq(rig_in(r, MSR), 0x10);
	ck_assert_uint_eq(rig_in(r, IIR), 0x01);
}
END_TEST

START_TEST(ring_counts_at_its_trailing_edge)
{
	rig_out(r, MCR, 0x10);
	rig_in(r, MSR);
	rig_out(r, MCR, 0x14);
	ck_assert_uint_eq(rig_in(r, MSR), 0x40);
	rig_out(r, MCR, 0x10);
	ck_assert_uint_eq(rig_in(r, MSR), 0x04);
}
END_TEST

START_TEST(overrun_in_loopback_keeps_the_fifo_and_drops_the_newest)
{
	rig_out(r, FCR, 0x01);
	rig_out(r, MCR, 0x10);
	for (unsigned i = 0; i < 17; i++)
		rig_out(r, DATA, (uint8_t)('a' + i));
	rig_out(r, IER, 0x04);
	chipset_settle(&r->c);
	ck_assert_uint_eq(rig_in(r, IIR), 0xc6);
	ck_assert_uint_eq(rig_in(r, LSR), 0x63);
	ck_assert_uint_eq(rig_in(r, LSR), 0x61);
	ck_assert_uint_eq(rig_in(r, IIR), 0xc1);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(rig_in(r, DATA), 'a' + i);
	ck_assert_uint_eq(rig_in(r, LSR), 0x60);
}
END_TEST

START_TEST(overrun_without_fifo_keeps_the_newest)
{
	rig_out(r, MCR, 0x10);
	rig_out(r, DATA, 'a');
	chipset_settle(&r->c);
	rig_out(r, DATA, 'b');
	ck_assert_uint_eq(rig_in(r, LSR), 0x63);
	ck_assert_uint_eq(rig_in(r, DATA), 'b');
}
END_TEST

/* Table IV: line status before data before transmitter before modem. */
START_TEST(interrupts_are_identified_by_priority)
{
	rig_out(r, MCR, 0x10);
	rig_in(r, MSR);
	rig_out(r, DATA, 'a');
	chipset_settle(&r->c);
	rig_out(r, DATA, 'b');
	chipset_settle(&r->c);
	rig_out(r, MCR, 0x12);
	rig_out(r, IER, 0x0f);
	ck_assert_uint_eq(rig_in(r, IIR), 0x06);
	rig_in(r, LSR);
	ck_assert_uint_eq(rig_in(r, IIR), 0x04);
	rig_in(r, DATA);
	ck_assert_uint_eq(rig_in(r, IIR), 0x02);
	ck_assert_uint_eq(rig_in(r, IIR), 0x00);
	rig_in(r, MSR);
	ck_assert_uint_eq(rig_in(r, IIR), 0x01);
	ck_assert(!rig_level(r, IRQ));
}
END_TEST

START_TEST(disabling_the_interrupt_lowers_the_line)
{
	rig_out(r, IER, 0x01);
	receive("x");
	ck_assert(rig_level(r, IRQ));
	rig_out(r, IER, 0x00);
	ck_assert(!rig_level(r, IRQ));
}
END_TEST

START_TEST(reset_lowers_the_line_and_takes_input_again)
{
	rig_out(r, IER, 0x01);
	receive("xy");
	chipset_reset(&r->c);
	ck_assert(!rig_level(r, IRQ));
	ck_assert_uint_eq(rig_in(r, IER), 0);
	chipset_settle(&r->c);
	ck_assert_uint_eq(r->rooms, 1);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("uart");
	TCase *t = tcase_create("data sheet");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, registers_after_reset_are_those_of_table_1);
	tcase_add_test(t, dlab_switches_the_first_two_registers_to_the_divisor);
	tcase_add_test(t, unused_bits_read_as_zero);
	tcase_add_test(t, lsr_and_msr_cannot_be_written);
	tcase_add_test(t, bytes_go_out_in_order_at_the_latest_when_the_batch_ends);
	tcase_add_test(t, a_fifo_full_of_bytes_costs_one_transmission_and_one_interrupt);
	tcase_add_test(t, thre_interrupt_is_acknowledged_by_reading_iir);
	tcase_add_test(t, thre_interrupt_is_an_edge_also_for_a_driver_that_only_writes);
	tcase_add_test(t, reading_iir_for_another_cause_leaves_thre_pending);
	tcase_add_test(t, lsr_says_empty_to_a_polling_driver_at_once);
	tcase_add_test(t, received_data_sets_dr_and_interrupts_until_read);
	tcase_add_test(t,
		       without_fifo_the_receiver_takes_one_byte_and_asks_for_more_when_it_is_read);
	tcase_add_test(t, the_fifo_holds_16_bytes);
	tcase_add_loop_test(t, iir_tells_trigger_level_from_timeout, 0, 4);
	tcase_add_test(t, fifo_enable_changes_clear_both_fifos);
	tcase_add_test(t, fcr_bit_1_clears_the_receiver_only_and_needs_bit_0);
	tcase_add_test(t, fcr_bit_2_drops_what_was_not_yet_sent);
	tcase_add_test(t, loopback_returns_bytes_and_keeps_the_line_quiet);
	tcase_add_loop_test(t, loopback_wires_modem_outputs_to_inputs, 0, 6);
	tcase_add_test(t, modem_changes_set_deltas_which_reading_clears);
	tcase_add_test(t, ring_counts_at_its_trailing_edge);
	tcase_add_test(t, overrun_in_loopback_keeps_the_fifo_and_drops_the_newest);
	tcase_add_test(t, overrun_without_fifo_keeps_the_newest);
	tcase_add_test(t, interrupts_are_identified_by_priority);
	tcase_add_test(t, disabling_the_interrupt_lowers_the_line);
	tcase_add_test(t, reset_lowers_the_line_and_takes_input_again);
	suite_add_tcase(s, t);
	return s;
}
