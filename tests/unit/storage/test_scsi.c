/* SPDX-License-Identifier: Apache-2.0
 *
 * SCSI units against the standards' layouts. Command blocks and expected bytes are written out by
 * hand from SPC-4, SBC-3 and MMC-6.
 */
#include "scsi_rig.h"
#include "tests/unit/run_suite.h"

START_TEST(inquiry_names_the_unit)
{
	RUN(255, 0x12, 0, 0, 0, 255, 0);
	good(96);
	ck_assert_uint_eq(data[0], 0x00); /* direct access */
	ck_assert_uint_eq(data[1], 0x00); /* not removable */
	ck_assert_uint_eq(data[2], 0x06); /* SPC-4 */
	ck_assert_uint_eq(data[3] & 0x0f, 2);
	ck_assert_uint_eq(data[4], 96 - 5);
	ck_assert_mem_eq(data + 8, "BulkheadVirtual Disk    ", 24);
	RUN(255, 0x12, 0, 0, 0, 36, 0);
	good(36); /* the allocation length */
	RUN(5, 0x12, 0, 0, 0, 255, 0);
	good(5); /* the guest's room */
	RUN(255, 0x12, 0, 0x80, 0, 255, 0);
	failed(5, 0x24, 0); /* a page without EVPD */
}
END_TEST

START_TEST(vital_product_data_follow_their_layouts)
{
	static const uint8_t pages[] = {0, 0x00, 0, 6, 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};

	RUN(255, 0x12, 1, 0x00, 0, 255, 0);
	good(10);
	ck_assert_mem_eq(data, pages, 10);
	RUN(255, 0x12, 1, 0x80, 0, 255, 0);
	good(12);
	ck_assert_mem_eq(data,
			 "\x00\x80\x00\x08"
			 "0123-ABC",
			 12);
	RUN(255, 0x12, 1, 0x83, 0, 255, 0);
	good(4 + 4 + 16 + 12);
	ck_assert_mem_eq(data,
			 "\x00\x83\x00\x20\x02\x01\x00\x10"
			 "Bulkhead0123-ABC"
			 "\x01\x03\x00\x08\x3b\x7f\xaf\x0e\x96\xf0\xf2\x3c", /* NAA 3: FNV-1a of the
										serial */
			 36);
	RUN(255, 0x12, 1, 0xb0, 0, 255, 0);
	good(64);
	ck_assert_mem_eq(data, "\x00\xb0\x00\x3c\x01", 5);
	ck_assert_mem_eq(data + 20, "\x00\x40\x00\x00\x00\x00\x01\x00", 8); /* UNMAP's limits */
	RUN(255, 0x12, 1, 0xb1, 0, 255, 0);
	good(64);
	ck_assert_mem_eq(data, "\x00\xb1\x00\x3c\x00\x01", 6); /* does not rotate */
	RUN(255, 0x12, 1, 0xb2, 0, 255, 0);
	good(8);
	ck_assert_mem_eq(data, "\x00\xb2\x00\x04", 4);
	ck_assert_uint_eq(data[5] & 0xe0, 0xe0); /* LBPU, LBPWS, LBPWS10 */
	ck_assert_uint_eq(data[6], 2);           /* thin */
	RUN(255, 0x12, 1, 0xb9, 0, 255, 0);
	failed(5, 0x24, 0);
}
END_TEST

