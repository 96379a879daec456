/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader and writer of machine definitions, by the files in vmc/pass and vmc/fail.
 * VMC_FILES in the environment names the folder.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxml/relaxng.h>
#include "mgmtd/files.h"
#include "mgmtd/schema/embed.h"
#include "mgmtd/vmc.h"
#include "tests/unit/run_suite.h"

#define ANY UINT32_MAX

static const struct {
	const char *file;
	unsigned line, column;
	const char *element, *says;
	bool schema_too; /* the published schema must refuse it as well */
} fails[] = {
	{"attribute-where-none-is", 3, 3, "name", "unknown attribute \"lang\"", true},
	{"backend-unknown", 5, 3, "backend", "no such back end", true},
	{"billion-laughs", 1, ANY, "", "DOCTYPE", false},
	{"broken-tag", 4, ANY, "", "memory", false},
	{"cmdline-too-long", 6, 5, "cmdline", "2048 bytes", true},
	{"cmdline-with-delete", 2, 1, "machine", "control character", false},
	{"controllers-5", 6, 3, "controllers", "5 controllers; it must be 0 to 4", true},
	{"cut-off", ANY, ANY, "", "", false},
	{"deep", ANY, ANY, "", "", false},
	{"disk-attribute", 6, 3, "disk", "unknown attribute", true},
	{"disk-controller-4", 6, 3, "disk", "controllers are 0 to 3", true},
	{"disk-dvd-vhd", 7, 3, "disk", "a DVD is a raw image", false},
	{"disk-kind", 6, 3, "disk", "the kind is not disk, dvd or linked", true},
	{"disk-format", 6, 3, "disk", "the format is not raw, vhd or vhdx", true},
	{"disk-empty", 6, 3, "disk", "no path", false},
	{"disk-iops-0", 6, 3, "disk", "requests a second", true},
	{"disk-lun-64", 6, 3, "disk", "LUNs are 0 to 63", true},
	{"disk-rate-63", 6, 3, "disk", "at least 64", false},
	{"disk-rate-unit", 6, 3, "disk", "a number of KiB, MiB or GiB", true},
	{"disk-relative", 6, 3, "disk", "not an absolute path", true},
	{"disk-shared-vhd", 6, 3, "disk", "a shared disk is a raw image", false},
	{"disk-twice", 7, 3, "disk", "two disks at controller 0, LUN 3", false},
	{"doctype", 2, ANY, "", "DOCTYPE", false},
	{"element-in-text", 3, 12, "name", "something other than text", true},
	{"empty", 0, 0, "", "empty", false},
	{"external-entity", 1, ANY, "", "DOCTYPE", false},
	{"initrd-and-eight-modules", 2, 1, "machine", "boot modules", false},
	{"instruction", 2, 1, "machine", "instruction", false},
	{"kernel-empty", 5, 9, "kernel", "no path", true},
	{"kernel-line-break", 5, 9, "kernel", "line break", true},
	{"kernel-relative", 5, 9, "kernel", "not an absolute path", true},
	{"kernel-too-long", 5, 9, "kernel", "4096 bytes", true},
	{"declared-utf-7", 1, 30, "", "the declared encoding is not UTF-8", false},
	{"latin-1", 1, ANY, "", "UTF-8", false},
	{"memory-1-mib", 4, 3, "memory", "it must be 4 MiB to 1048576 MiB", true},
	{"memory-100-tib", 4, 3, "memory", "it must be 4 MiB to 1048576 MiB", true},
	{"memory-100-tib-in-gib", 4, 3, "memory", "it must be 4 MiB to 1048576 MiB", true},
	{"memory-2-to-the-64", 4, 3, "memory", "digits", true},
	{"memory-half", 4, 3, "memory", "not a whole number", true},
	{"memory-kib", 4, 3, "memory", "unit", true},
	{"memory-maximum-below", 2, 1, "machine", "are not in order", false},
	{"memory-maximum-odd", 2, 1, "machine", "a multiple of 128 MiB", false},
	{"memory-minimum-above", 2, 1, "machine", "are not in order", false},
	{"memory-minimum-word", 6, 3, "memory-minimum", "not a whole number", true},
	{"memory-negative", 4, 3, "memory", "not a whole number", true},
	{"memory-unit-in-text", 4, 3, "memory", "not a whole number", true},
	{"memory-words", 4, 3, "memory", "not a whole number", true},
	{"memory-wraps", 4, 3, "memory", "too much memory", true},
	{"name-empty", 3, 3, "name", "1 to 63", true},
	{"name-hidden", 3, 3, "name", "character 1", true},
	{"name-not-ascii", 3, 3, "name", "character 2", true},
	{"name-too-long", 3, 3, "name", "1 to 63", true},
	{"name-with-blank", 3, 3, "name", "character 4", true},
	{"name-with-slash", 3, 3, "name", "character 1", true},
	{"nine-modules", 5, ANY, "module", "more than 8", false},
	{"no-boot", 2, 1, "machine", "<boot> is missing", true},
	{"no-kernel", 5, 3, "boot", "<kernel> is missing", true},
	{"no-memory", 2, 1, "machine", "<memory> is missing", true},
	{"no-name", 2, 1, "machine", "<name> is missing", true},
	{"no-version", 2, 1, "machine", "version", true},
	{"not-utf-8", 5, 18, "", "not UTF-8", false},
	{"not-xml", 1, ANY, "", "", false},
	{"nul-byte", 3, 12, "", "not UTF-8", false},
	{"other-document", 1, 1, "domain", "no machine definition", true},
	{"other-namespace", 2, 1, "machine", "no machine definition", true},
	{"policy-unknown", 8, 3, "on-reboot", "neither restart nor off", true},
	{"seventeen-values", 22, 3, "value", "more than 16 values", false},
	{"serial-unknown-mode", 8, 3, "serial", "mode", true},
	{"serial-with-text", 8, 3, "serial", "no text", true},
	{"text-between", 2, 1, "machine", "text", true},
	{"three-serial-ports", 10, 3, "serial", "more than 2", false},
	{"too-many-elements", ANY, 3, "serial", "more than 1000 elements", false},
	{"two-names", 8, 3, "name", "twice", true},
	{"two-roots", 9, ANY, "", "", false},
	{"undeclared-entity", 3, ANY, "", "", false},
	{"unknown-attribute", 4, 3, "memory", "unknown attribute \"size\"", true},
	{"unknown-element", 5, 3, "colour", "unknown element in <machine>", true},
	{"unknown-element-in-boot", 7, 2, "dtb", "unknown element in <boot>", true},
	{"uuid-short", 4, 3, "uuid", "not a UUID", true},
	{"value-key", 6, 3, "value", "a key is made of letters", true},
	{"value-of-two-lines", 6, 3, "value", "of one line", false},
	{"value-too-long", 6, 3, "value", "at most 447 bytes, this one has 448", true},
	{"value-twice", 7, 3, "value", "the key \"k\" twice", false},
	{"value-without-key", 6, 3, "value", "a value without a key", true},
	{"vcpus-0", 5, 3, "vcpus", "0 virtual processors; it must be 1 to 64", true},
	{"vcpus-4000", 5, 3, "vcpus", "4000 virtual processors; it must be 1 to 64", true},
	{"vcpus-hex", 5, 3, "vcpus", "not a number", true},
	{"vcpus-huge", 5, 3, "vcpus", "1 to 64", true},
	{"vcpus-word", 5, 3, "vcpus", "not a number", true},
	{"version-2", 2, 1, "machine", "version", true},
	{"yes-no-unknown", 8, 3, "autostart", "neither yes nor no", true},
};
enum { FAILS = sizeof(fails) / sizeof(fails[0]) };

