/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of LVM volumes, as lvm(8) and dmsetup print them.
 */
#include "vsp/storage/disk/cmd/cmd.h"
#include "tests/unit/run_suite.h"

#include <check.h>

static const struct {
	const char *device, *volume, *sibling; /* sibling NULL: not LVM's */
} names[] = {
	{"/dev/vg/lv", "snap", "/dev/vg/snap"},
	{"/dev/my-vg/my-lv", "snap", "/dev/my-vg/snap"},
	{"/dev/mapper/vg-lv", "snap", "/dev/mapper/vg-snap"},
	{"/dev/mapper/vg-a--lv", "snap", "/dev/mapper/vg-snap"},
	{"/dev/mapper/my--vg-lv", "snap", "/dev/mapper/my--vg-snap"},
	{"/dev/mapper/my----vg-a--lv--b", "snap", "/dev/mapper/my----vg-snap"},
	{"/dev/mapper/vg-lv", "bulkhead-import-7", "/dev/mapper/vg-bulkhead--import--7"},
	{"/dev/mapper/crypt", "snap", NULL},
	{"/dev/mapper/my--crypt", "snap", NULL},
	{"/dev/mapper/-lv", "snap", NULL},
};

START_TEST(a_volume_of_the_same_group_has_the_name_that_lvm_gives_it)
{
	char path[PATH_MAX];
	int rc = lvm_sibling(names[_i].device, names[_i].volume, path, sizeof(path));

	ck_assert_int_eq(rc, names[_i].sibling ? 0 : -1);
	if (names[_i].sibling)
		ck_assert_str_eq(path, names[_i].sibling);
}
END_TEST

START_TEST(a_name_that_does_not_fit_is_refused)
{
	char path[20];

	ck_assert_int_eq(lvm_sibling("/dev/mapper/vg-lv", "a-longer-name", path, sizeof(path)), -1);
	ck_assert_int_eq(lvm_sibling("/dev/vg/lv", "a-longer-name", path, sizeof(path)), -1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lvm");
	TCase *c = tcase_create("names");

	tcase_add_loop_test(c, a_volume_of_the_same_group_has_the_name_that_lvm_gives_it, 0,
			    sizeof(names) / sizeof(names[0]));
	tcase_add_test(c, a_name_that_does_not_fit_is_refused);
	suite_add_tcase(suite, c);
	return run_suite(suite);
}
