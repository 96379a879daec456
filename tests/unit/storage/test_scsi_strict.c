/* SPDX-License-Identifier: Apache-2.0
 *
 * What the standards ask of a unit beyond reading and writing: that it refuses what it does not do, says
 * what is mapped, keeps its word about the cache, and has a drive's mode page and structures.
 */
#include "scsi_rig.h"
#include "tests/unit/run_suite.h"

/* SBC-3: RDPROTECT, WRPROTECT, VRPROTECT without protection information. */
START_TEST(protection_information_is_refused)
{
	static const uint8_t ops[] = {0x28, 0xa8, 0x88, 0x2a, 0xaa, 0x8a, 0x2e, 0x2f, 0x8f, 0x41, 0x93};

	for (size_t i = 0; i < sizeof(ops); i++) {
		uint8_t cdb[16] = {ops[i], 0x20};

		if (ops[i] >> 5 == 4)
			cdb[13] = 1;
		else
			cdb[ops[i] >> 5 == 5 ? 9 : 8] = 1;
		run(cdb, 16, 512);
		failed(5, 0x24, 0);
		cdb[1] = 0;
		run(cdb, 16, 512);
		ck_assert_msg(cmd.status == 0, "%02x", ops[i]);
	}
}
END_TEST

START_TEST(anchors_are_refused_as_they_are_not_announced)
{
	memset(data, 0, 24);
	data[1] = 22;
	data[3] = 16;
	data[19] = 8;
	RUN(24, 0x42, 1, 0, 0, 0, 0, 0, 0, 24, 0);
	failed(5, 0x24, 0);
	RUN(24, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	good(24);
	RUN(512, 0x93, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
	failed(5, 0x24, 0);
	RUN(255, 0x12, 1, 0xb2, 0, 255, 0);
	ck_assert_uint_eq(data[5] & 0x02, 0); /* ANC_SUP */
}
END_TEST

/* SBC-3 table 57; a VHD of 2 MiB blocks of which the second is written. */
START_TEST(get_lba_status_tells_what_is_mapped)
{
	open_disk(DISK_FORMAT_VHD);
	memset(data, 1, 512);
	RUN(512, 0x2a, 0, 0, 0, 0x10, 0, 0, 0, 1, 0);
	good(512);
	RUN(255, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	good(24);
	ck_assert_mem_eq(data, "\0\0\0\x14\0\0\0\0", 8);
	ck_assert_mem_eq(data + 8, "\0\0\0\0\0\0\0\0\0\0\x10\0\1\0\0\0", 16);
	RUN(255, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 255, 0, 0);
	good(24);
	ck_assert_mem_eq(data + 8, "\0\0\0\0\0\0\x10\0", 8);
	ck_assert_uint_eq(data[20], 0);                             /* mapped */
	ck_assert(data[18] || data[19]);                            /* a block at least, */
	ck_assert(!data[16] && !data[17] && data[18] <= 0x10);      /* at most the VHD's */
	RUN(255, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 255, 0, 0);
	failed(5, 0x21, 0);
	RUN(8, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
	good(8);
	RUN(255, 0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	failed(5, 0x24, 0);
}
END_TEST

START_TEST(write_and_verify_is_durable)
{
	RUN(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	good(512);
	ck_assert_uint_eq(durable_writes + syncs, 0);
	RUN(512, 0x2e, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	good(512);
	ck_assert_uint_eq(durable_writes, 1);
	RUN(512, 0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0);
	good(512);
	ck_assert_uint_eq(durable_writes, 2);
}
END_TEST

static void select_cache(uint8_t flags, uint8_t wce, uint8_t ra)
{
	memset(data, 0, 24);
	data[4] = 0x08;
	data[5] = 18;
	data[6] = wce;
	data[8] = ra;
	RUN(24, 0x15, flags, 0, 0, 24, 0);
}

START_TEST(a_cache_that_is_turned_off_is_written_out)
{
	RUN(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	good(512);
	select_cache(0x10, 0x04, 0);
	good(24);
	ck_assert_uint_eq(syncs, 0);
	select_cache(0x10, 0, 0);
	good(24);
	ck_assert_uint_eq(syncs, 1);
	select_cache(0x10, 0, 0);
	ck_assert_uint_eq(syncs, 1); /* there was none */
	RUN(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	good(512);
	ck_assert_uint_eq(durable_writes, 1);
}
END_TEST

START_TEST(mode_parameters_that_cannot_change_do_not)
{
	select_cache(0x11, 0, 0); /* SP */
	failed(5, 0x24, 0);
	select_cache(0x10, 0x01, 0); /* RCD */
	failed(5, 0x26, 0);
	select_cache(0x10, 0, 0x20);
	failed(5, 0x26, 0);
	ck_assert(!unit.write_through);
	RUN(255, 0x5a, 0, 0xc8, 0, 0, 0, 0, 0, 255, 0);
	failed(5, 0x39, 0); /* saved values */
	RUN(255, 0x5a, 0, 0x48, 0, 0, 0, 0, 0, 255, 0);
	good(28);
	ck_assert_mem_eq(data + 8, "\x08\x12\x04\0\0\0\0\0", 8); /* what may be changed */
}
END_TEST

START_TEST(request_sense_tells_of_an_attention_once)
{
	scsi_size_changed(&unit);
	RUN(252, 0x03, 0, 0, 0, 252, 0);
	good(18);
	ck_assert_uint_eq(data[0], 0x70);
	ck_assert_uint_eq(data[2], 6);
	ck_assert_mem_eq(data + 12, "\x2a\x09", 2);
	RUN(0, 0x00, 0, 0, 0, 0, 0);
	good(0);
	scsi_size_changed(&unit);
	RUN(252, 0x03, 1, 0, 0, 252, 0);
	good(8);
	ck_assert_mem_eq(data, "\x72\x06\x2a\x09\0\0\0\0", 8); /* SPC-4 4.5.2 */
	RUN(252, 0x03, 0, 0, 0, 252, 0);
	good(18);
	ck_assert_mem_eq(data, "\x70\0\0", 3);
}
END_TEST

START_TEST(luns_are_reported_as_asked_for)
{
	RUN(255, 0xa0, 0, 2, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	ck_assert_mem_eq(data, "\0\0\0\x18", 4); /* 0, 5 and 63 */
	RUN(255, 0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	good(8);
	ck_assert_mem_eq(data, "\0\0\0\0", 4); /* well-known ones */
	RUN(255, 0xa0, 0, 0x33, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	failed(5, 0x24, 0);
	RUN(255, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0);
	failed(5, 0x24, 0);
}
END_TEST

START_TEST(a_self_test_passes)
{
	RUN(0, 0x1d, 4, 0, 0, 0, 0);
	good(0);
	RUN(0, 0x1d, 0x20, 0, 0, 0, 0);
	failed(5, 0x24, 0);
}
END_TEST

/* Linux warns of a granularity that is no multiple of the physical block. */
START_TEST(transfers_are_best_in_physical_blocks)
{
	RUN(255, 0x12, 1, 0xb0, 0, 255, 0);
	ck_assert_mem_eq(data + 6, "\0\x08", 2);
	ck_assert_mem_eq(data + 28, "\0\0\0\x08", 4);
	RUN(255, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0);
	ck_assert_uint_eq(data[13] & 0x0f, 3); /* 2 to the 3rd of 512 */
}
END_TEST

/* Linux (drivers/scsi/sr.c, get_capabilities) takes a drive without page 2Ah for one of SCSI-1 without DVD. */
START_TEST(a_drive_says_that_it_reads_dvds)
{
	unit.kind = SCSI_CDROM;
	unit.read_only = true;
	RUN(255, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0);
	good(8 + 22);
	ck_assert_uint_eq(data[3], 0); /* reserved in MMC */
	ck_assert_mem_eq(data + 8, "\x2a\x14", 2);
	ck_assert_uint_eq(data[10] & 0x08, 0x08); /* DVD-ROM */
	ck_assert_uint_eq(data[11], 0);           /* writes nothing */
	ck_assert_uint_eq(data[14] & 0xe9, 0x29); /* tray, eject, lock */
	RUN(0, 0x1e, 0, 0, 0, 1, 0);
	RUN(255, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0);
	ck_assert_uint_eq(data[14] & 0x02, 0x02); /* locked */
	RUN(255, 0x1a, 0, 0x3f, 0, 255, 0);
	good(4 + 12 + 12 + 22);
	RUN(255, 0x1a, 0, 0x08, 0, 255, 0);
	failed(5, 0x24, 0); /* a disk's page */
	unit.disk = NULL;
	RUN(255, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0);
	good(8 + 22); /* empty, too */
}
END_TEST

START_TEST(a_drive_lists_its_features)
{
	static const uint8_t all[] = {
		0, 0, 0, 52, 0, 0, 0, 0x10, /* 52 bytes follow the first four */
		0, 0, 3, 8, 0, 0x10, 1, 0, 0, 8, 0, 0, /* profiles: DVD-ROM, current; CD-ROM */
		0, 1, 0x0b, 8, 0, 0, 0, 1, 0, 0, 0, 0, /* core */
		0, 3, 3, 4, 0x29, 0, 0, 0,             /* removable medium */
		0, 0x10, 1, 8, 0, 0, 8, 0, 0, 16, 0, 0, /* random readable */
		0, 0x1f, 1, 0,                          /* DVD read */
	};

	unit.kind = SCSI_CDROM;
	RUN(255, 0x46, 0, 0, 0, 0, 0, 0, 0, 255, 0);
	good(sizeof(all));
	ck_assert_mem_eq(data, all, sizeof(all));
	RUN(255, 0x46, 2, 0, 3, 0, 0, 0, 0, 255, 0); /* only feature 3 */
	good(16);
	ck_assert_mem_eq(data, "\0\0\0\x0c\0\0\0\x10\0\x03\x03\x04\x29", 13);
	unit.ejected = true;
	RUN(255, 0x46, 1, 0, 0, 0, 0, 0, 0, 255, 0); /* current ones */
	good(8 + 12 + 12 + 8);
	ck_assert_uint_eq(data[7], 0);
	RUN(255, 0x46, 3, 0, 0, 0, 0, 0, 0, 255, 0);
	failed(5, 0x24, 0);
}
END_TEST

/* Of 2000h blocks, as in MMC-6 tables 482 and 410 and on. */
START_TEST(a_dvd_has_a_track_and_structures)
{
	unit.kind = SCSI_CDROM;
	RUN(255, 0x52, 1, 0, 0, 0, 1, 0, 0, 255, 0);
	good(48);
	ck_assert_mem_eq(data, "\0\x2e\1\1\0\4\1\2\0\0\0\0", 12);
	ck_assert_mem_eq(data + 24, "\0\0\x20\0\0\0\x1f\xff", 8);
	RUN(255, 0x52, 0, 0, 0, 0x20, 0, 0, 0, 255, 0);
	failed(5, 0x24, 0); /* behind the end */
	RUN(255, 0x52, 1, 0, 0, 0, 2, 0, 0, 255, 0);
	failed(5, 0x24, 0);
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0);
	good(2052);
	ck_assert_mem_eq(data, "\x08\x02\0\0\x01\x0f\x01\0\0\3\0\0\0\3\x1f\xff", 16);
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 1, 0x10, 0, 0, 0);
	good(8);
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 0xff, 0x10, 0, 0, 0);
	good(16);
	ck_assert_mem_eq(data, "\0\x0e", 2);
	RUN(4096, 0xad, 1, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0);
	failed(5, 0x24, 0); /* of a Blu-ray */
	unit.ejected = true;
	RUN(4096, 0xad, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0);
	failed(2, 0x3a, 0);
	RUN(255, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0);
	good(8);
	ck_assert_mem_eq(data, "\0\x10\0\0\0\0\0\0", 8); /* the tray is open */
	unit.kind = SCSI_DISK;
	unit.ejected = false;
	RUN(255, 0x52, 1, 0, 0, 0, 1, 0, 0, 255, 0);
	failed(5, 0x20, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("scsi strict");
	TCase *t = tcase_create("unit");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, protection_information_is_refused);
	tcase_add_test(t, anchors_are_refused_as_they_are_not_announced);
	tcase_add_test(t, get_lba_status_tells_what_is_mapped);
	tcase_add_test(t, write_and_verify_is_durable);
	tcase_add_test(t, a_cache_that_is_turned_off_is_written_out);
	tcase_add_test(t, mode_parameters_that_cannot_change_do_not);
	tcase_add_test(t, request_sense_tells_of_an_attention_once);
	tcase_add_test(t, luns_are_reported_as_asked_for);
	tcase_add_test(t, a_self_test_passes);
	tcase_add_test(t, transfers_are_best_in_physical_blocks);
	tcase_add_test(t, a_drive_says_that_it_reads_dvds);
	tcase_add_test(t, a_drive_lists_its_features);
	tcase_add_test(t, a_dvd_has_a_track_and_structures);
	suite_add_tcase(s, t);
	return run_suite(s);
}
