/* SPDX-License-Identifier: Apache-2.0
 *
 * The small devices of the board: keyboard controller, resets, PCI configuration, exit device.
 */
#include "proto/control.h"
#include "rig.h"
#include "suite.h"

enum { DATA = 0x60, COMMAND = 0x64, STATUS = 0x64, IRQ_KBD = 1 };
enum { OBF = 0x01, SYSTEM = 0x04, TIMEOUT = 0x40 };
enum { CF8 = 0xcf8, CF9 = 0xcf9, CFC = 0xcfc };

static struct rig *r;

static void setup(void)
{
	r = rig_new();
	i8042_init(&r->c.i8042);
	reset_control_init(&r->c.reset_control);
	pci_host_init(&r->c.pci);
	exit_device_init(&r->c.exit_device);
	ck_assert_int_eq(chipset_add(&r->c, &r->c.i8042.d), 0);
	ck_assert_int_eq(chipset_add(&r->c, &r->c.reset_control.d), 0);
	ck_assert_int_eq(chipset_add(&r->c, &r->c.pci.d), 0);
	ck_assert_int_eq(chipset_add(&r->c, &r->c.exit_device.d), 0);
}

static void teardown(void)
{
	free(r);
}

/* A command that answers with one byte. */
static uint8_t ask(uint8_t command)
{
	rig_out(r, COMMAND, command);
	ck_assert(rig_in(r, STATUS) & OBF);
	return rig_in(r, DATA);
}

START_TEST(keyboard_controller_passes_its_self_test)
{
	ck_assert_uint_eq(rig_in(r, STATUS) & OBF, 0);
	ck_assert_uint_eq(ask(0xaa), 0x55);
	ck_assert(rig_in(r, STATUS) & SYSTEM);
	ck_assert_uint_eq(rig_in(r, STATUS) & OBF, 0);
	ck_assert_uint_eq(ask(0xab), 0x00);
}
END_TEST

START_TEST(command_byte_reads_back)
{
	rig_out(r, COMMAND, 0x60);
	rig_out(r, DATA, 0x45);
	ck_assert_uint_eq(ask(0x20), 0x45);
	rig_out(r, COMMAND, 0xad);
	ck_assert_uint_eq(ask(0x20), 0x55);
	rig_out(r, COMMAND, 0xae);
	ck_assert_uint_eq(ask(0x20), 0x45);
	rig_out(r, COMMAND, 0x7f);
	rig_out(r, DATA, 0x99);
	ck_assert_uint_eq(ask(0x3f), 0x99);
	ck_assert_uint_eq(ask(0x20), 0x45);
}
END_TEST

START_TEST(an_absent_keyboard_answers_at_once_that_it_is_absent)
{
	rig_out(r, COMMAND, 0x60);
	rig_out(r, DATA, 0x01);
	rig_out(r, DATA, 0xff);
	ck_assert_uint_eq(rig_in(r, STATUS) & (OBF | TIMEOUT), OBF | TIMEOUT);
	ck_assert(rig_level(r, IRQ_KBD));
	ck_assert_uint_eq(rig_in(r, DATA), 0xfe);
	ck_assert(!rig_level(r, IRQ_KBD));
	ck_assert_uint_eq(rig_in(r, STATUS) & (OBF | TIMEOUT), 0);
}
END_TEST

START_TEST(each_waiting_byte_is_an_edge_of_its_own)
{
	rig_out(r, COMMAND, 0x60);
	rig_out(r, DATA, 0x01);
	rig_out(r, DATA, 0xff);
	rig_out(r, DATA, 0xf2);
	ck_assert_uint_eq(r->rises[IRQ_KBD], 1);
	rig_in(r, DATA);
	ck_assert_uint_eq(r->rises[IRQ_KBD], 2);
	rig_in(r, DATA);
	ck_assert(!rig_level(r, IRQ_KBD));
}
END_TEST

START_TEST(there_is_no_second_port)
{
	ck_assert_uint_ne(ask(0xa9), 0x00);
	/* The loop test answers, so that nobody waits, but not as from a mouse port. */
	rig_out(r, COMMAND, 0xd3);
	rig_out(r, DATA, 0x5a);
	ck_assert_uint_eq(rig_in(r, STATUS) & 0x21, OBF);
}
END_TEST