static char *load(const char *kind, const char *name, size_t *bytes)
{
	char path[4096], *text;

	snprintf(path, sizeof(path), "%s/%s/%s", getenv("VMC_FILES"), kind, name);
	ck_assert_msg(!file_read(AT_FDCWD, path, 1 << 20, &text, bytes), "cannot read %s", path);
	return text;
}

/* ---- the schema by itself, as xmllint uses it */

static void quiet(void *arg, const char *fmt, ...)
{
}

static bool schema_accepts(const char *text, size_t bytes)
{
	xmlRelaxNGParserCtxtPtr p =
		xmlRelaxNGNewMemParserCtxt((const char *)vmc_rng, (int)vmc_rng_bytes);
	xmlRelaxNGPtr schema = xmlRelaxNGParse(p);
	xmlRelaxNGValidCtxtPtr v;
	xmlDocPtr doc = xmlReadMemory(text, (int)bytes, NULL, NULL,
				      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	bool ok;

	ck_assert_ptr_nonnull(schema);
	ck_assert_ptr_nonnull(doc);
	v = xmlRelaxNGNewValidCtxt(schema);
	xmlRelaxNGSetValidErrors(v, quiet, quiet, NULL);
	ok = xmlRelaxNGValidateDoc(v, doc) == 0;
	xmlRelaxNGFreeValidCtxt(v);
	xmlRelaxNGFree(schema);
	xmlRelaxNGFreeParserCtxt(p);
	xmlFreeDoc(doc);
	return ok;
}

/* ---- */

START_TEST(a_wrong_definition_is_refused_with_its_place_and_reason)
{
	char name[128], where[256];
	struct vmc_error err;
	struct vmc v;
	size_t bytes;
	char *text;

	snprintf(name, sizeof(name), "%s.vmc", fails[_i].file);
	text = load("fail", name, &bytes);
	ck_assert_msg(vmc_read(text, bytes, &v, &err) == -EINVAL, "%s was accepted", name);
	vmc_where(&err, name, where, sizeof(where));
	ck_assert_msg(strstr(err.what, fails[_i].says), "%s: it says \"%s\"", where, err.what);
	ck_assert_msg(!strcmp(err.element, fails[_i].element), "%s: %s", where, err.what);
	if (fails[_i].line != ANY)
		ck_assert_msg(err.line == fails[_i].line, "%s: %s", where, err.what);
	if (fails[_i].column != ANY)
		ck_assert_msg(err.column == fails[_i].column, "%s: %s", where, err.what);
	ck_assert_msg(err.what[0] && err.hint[0], "%s: nothing said", where);
	for (const char *c = err.what; *c; c++)
		ck_assert_msg(*c >= ' ' && *c <= '~', "%s: a message that is not plain", where);
	if (fails[_i].schema_too)
		ck_assert_msg(!schema_accepts(text, bytes), "the schema accepts %s", name);
	free(text);
}
END_TEST

static void check_passes(const char *name)
{
	struct vmc_error err;
	struct vmc v, again;
	size_t bytes, first_bytes, second_bytes;
	char *text = load("pass", name, &bytes), *first, *second;

	if (vmc_read(text, bytes, &v, &err))
		ck_abort_msg("%s:%u:%u: %s", name, err.line, err.column, err.what);
	ck_assert_msg(schema_accepts(text, bytes), "the schema refuses %s", name);
	first = vmc_write(&v, &first_bytes);
	ck_assert_ptr_nonnull(first);
	if (vmc_read(first, first_bytes, &again, &err))
		ck_abort_msg("%s as we write it: %u:%u: %s", name, err.line, err.column, err.what);
	second = vmc_write(&again, &second_bytes);
	ck_assert_str_eq(first, second);
	vmc_clear(&v);
	vmc_clear(&again);
	free(text);
	free(first);
	free(second);
}

START_TEST(right_definitions_are_accepted_and_survive_being_written)
{
	char path[4096];
	struct dirent *e;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/pass", getenv("VMC_FILES"));
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		check_passes(e->d_name);
		n++;
	}
	closedir(dir);
	ck_assert_uint_gt(n, 5);
}
END_TEST