START_TEST(capacity_is_the_last_block_and_the_block_size)
{
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	good(8);
	ck_assert_mem_eq(data, "\x00\x00\x7f\xff\x00\x00\x02\x00", 8);
	RUN(32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	good(32);
	ck_assert_mem_eq(data, "\x00\x00\x00\x00\x00\x00\x7f\xff\x00\x00\x02\x00", 12);
	ck_assert_uint_eq(data[14] & 0x80, 0x80); /* thin provisioning */
	RUN(32, 0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	failed(5, 0x24, 0);
}
END_TEST

START_TEST(report_luns_lists_what_the_target_has)
{
	RUN(255, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	good(8 + 3 * 8);
	ck_assert_mem_eq(data, "\x00\x00\x00\x18\x00\x00\x00\x00", 8);
	ck_assert_mem_eq(data + 8, "\x00\x00\x00\x00\x00\x00\x00\x00", 8);
	ck_assert_mem_eq(data + 16, "\x00\x05\x00\x00\x00\x00\x00\x00", 8);
	ck_assert_mem_eq(data + 24, "\x00\x3f\x00\x00\x00\x00\x00\x00", 8);
}
END_TEST

START_TEST(the_write_cache_bit_is_true)
{
	static const uint8_t off[] = {0, 0, 0, 0, 0x08, 18, 0, 0, 0, 0, 0, 0,
				      0, 0, 0, 0, 0,    0,  0, 0, 0, 0, 0, 0};

	RUN(255, 0x1a, 0, 0x08, 0, 255, 0);
	good(4 + 20);
	ck_assert_mem_eq(data, "\x17\x00\x10\x00\x08\x12\x04", 7);
	memcpy(data, off, sizeof(off));
	RUN(sizeof(off), 0x15, 0x10, 0, 0, sizeof(off), 0);
	ck_assert_int_eq(cmd.status, 0);
	RUN(255, 0x1a, 0, 0x08, 0, 255, 0);
	ck_assert_uint_eq(data[6] & 0x04, 0);
	RUN(255, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0);
	good(8 + 20 + 12);
	ck_assert_mem_eq(data, "\x00\x26\x00\x10\x00\x00\x00\x00", 8);
	unit.read_only = true;
	RUN(255, 0x1a, 0, 0x3f, 0, 255, 0);
	ck_assert_uint_eq(data[2] & 0x80, 0x80); /* write protected */
	RUN(255, 0x1a, 0, 0x1c, 0, 255, 0);
	failed(5, 0x24, 0);
}
END_TEST

/* Each opcode writes or reads the same block of the disk. */
START_TEST(every_size_of_command_reaches_its_block)
{
	uint8_t image[512];

	memset(data, 0xa1, 512);
	RUN(512, 0x0a, 0x00, 0x12, 0x34, 1, 0); /* WRITE 6 to block 1234h */
	good(512);
	ck_assert_int_eq(disk_read(unit.disk, image, 512, 0x1234 * 512), 0);
	ck_assert_mem_eq(image, data, 512);
	memset(data, 0, 512);
	RUN(512, 0x08, 0x00, 0x12, 0x34, 1, 0);
	good(512);
	ck_assert_mem_eq(image, data, 512);
	memset(data, 0, 512);
	RUN(512, 0x28, 0, 0, 0, 0x12, 0x34, 0, 0, 1, 0);
	ck_assert_mem_eq(image, data, 512);
	memset(data, 0, 512);
	RUN(512, 0xa8, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 1, 0, 0);
	ck_assert_mem_eq(image, data, 512);
	memset(data, 0, 512);
	RUN(512, 0x88, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 1, 0, 0);
	ck_assert_mem_eq(image, data, 512);
	RUN(0, 0x28, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 0);
	good(0); /* no blocks: no error */
}
END_TEST

START_TEST(blocks_beyond_the_end_are_refused)
{
	RUN(1024, 0x28, 0, 0, 0, 0x7f, 0xff, 0, 0, 2, 0);
	failed(5, 0x21, 0);
	RUN(1024, 0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2, 0, 0);
	failed(5, 0x21, 0);
	RUN(1024, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0);
	failed(5, 0x21, 0);
	RUN(0, 0x91, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2, 0, 0);
	failed(5, 0x21, 0);
	RUN(512, 0x93, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2, 0, 0);
	failed(5, 0x21, 0);
}
END_TEST

/* It carries no data, and would keep its thread as long as it takes to read the disk. The limit is
 * the one announced: block limits page, bytes 8 to 11. */
START_TEST(a_verify_is_no_longer_than_a_transfer)
{
	open_disk_of(DISK_FORMAT_RAW, 256 << 20);
	RUN(64, 0x12, 1, 0xb0, 0, 64, 0);
	ck_assert_mem_eq(data + 8, ((uint8_t[]){0, 2, 0, 0}), 4);
	RUN(0, 0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0); /* 20000h blocks */
	good(0);
	RUN(0, 0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0);
	failed(5, 0x24, 0x00);
}
END_TEST

START_TEST(a_read_only_unit_takes_no_write)
{
	unit.read_only = true;
	RUN(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	failed(7, 0x27, 0);
	RUN(24, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	failed(7, 0x27, 0);
	RUN(512, 0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	failed(7, 0x27, 0);
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	good(512);
}
END_TEST

/* Two descriptors: blocks 8 to 15, and 4000h to 40ffh. */
static const uint8_t unmap[] = {0, 38, 0, 32, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0, 8, 0, 0, 0, 8,
				0, 0,  0, 0,  0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 0, 0, 0, 0, 0};

START_TEST(unmapped_blocks_read_as_zero_and_their_neighbours_stay)
{
	unit.disk = NULL;
	open_disk(_i ? DISK_FORMAT_VHD : DISK_FORMAT_RAW);
	memset(data, 0x5a, sizeof(data));
	RUN(65536, 0x2a, 0, 0, 0, 0, 0, 0, 0, 128, 0);
	good(65536);
	memcpy(data, unmap, sizeof(unmap));
	RUN(sizeof(unmap), 0x42, 0, 0, 0, 0, 0, 0, 0, sizeof(unmap), 0);
	ck_assert_int_eq(cmd.status, 0);
	RUN(24 * 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	for (unsigned i = 0; i < 24 * 512; i++)
		ck_assert_uint_eq(data[i], i / 4096 == 1 ? 0 : 0x5a);
}
END_TEST

START_TEST(an_unmap_list_that_is_wrong_changes_nothing)
{
	memset(data, 0x5a, 8192);
	RUN(8192, 0x2a, 0, 0, 0, 0, 0, 0, 0, 16, 0);
	memcpy(data, unmap, sizeof(unmap));
	data[30] = 0xff; /* the second range is beyond the end */
	RUN(sizeof(unmap), 0x42, 0, 0, 0, 0, 0, 0, 0, sizeof(unmap), 0);
	failed(5, 0x21, 0);
	memcpy(data, unmap, sizeof(unmap));
	RUN(sizeof(unmap), 0x42, 0, 0, 0, 0, 0, 0, 0, 200, 0);
	failed(5, 0x1a, 0); /* more list than there is */
	RUN(8192, 0x28, 0, 0, 0, 0, 0, 0, 0, 16, 0);
	for (unsigned i = 0; i < 8192; i++)
		ck_assert_uint_eq(data[i], 0x5a);
}
END_TEST

/* The limit announced (block limits page, bytes 20 to 23) is the whole command's. */
START_TEST(an_unmap_is_no_larger_than_its_limit)
{
	static const uint8_t two[40] = {0, 38, 0, 32, [16] = 0, 0x20, 0, 0, [32] = 0, 0x20, 0, 0};

	open_disk_of(DISK_FORMAT_RAW, 8ull << 30);
	memcpy(data, two, sizeof(two));
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0); /* 2 * 200000h blocks */
	ck_assert_int_eq(cmd.status, 0);
	memcpy(data, two, sizeof(two));
	data[35] = 1;
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0);
	failed(5, 0x26, 0);
}
END_TEST

/* Byte 36 on: of 8 bytes. */
START_TEST(a_write_same_is_no_larger_than_its_limit)
{
	open_disk_of(DISK_FORMAT_RAW, 1 << 30);
	RUN(64, 0x12, 1, 0xb0, 0, 64, 0);
	ck_assert_mem_eq(data + 36, ((uint8_t[]){0, 0, 0, 0, 0, 1, 0, 0}), 8);
	RUN(0, 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0);
	ck_assert_int_eq(cmd.status, 0);
	RUN(0, 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0);
	failed(5, 0x24, 0);
}
END_TEST

START_TEST(a_dvd_is_ejected_and_loaded_unless_that_is_prevented)
{
	unit.kind = SCSI_CDROM;
	RUN(0, 0x1e, 0, 0, 0, 1, 0);
	good(0);
	RUN(0, 0x1b, 0, 0, 0, 2, 0);
	failed(5, 0x53, 0x02);
	RUN(0, 0x00, 0, 0, 0, 0, 0);
	good(0);
	RUN(0, 0x1e, 0, 0, 0, 0, 0);
	good(0);
	RUN(0, 0x1b, 0, 0, 0, 2, 0);
	good(0);
	RUN(0, 0x00, 0, 0, 0, 0, 0);
	failed(2, 0x3a, 0);
	RUN(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0);
	good(8);
	ck_assert_uint_eq(data[5], 1); /* the tray is open */
	RUN(0, 0x1b, 0, 0, 0, 3, 0);
	good(0);
	RUN(0, 0x00, 0, 0, 0, 0, 0);
	failed(6, 0x28, 0);
	RUN(2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	good(2048);
}
END_TEST

START_TEST(write_same_repeats_its_block)
{
	for (unsigned i = 0; i < 512; i++)
		data[i] = (uint8_t)i ^ 0x33;
	RUN(512, 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 3, 0, 0);
	ck_assert_int_eq(cmd.status, 0);
	memset(data, 0, sizeof(data));
	RUN(2560, 0x28, 0, 0, 0, 0, 63, 0, 0, 5, 0);
	for (unsigned i = 0; i < 2560; i++)
		ck_assert_uint_eq(data[i], i / 512 >= 1 && i / 512 <= 3 ? ((uint8_t)i ^ 0x33) : 0);
	RUN(0, 0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0); /* no data: zeroes */
	ck_assert_int_eq(cmd.status, 0);
	RUN(1536, 0x28, 0, 0, 0, 0, 64, 0, 0, 3, 0);
	for (unsigned i = 0; i < 1536; i++)
		ck_assert_uint_eq(data[i], i < 1024 ? 0 : ((uint8_t)i ^ 0x33));
	RUN(512, 0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	failed(5, 0x24, 0); /* 0 blocks would mean all of them */
}
END_TEST

START_TEST(a_change_of_size_is_said_once)
{
	scsi_size_changed(&unit);
	RUN(255, 0x12, 0, 0, 0, 255, 0);
	ck_assert_int_eq(cmd.status, 0); /* INQUIRY does not report it */
	RUN(0, 0x00, 0, 0, 0, 0, 0);
	failed(6, 0x2a, 0x09);
	RUN(0, 0x00, 0, 0, 0, 0, 0);
	good(0);
}
END_TEST

START_TEST(a_dvd_has_blocks_of_2048_and_one_track)
{
	unit.kind = SCSI_CDROM;
	RUN(255, 0x12, 0, 0, 0, 255, 0);
	ck_assert_mem_eq(data, "\x05\x80", 2); /* removable */
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	ck_assert_mem_eq(data, "\x00\x00\x1f\xff\x00\x00\x08\x00", 8);
	RUN(255, 0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0);
	good(20);
	ck_assert_mem_eq(data, "\x00\x12\x01\x01\x00\x14\x01\x00\x00\x00\x00\x00", 12);
	ck_assert_mem_eq(data + 12, "\x00\x14\xaa\x00\x00\x00\x20\x00", 8); /* lead-out */
	RUN(2048, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	failed(7, 0x27, 0);
	unit.disk = NULL;
	RUN(0, 0x00, 0, 0, 0, 0, 0);
	failed(2, 0x3a, 0); /* no medium */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("scsi");
	TCase *t = tcase_create("unit");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, inquiry_names_the_unit);
	tcase_add_test(t, vital_product_data_follow_their_layouts);
	tcase_add_test(t, capacity_is_the_last_block_and_the_block_size);
	tcase_add_test(t, report_luns_lists_what_the_target_has);
	tcase_add_test(t, the_write_cache_bit_is_true);
	tcase_add_test(t, every_size_of_command_reaches_its_block);
	tcase_add_test(t, blocks_beyond_the_end_are_refused);
	tcase_add_test(t, a_verify_is_no_longer_than_a_transfer);
	tcase_add_test(t, a_read_only_unit_takes_no_write);
	tcase_add_loop_test(t, unmapped_blocks_read_as_zero_and_their_neighbours_stay, 0, 2);
	tcase_add_test(t, an_unmap_list_that_is_wrong_changes_nothing);
	tcase_add_test(t, an_unmap_is_no_larger_than_its_limit);
	tcase_add_test(t, a_write_same_is_no_larger_than_its_limit);
	tcase_add_test(t, a_dvd_is_ejected_and_loaded_unless_that_is_prevented);
	tcase_add_test(t, write_same_repeats_its_block);
	tcase_add_test(t, a_change_of_size_is_said_once);
	tcase_add_test(t, a_dvd_has_blocks_of_2048_and_one_track);
	suite_add_tcase(s, t);
	return run_suite(s);
}