START_TEST(a_controller_that_nobody_reads_does_not_grow)
{
	for (unsigned i = 0; i < 1000; i++)
		rig_out(r, COMMAND, 0xaa);
	for (unsigned i = 0; i < I8042_QUEUE; i++)
		ck_assert_uint_eq(rig_in(r, DATA), 0x55);
	ck_assert_uint_eq(rig_in(r, STATUS) & OBF, 0);
}
END_TEST

START_TEST(output_port_holds_a20_and_reset)
{
	ck_assert_uint_eq(ask(0xd0) & 3, 3);
	rig_out(r, COMMAND, 0xd1);
	rig_out(r, DATA, 0xdd);
	ck_assert_uint_eq(ask(0xd0), 0xdd);
	ck_assert_uint_eq(r->events, 0);
	rig_out(r, COMMAND, 0xd1);
	rig_out(r, DATA, 0xfe);
	ck_assert_uint_eq(r->event, GUEST_RESET);
}
END_TEST

/* One gate, which the last to move it has moved. */
START_TEST(a20_is_one_gate_with_two_handles)
{
	ck_assert(r->c.a20);
	rig_out(r, 0x92, 0x00);
	ck_assert(!r->c.a20);
	ck_assert_uint_eq(ask(0xd0) & 3, 1);
	rig_out(r, COMMAND, 0xd1);
	rig_out(r, DATA, 0xdf);
	ck_assert(r->c.a20);
	ck_assert_uint_eq(rig_in(r, 0x92), 0x02);
	rig_out(r, COMMAND, 0xdd);
	ck_assert(!r->c.a20);
	ck_assert_uint_eq(rig_in(r, 0x92), 0x00);
	rig_out(r, COMMAND, 0xdf);
	ck_assert(r->c.a20);
	rig_out(r, 0x92, 0x00);
	chipset_reset(&r->c);
	ck_assert(r->c.a20);
	ck_assert_uint_eq(r->events, 0);
}
END_TEST

START_TEST(pulsing_line_0_resets)
{
	rig_out(r, COMMAND, 0xff);
	rig_out(r, COMMAND, 0xfd);
	ck_assert_uint_eq(r->events, 0);
	rig_out(r, COMMAND, 0xfe);
	ck_assert_uint_eq(r->events, 1);
	ck_assert_uint_eq(r->event, GUEST_RESET);
}
END_TEST

START_TEST(port_92_resets_on_the_rising_edge_of_bit_0)
{
	ck_assert_uint_eq(rig_in(r, 0x92), 0x02);
	rig_out(r, 0x92, 0x02);
	ck_assert_uint_eq(r->events, 0);
	rig_out(r, 0x92, 0x03);
	ck_assert_uint_eq(r->events, 1);
	rig_out(r, 0x92, 0x03);
	ck_assert_uint_eq(r->events, 1);
}
END_TEST

START_TEST(cf9_resets_on_the_rising_edge_of_bit_2)
{
	rig_out(r, CF9, 0x02);
	ck_assert_uint_eq(r->events, 0);
	ck_assert_uint_eq(rig_in(r, CF9), 0x02);
	rig_out(r, CF9, 0x06);
	ck_assert_uint_eq(r->events, 1);
	ck_assert_uint_eq(r->event, GUEST_RESET);
	rig_out(r, CF9, 0x06);
	ck_assert_uint_eq(r->events, 1);
	chipset_reset(&r->c);
	rig_out(r, CF9, 0x0e);
	ck_assert_uint_eq(r->events, 2);
}
END_TEST

static uint32_t config(uint32_t address)
{
	chipset_pio_write(&r->c, CF8, 4, address);
	return (uint32_t)chipset_pio_read(&r->c, CFC, 4);
}

START_TEST(pci_has_a_host_bridge_and_nothing_else)
{
	for (uint32_t bus = 0; bus < 256; bus += 51)
		for (uint32_t slot = 0; slot < 256; slot++) {
			uint32_t id = config(0x80000000 | bus << 16 | slot << 8);

			if (bus || slot)
				ck_assert_uint_eq(id, 0xffffffff);
			else
				ck_assert_uint_eq(id, 0x71928086);
		}
	ck_assert_uint_eq(config(0x80000008) >> 16, 0x0600);
	ck_assert_uint_eq(config(0x8000000c) >> 16 & 0xff, 0x00); /* header type, one function */
}
END_TEST