START_TEST(every_wrong_file_is_in_the_table)
{
	char path[4096];
	struct dirent *e;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/fail", getenv("VMC_FILES"));
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	closedir(dir);
	ck_assert_uint_eq(n, FAILS);
}
END_TEST

START_TEST(every_element_reaches_its_member)
{
	static const uint8_t uuid[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
					 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
	struct vmc_error err;
	struct vmc v;
	size_t bytes;
	char *text = load("pass", "everything.vmc", &bytes);

	ck_assert_int_eq(vmc_read(text, bytes, &v, &err), 0);
	ck_assert_str_eq(v.name, "Every_thing-1.2");
	ck_assert(v.has_uuid);
	ck_assert_mem_eq(v.uuid, uuid, 16);
	ck_assert_uint_eq(v.ram_bytes, 2ull << 30);
	ck_assert_uint_eq(v.vcpus, 64);
	ck_assert_uint_eq(v.backend, BACKEND_EMU);
	ck_assert_str_eq(v.kernel, "/srv/vmlinuz");
	ck_assert_str_eq(v.initrd, "/srv/initrd & more.img");
	ck_assert_uint_eq(v.nmodules, 2);
	ck_assert_str_eq(v.module[0], "/srv/one");
	ck_assert_str_eq(v.module[1], "/srv/two words");
	ck_assert_str_eq(v.cmdline, "console=ttyS0 a=\"<&>\" root=/dev/sda");
	ck_assert_uint_eq(v.nserial, 2);
	ck_assert_int_eq(v.on_reboot, VMC_OFF);
	ck_assert_int_eq(v.on_crash, VMC_RESTART);
	ck_assert(v.exit_device);
	ck_assert(v.autostart);
	vmc_clear(&v);
	free(text);
}
END_TEST

START_TEST(disks_get_what_was_left_out)
{
	struct vmc_error err;
	struct vmc v;
	size_t bytes;
	char *text = load("pass", "disks.vmc", &bytes);

	ck_assert_int_eq(vmc_read(text, bytes, &v, &err), 0);
	ck_assert_uint_eq(v.ndisks, 6);
	ck_assert_uint_eq(v.disk[5].kind, VM_DVD);
	ck_assert_str_eq(v.disk[5].path, ""); /* a drive without a medium */
	ck_assert(v.disk[4].shared && !v.disk[0].shared);
	ck_assert_str_eq(v.disk[0].path, "/images/root.vhd");
	ck_assert_uint_eq(v.disk[0].controller, 0);
	ck_assert_uint_eq(v.disk[0].lun, 0);
	ck_assert_uint_eq(v.disk[0].format, VM_FORMAT_VHD);
	ck_assert(!v.disk[0].read_only);
	ck_assert_uint_eq(v.disk[1].controller, 3);
	ck_assert_uint_eq(v.disk[1].lun, 63);
	ck_assert_uint_eq(v.disk[1].format, VM_FORMAT_RAW); /* as it says, not as it is called */
	ck_assert(v.disk[1].read_only);
	ck_assert_uint_eq(v.disk[2].kind, VM_DVD);
	ck_assert_uint_eq(v.disk[2].lun, 1);
	ck_assert_uint_eq(v.disk[2].format, VM_FORMAT_RAW);
	ck_assert(v.disk[2].read_only);
	ck_assert_uint_eq(v.disk[3].lun, 2);
	ck_assert_uint_eq(v.disk[3].format, VM_FORMAT_VHDX);
	ck_assert_uint_eq(v.disk[3].iops, UINT32_MAX);
	ck_assert_uint_eq(v.disk[3].bytes_per_s, 1536 * 1024);
	ck_assert(!v.disk[0].iops && !v.disk[0].bytes_per_s);
	vmc_clear(&v);
	free(text);
}
END_TEST

/* A machine with that many disks, and what reading its definition says. */
static int read_many(unsigned disks, struct vmc *v, struct vmc_error *err)
{
	static char text[64 << 10];
	size_t n = (size_t)sprintf(text, "<machine version=\"1\"><name>a</name><memory>64</memory>"
					 "<boot><kernel>/k</kernel></boot>");

	for (unsigned i = 0; i < disks; i++)
		n += (size_t)sprintf(text + n, "<disk controller=\"%u\">/d%u</disk>", i / 64 % 4, i);
	n += (size_t)sprintf(text + n, "</machine>");
	return vmc_read(text, n, v, err);
}

START_TEST(a_machine_has_as_many_disks_as_its_controllers_have_places)
{
	struct vmc_error err;
	struct vm_config c;
	char why[CONTROL_TEXT_BYTES];
	struct vmc v, again;
	char *text;
	size_t bytes;

	ck_assert_msg(!read_many(256, &v, &err), "%s", err.what);
	ck_assert_uint_eq(v.ndisks, 256);
	ck_assert_uint_eq(v.disk[255].controller, 3);
	ck_assert_uint_eq(v.disk[255].lun, 63);
	ck_assert_int_eq(vmc_config(&v, 1, &c, why, sizeof(why)), 0);
	ck_assert_uint_eq(c.disks + c.later_disks, 256);
	text = vmc_write(&v, &bytes);
	ck_assert_int_eq(vmc_read(text, bytes, &again, &err), 0);
	ck_assert_uint_eq(again.ndisks, 256);
	vmc_clear(&again);
	vmc_clear(&v);
	free(text);
	ck_assert_int_eq(read_many(257, &v, &err), -EINVAL);
	ck_assert_str_eq(err.element, "disk");
	ck_assert_ptr_nonnull(strstr(err.what, "more than 256 disks"));
}
END_TEST

START_TEST(what_is_left_out_has_the_documented_default)
{
	struct vmc_error err;
	struct vmc v;
	size_t bytes;
	char *text = load("pass", "smallest.vmc", &bytes);

	ck_assert_int_eq(vmc_read(text, bytes, &v, &err), 0);
	ck_assert(!v.has_uuid);
	ck_assert_uint_eq(v.ram_bytes, 512ull << 20);
	ck_assert_uint_eq(v.vcpus, 1);
	ck_assert_uint_eq(v.backend, BACKEND_AUTO);
	ck_assert_ptr_null(v.initrd);
	ck_assert_ptr_null(v.cmdline);
	ck_assert_uint_eq(v.nserial, 1);
	ck_assert_int_eq(v.on_reboot, VMC_RESTART);
	ck_assert_int_eq(v.on_crash, VMC_OFF);
	ck_assert(!v.exit_device);
	ck_assert(!v.autostart);
	vmc_clear(&v);
	free(text);
}
END_TEST

START_TEST(a_command_line_of_several_lines_becomes_one)
{
	static const char text[] = "<machine version=\"1\"><name>a</name><memory>64</memory><boot>"
				   "<kernel>/k</kernel><cmdline>\n  a=1\n\tb=2\n</cmdline></boot>"
				   "</machine>";
	struct vmc_error err;
	struct vmc v;

	ck_assert_int_eq(vmc_read(text, strlen(text), &v, &err), 0);
	ck_assert_str_eq(v.cmdline, "a=1  b=2");
	vmc_clear(&v);
}
END_TEST

START_TEST(a_definition_beyond_the_limit_is_not_parsed)
{
	char *text = malloc(VMC_MAX_BYTES + 1);
	struct vmc_error err;
	struct vmc v;

	memset(text, ' ', VMC_MAX_BYTES + 1);
	ck_assert_int_eq(vmc_read(text, VMC_MAX_BYTES + 1, &v, &err), -EFBIG);
	ck_assert_ptr_nonnull(strstr(err.what, "at most"));
	free(text);
}
END_TEST

START_TEST(amounts_of_memory_are_understood_as_people_write_them)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} cases[] = {
		{"512", 0, 512ull << 20},
		{"512M", 0, 512ull << 20},
		{"512MiB", 0, 512ull << 20},
		{"512 MiB", 0, 512ull << 20},
		{"2G", 0, 2ull << 30},
		{"2gib", 0, 2ull << 30},
		{"1T", 0, 1ull << 40},
		{"", -EINVAL, 0},
		{"M", -EINVAL, 0},
		{"-1M", -EINVAL, 0},
		{"1.5G", -EINVAL, 0},
		{"1K", -EINVAL, 0},
		{"1MM", -EINVAL, 0},
		{"99999999999999999999M", -ERANGE, 0},
		{"17179869184G", -ERANGE, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;

		ck_assert_msg(vmc_parse_memory(cases[i].text, &bytes) == cases[i].rc, "%s",
			      cases[i].text);
		ck_assert_msg(bytes == cases[i].bytes, "%s", cases[i].text);
	}
}
END_TEST