START_TEST(pci_address_register_takes_dwords_only)
{
	chipset_pio_write(&r->c, CF8, 4, 0x80000008);
	ck_assert_uint_eq(chipset_pio_read(&r->c, CF8, 4), 0x80000008);
	chipset_pio_write(&r->c, CF8, 2, 0x1234);
	chipset_pio_write(&r->c, CF8, 1, 0x56);
	ck_assert_uint_eq(chipset_pio_read(&r->c, CF8, 4), 0x80000008);
	ck_assert_uint_eq(chipset_pio_read(&r->c, CF8, 1), 0xff);
	/* Reserved bits read as zero. */
	chipset_pio_write(&r->c, CF8, 4, 0xffffffff);
	ck_assert_uint_eq(chipset_pio_read(&r->c, CF8, 4), 0x80fffffc);
	/* A dword with a byte for CF9 in it is no reset. */
	ck_assert_uint_eq(r->events, 0);
}
END_TEST

START_TEST(pci_config_is_reachable_in_bytes_and_words)
{
	config(0x80000000);
	ck_assert_uint_eq(rig_in(r, CFC), 0x86);
	ck_assert_uint_eq(rig_in(r, CFC + 3), 0x71);
	ck_assert_uint_eq(chipset_pio_read(&r->c, CFC + 2, 2), 0x7192);
	ck_assert_uint_eq(chipset_pio_read(&r->c, CFC + 1, 2), 0x9280);
}
END_TEST

START_TEST(pci_without_the_enable_bit_answers_ones)
{
	ck_assert_uint_eq(config(0x00000000), 0xffffffff);
}
END_TEST

START_TEST(pci_identity_cannot_be_written_chipset_registers_can)
{
	for (unsigned reg = 0; reg < 256; reg += 4) {
		chipset_pio_write(&r->c, CF8, 4, 0x80000000 | reg);
		chipset_pio_write(&r->c, CFC, 4, 0xffffffff);
	}
	ck_assert_uint_eq(config(0x80000000), 0x71928086);
	ck_assert_uint_eq(config(0x80000008), 0x06000003);
	ck_assert_uint_eq(config(0x80000010), 0); /* no BAR */
	ck_assert_uint_eq(config(0x800000fc), 0xffffffff);
	chipset_reset(&r->c);
	ck_assert_uint_eq(config(0x800000fc), 0);
}
END_TEST

START_TEST(exit_device_passes_on_what_was_written)
{
	static const struct {
		unsigned size;
		uint32_t value;
	} row[] = {{1, 0x7f}, {2, 0xbeef}, {4, 0xdeadbeef}};

	chipset_pio_write(&r->c, 0xf4, row[_i].size, row[_i].value);
	ck_assert_uint_eq(r->events, 1);
	ck_assert_uint_eq(r->event, GUEST_EXIT);
	ck_assert_uint_eq(r->value, row[_i].value);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("board");
	TCase *t = tcase_create("board");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, keyboard_controller_passes_its_self_test);
	tcase_add_test(t, command_byte_reads_back);
	tcase_add_test(t, an_absent_keyboard_answers_at_once_that_it_is_absent);
	tcase_add_test(t, each_waiting_byte_is_an_edge_of_its_own);
	tcase_add_test(t, there_is_no_second_port);
	tcase_add_test(t, a_controller_that_nobody_reads_does_not_grow);
	tcase_add_test(t, output_port_holds_a20_and_reset);
	tcase_add_test(t, a20_is_one_gate_with_two_handles);
	tcase_add_test(t, pulsing_line_0_resets);
	tcase_add_test(t, port_92_resets_on_the_rising_edge_of_bit_0);
	tcase_add_test(t, cf9_resets_on_the_rising_edge_of_bit_2);
	tcase_add_test(t, pci_has_a_host_bridge_and_nothing_else);
	tcase_add_test(t, pci_address_register_takes_dwords_only);
	tcase_add_test(t, pci_config_is_reachable_in_bytes_and_words);
	tcase_add_test(t, pci_without_the_enable_bit_answers_ones);
	tcase_add_test(t, pci_identity_cannot_be_written_chipset_registers_can);
	tcase_add_loop_test(t, exit_device_passes_on_what_was_written, 0, 3);
	suite_add_tcase(s, t);
	return s;
}