START_TEST(random_uuids_differ_and_say_that_they_are_random)
{
	uint8_t a[16], b[16];
	char text[VMC_UUID_TEXT];

	vmc_random_uuid(a);
	vmc_random_uuid(b);
	ck_assert_mem_ne(a, b, 16);
	vmc_format_uuid(a, text);
	ck_assert_int_eq(text[14], '4');                 /* RFC 4122: the version */
	ck_assert_ptr_nonnull(strchr("89ab", text[19])); /* and the variant */
	ck_assert_int_eq(vmc_parse_uuid(text, b), 0);
	ck_assert_mem_eq(a, b, 16);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vmc");
	TCase *t = tcase_create("vmc");

	tcase_add_loop_test(t, a_wrong_definition_is_refused_with_its_place_and_reason, 0, FAILS);
	tcase_add_test(t, every_wrong_file_is_in_the_table);
	tcase_add_test(t, right_definitions_are_accepted_and_survive_being_written);
	tcase_add_test(t, every_element_reaches_its_member);
	tcase_add_test(t, what_is_left_out_has_the_documented_default);
	tcase_add_test(t, disks_get_what_was_left_out);
	tcase_add_test(t, a_machine_has_as_many_disks_as_its_controllers_have_places);
	tcase_add_test(t, a_command_line_of_several_lines_becomes_one);
	tcase_add_test(t, a_definition_beyond_the_limit_is_not_parsed);
	tcase_add_test(t, amounts_of_memory_are_understood_as_people_write_them);
	tcase_add_test(t, random_uuids_differ_and_say_that_they_are_random);
	suite_add_tcase(s, t);
	return run_suite(s);
}
