/* SPDX-License-Identifier: Apache-2.0
 *
 * control_check() against every message type: a good one passes, and each single thing wrong with
 * it is refused with a sentence.
 */
#include "tests/unit/proto/messages.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/bus/suite.h"

static char why[200];

static int check_it(size_t bytes, size_t nfds)
{
	why[0] = 0;
	int rc = control_check(&m, bytes, nfds, why, sizeof(why));
	must(rc == 0 || (rc == -EPROTO && why[0]));
	return rc;
}

START_TEST(a_good_message_passes)
{
	const struct kind *k = &kinds[_i];
	good(k);
	ck_assert_uint_eq(m.h.version, MSG_VERSION);
	ck_assert_uint_eq(m.h.cookie, 99);
	ck_assert_msg(check_it(k->bytes, k->nfds) == 0, "type %u: %s", k->type, why);
}
END_TEST

START_TEST(any_other_length_is_refused)
{
	const struct kind *k = &kinds[_i];
	good(k);
	for (size_t n = 0; n <= k->bytes + 64; n++)
		if (n != k->bytes)
			must(check_it(n, k->nfds) == -EPROTO);
	m.h.bytes = (uint32_t)k->bytes + 8; /* consistent, and still wrong */
	ck_assert_int_eq(check_it(k->bytes + 8, k->nfds), -EPROTO);
	m.h.bytes = (uint32_t)k->bytes - 8;
	ck_assert_int_eq(check_it(k->bytes - 8, k->nfds), -EPROTO);
	m.h.bytes = (uint32_t)k->bytes - 1;
	ck_assert_int_eq(check_it(k->bytes, k->nfds), -EPROTO);
}
END_TEST

START_TEST(any_other_number_of_descriptors_is_refused)
{
	const struct kind *k = &kinds[_i];
	good(k);
	for (size_t n = 0; n <= MSG_MAX_FDS + 1; n++)
		if (n != k->nfds && !(k->fds_vary && n == k->nfds + 1))
			must(check_it(k->bytes, n) == -EPROTO);
}
END_TEST

START_TEST(another_version_is_refused)
{
	const struct kind *k = &kinds[_i];
	good(k);
	m.h.version = MSG_VERSION + 1;
	ck_assert_int_eq(check_it(k->bytes, k->nfds), -EPROTO);
}
END_TEST

START_TEST(types_that_do_not_exist_are_refused)
{
	for (unsigned type = 0; type <= 0xFFFF; type++) {
		bool known = false;
		for (unsigned i = 0; i < nkinds; i++)
			known |= kinds[i].type == type;
		if (known)
			continue;
		control_header(&m.h, (uint16_t)type, 0);
		must(m.h.bytes == 0); /* which nothing sends */
		m.h.bytes = sizeof(m.h);
		must(check_it(sizeof(m.h), 0) == -EPROTO);
	}
}
END_TEST

/* ---- strings ---- */

#define STRING(kind_fill, member)                                                                  \
	{                                                                                          \
		kind_fill, offsetof(union any, member), sizeof(m.member)                           \
	}

static const struct string {
	void (*fill)(void);
	size_t at, size;
} strings[] = {
	STRING(error_msg, error.text),
	STRING(host_info_reply, host_info.backend_reason),
	STRING(host_info_reply, host_info.version),
	STRING(vm_create, create.config.name),
	STRING(vm_create, create.config.cmdline),
	STRING(vm_created, created.backend_reason),
	STRING(vm_gone, gone.text),
	STRING(vm_lost, gone.text),
	STRING(vm_restart, restart.disk[0].serial),
	STRING(start_partition, partition.config.name),
	STRING(start_partition, partition.config.cmdline),
	STRING(start_worker, worker.config.name),
	STRING(start_worker, worker.config.cmdline),
	STRING(start_storage, storage.config.name),
	STRING(start_storage, storage.disk[0].serial),
	STRING(start_storage, storage.disk[1].serial),
	STRING(unit_disk_add, disk.disk.serial),
	STRING(vm_create_disks, create.disk[0].serial),
	STRING(probe_result, result.text),
	STRING(unit_done, done.text),
	STRING(event_guest, event.text),
	STRING(event_crash, crash.text),
	STRING(start_job, start_job.config.name),
	STRING(disk_note, note.text),
	STRING(disk_done, disk_done.text),
};
enum { STRINGS = sizeof(strings) / sizeof(*strings) };

START_TEST(strings_must_end_inside_their_field)
{
	const struct string *s = &strings[_i];
	const struct kind *k = kind_of(s->fill);
	good(k);
	memset(m.bytes + s->at, 'a', s->size);
	ck_assert_int_eq(check_it(k->bytes, k->nfds), -EPROTO);
	m.bytes[s->at + s->size - 1] = 0;
	ck_assert_msg(check_it(k->bytes, k->nfds) == 0, "%s", why);
}
END_TEST

START_TEST(paths_of_images_must_end_inside_their_field)
{
	good(kind_of(disk_wants));
	memset(m.wants.name[1].path, 'a', sizeof(m.wants.name[1].path));
	ck_assert_int_eq(check_it(sizeof(m.wants), 0), -EPROTO);
	good(kind_of(disk_job));
	memset(m.job.absolute, 'a', sizeof(m.job.absolute));
	ck_assert_int_eq(check_it(sizeof(m.job), 2), -EPROTO);
	good(kind_of(disk_job));
	memset(m.job.relative, 'a', sizeof(m.job.relative));
	ck_assert_int_eq(check_it(sizeof(m.job), 2), -EPROTO);
}
END_TEST

START_TEST(strings_must_be_fit_to_show)
{
	static const char *const bad[] = {
		"a\nb",
		"a\033[2J",
		"a\177",
		"a\tb",
		"a\302\233b", /* the control character CSI */
		"a\200",
		"a\303",
		"a\303(",
		"a\377",
		"a\300\200",         /* overlong NUL */
		"a\340\200\257",     /* overlong / */
		"a\355\240\200",     /* surrogate */
		"a\364\220\200\200", /* beyond Unicode */
	};
	static const char *const fine[] = {"a", "B\303\274ro", "\346\227\245\346\234\254",
					   "\360\237\230\200"};
	const struct string *s = &strings[_i];
	const struct kind *k = kind_of(s->fill);
	/* The first, a newline, is fit where there are lines. */
	for (unsigned i = s->fill == event_crash; i < sizeof(bad) / sizeof(*bad); i++) {
		good(k);
		strcpy((char *)m.bytes + s->at, bad[i]);
		ck_assert_msg(check_it(k->bytes, k->nfds) == -EPROTO, "%s", bad[i]);
	}
	for (unsigned i = 0; i < sizeof(fine) / sizeof(*fine); i++) {
		good(k);
		strcpy((char *)m.bytes + s->at, fine[i]);
		ck_assert_msg(check_it(k->bytes, k->nfds) == 0, "%s: %s", fine[i], why);
	}
}
END_TEST

/* ---- numbers ---- */

#define NUMBER(kind_fill, member, value)                                                           \
	{                                                                                          \
		kind_fill, offsetof(union any, member), sizeof(m.member), (uint64_t)(value)        \
	}
#define CONFIG(kind_fill, which)                                                                   \
	NUMBER(kind_fill, which.config.id, 0), NUMBER(kind_fill, which.config.ram_bytes, 0),       \
		NUMBER(kind_fill, which.config.ram_bytes, 1ull << 20),                             \
		NUMBER(kind_fill, which.config.ram_bytes, (4ull << 20) + 4096),                    \
		NUMBER(kind_fill, which.config.ram_bytes, 100ull << 40),                           \
		NUMBER(kind_fill, which.config.ram_bytes, (1ull << 40) + (1 << 20)),               \
		NUMBER(kind_fill, which.config.later_bytes, 1),                                    \
		NUMBER(kind_fill, which.config.later_bytes, 512ull << 20),                         \
		NUMBER(kind_fill, which.config.ram_bytes, UINT64_MAX),                             \
		NUMBER(kind_fill, which.config.vcpus, 0),                                          \
		NUMBER(kind_fill, which.config.vcpus, 65),                                         \
		NUMBER(kind_fill, which.config.vcpus, 4000),                                       \
		NUMBER(kind_fill, which.config.vcpus, UINT32_MAX),                                 \
		NUMBER(kind_fill, which.config.backend, 3),                                        \
		NUMBER(kind_fill, which.config.modules, 9),                                        \
		NUMBER(kind_fill, which.config.modules, UINT32_MAX),                               \
		NUMBER(kind_fill, which.config.serials, 0),                                        \
		NUMBER(kind_fill, which.config.serials, 3),                                        \
		NUMBER(kind_fill, which.config.exit_device, 2)

static const struct number {
	void (*fill)(void);
	size_t at, size;
	uint64_t bad;
} numbers[] = {
	CONFIG(vm_create, create),
	CONFIG(start_partition, partition),
	CONFIG(start_worker, worker),
	NUMBER(error_msg, error.error, 0),
	NUMBER(error_msg, error.error, -ENOENT),
	NUMBER(error_msg, error.error, 4096),
	NUMBER(host_info_reply, host_info.backend_auto, BACKEND_AUTO),
	NUMBER(host_info_reply, host_info.backend_auto, 3),
	NUMBER(host_info_reply, host_info.kvm_usable, 2),
	NUMBER(host_info_reply, host_info.cgroup_version, 3),
	NUMBER(host_info_reply, host_info.privileged, 2),
	NUMBER(vm_created, created.backend, BACKEND_AUTO),
	NUMBER(vm_created, created.backend, 3),
	NUMBER(vm_created, created.process[0].pid, 0),
	NUMBER(vm_created, created.process[1].pid, -1),
	NUMBER(vm_created, created.process[1].no_new_privs, 2),
	NUMBER(vm_created, created.process[1].seccomp_mode, 3),
	NUMBER(event_space, space.controller, CONTROL_CONTROLLERS),
	NUMBER(event_space, space.lun, CONTROL_LUNS),
	NUMBER(event_space, space.full, 2),
	NUMBER(vm_create_job, create.config.disks, 1),
	NUMBER(vm_create_job, create.config.modules, 1),
	NUMBER(vm_create_job, create.config.integration, 1),
	NUMBER(vm_create_job, create.config.serials, 1),
	NUMBER(vm_create, create.config.job, 1),
	NUMBER(vm_create, create.config.job, 2),
	NUMBER(vm_created_job, created.roles, 1 << ROLE_JOB | 3),
	NUMBER(vm_created_job, created.process[ROLE_JOB].pid, 0),
	NUMBER(start_job, start_job.config.job, 0),
	NUMBER(start_job, start_job.uid, 0),
	NUMBER(start_job, start_job.gid, 0),
	NUMBER(start_job, start_job.sandbox_flags, 4),
	NUMBER(disk_job, job.op, 0),
	NUMBER(disk_job, job.op, DISK_OPS),
	NUMBER(disk_job, job.flags, 64),
	NUMBER(disk_job, job.format, 4),
	NUMBER(disk_job, job.out_format, 0),
	NUMBER(disk_job, job.out_format, 4),
	NUMBER(disk_job, job.out_type, 2),
	NUMBER(disk_job_resize, job.relative_size, 2),
	NUMBER(disk_job_resize, job.relative_size, -2),
	NUMBER(disk_job_resize, job.size, 1ull << 63),
	NUMBER(disk_wants, wants.depth, 0),
	NUMBER(disk_wants, wants.depth, CONTROL_MAX_CHAIN),
	NUMBER(disk_wants, wants.attempt, DISK_JOB_TRIES + 1),
	NUMBER(disk_wants, wants.other, 2),
	NUMBER(disk_wants, wants.writable, 2),
	NUMBER(disk_wants, wants.names, DISK_JOB_NAMES + 1),
	NUMBER(disk_wants, wants.name[3].absolute, 2),
	NUMBER(disk_parent_none, parent.error, -1),
	NUMBER(disk_parent, parent.by_name, 2),
	NUMBER(disk_progress, disk_progress.total, 1), /* less than done */
	NUMBER(disk_progress, disk_progress.total, 1ull << 63),
	NUMBER(disk_done, disk_done.error, -1),
	NUMBER(disk_done, disk_done.depth, CONTROL_MAX_CHAIN),
	NUMBER(disk_done, disk_done.other, 2),
	NUMBER(vm_destroy, destroy.id, 0),
	NUMBER(vm_lost, gone.id, 0),
	NUMBER(vm_lost, gone.role, ROLE_WORKER),
	NUMBER(vm_restart, restart.id, 0),
	NUMBER(vm_restart, restart.role, ROLE_PARTITION),
	NUMBER(vm_restart, restart.disks, CONTROL_FIRST_DISKS + 1),
	NUMBER(vm_restart, restart.later_disks, 256 - 2 + 1),
	NUMBER(vm_restart_integration, restart.later_disks, 1),
	NUMBER(vm_restart_integration, restart.disks, 1),
	NUMBER(vm_restarted, restarted.id, 0),
	NUMBER(vm_restarted, restarted.role, ROLE_JOB),
	NUMBER(vm_restarted, restarted.process.pid, 0),
	NUMBER(vm_gone, gone.id, 0),
	NUMBER(vm_gone, gone.role, ROLE_COUNT),
	NUMBER(vm_gone, gone.pid, -1),
	NUMBER(vm_gone, gone.signal, -1),
	NUMBER(vm_gone, gone.signal, 65),
	NUMBER(vm_gone, gone.status, 256),
	NUMBER(vm_gone, gone.status, -1),
	NUMBER(start_partition, partition.config.backend, BACKEND_AUTO),
	NUMBER(start_partition, partition.uid, 0),
	NUMBER(start_partition, partition.gid, 0),
	NUMBER(start_partition, partition.sandbox_flags, 4),
	NUMBER(start_worker, worker.config.backend, BACKEND_AUTO),
	NUMBER(start_worker, worker.uid, 0),
	NUMBER(start_worker, worker.gid, 0),
	NUMBER(start_worker, worker.sandbox_flags, 0x80000000),
	NUMBER(vm_created, created.roles, 1),
	NUMBER(vm_created, created.roles, 4),
	NUMBER(vm_created, created.roles, 64 | 3),
	NUMBER(vm_created, created.process[ROLE_INTEGRATION].pid, 5),
	NUMBER(start_integration, integration.config.integration, 0),
	NUMBER(start_integration, integration.config.integration, 2),
	NUMBER(start_integration, integration.uid, 0),
	NUMBER(start_integration, integration.gid, 0),
	NUMBER(start_integration, integration.sandbox_flags, 4),
	NUMBER(start_socket, socket.config.sockets, 0),
	NUMBER(start_socket, socket.config.sockets, 2),
	NUMBER(start_socket, socket.config.hibernation, 2),
	NUMBER(start_socket, socket.uid, 0),
	NUMBER(event_connect, connect.port, 0x80000000u),
	NUMBER(unit_not_connected, connected.error, -1),
	NUMBER(unit_shutdown, shutdown.action, 3),
	NUMBER(unit_shutdown, shutdown.force, 2),
	NUMBER(event_integration, guest.heartbeat, 3),
	NUMBER(event_integration, guest.services, 128),
	NUMBER(event_memory, memory.assigned_bytes, CONTROL_MAX_RAM + 1),
	NUMBER(event_memory, memory.target_bytes, UINT64_MAX),
	NUMBER(unit_memory, limits.minimum_bytes, 0),
	NUMBER(unit_memory, limits.target_bytes, CONTROL_MAX_RAM + 1),
	NUMBER(unit_copy, copy.step, COPY_STEPS),
	NUMBER(unit_backup, backup.step, BACKUP_STEPS),
	NUMBER(unit_backup, backup.controller, 4),
	NUMBER(unit_backup, backup.lun, 64),
	NUMBER(event_progress, progress.percent, 101),
	NUMBER(unit_copy, copy.flags, 4),
	NUMBER(unit_copy, copy.folder[0], 'r'),
	NUMBER(unit_copy, copy.folder[2], 'r'),
	NUMBER(unit_copy, copy.folder[0], 0),
	NUMBER(unit_copy, copy.name[0], 0),
	NUMBER(unit_copy, copy.name[0], '/'),
	NUMBER(unit_copy_data, copy.bytes, 0),
	NUMBER(unit_copy_data, copy.bytes, COPY_DATA_BYTES + 1),
	NUMBER(event_integration, guest.frozen, 2),
	NUMBER(unit_freeze, freeze.timeout_s, 0),
	NUMBER(unit_freeze, freeze.timeout_s, FREEZE_MAX_S + 1),
	NUMBER(event_integration, guest.told, TOLDS),
	NUMBER(event_values, values.count, GUEST_VALUES + 1),
	NUMBER(unit_values, told.count, GUEST_VALUES + 1),
	NUMBER(unit_values, told.count, 3), /* one without a key */
	NUMBER(unit_values, told.pair[0].key[0], 0),
	NUMBER(unit_values, told.pair[1].value[0], '\n'),
	NUMBER(vm_created, created.process[2].pid, 5),
	NUMBER(vm_create_disks, create.config.disks, CONTROL_FIRST_DISKS + 1),
	NUMBER(vm_create_disks, create.config.later_disks, 256 - 2 + 1), /* one disk too many */
	NUMBER(vm_create, create.config.later_disks, 1), /* without a first one */
	NUMBER(vm_create_disks, create.disk[0].controller, 4),
	NUMBER(vm_create_disks, create.disk[0].controller, 3), /* where the other one is */
	NUMBER(vm_create_disks, create.disk[0].lun, 64),
	NUMBER(vm_create_disks, create.disk[0].kind, 2),
	NUMBER(vm_create_disks, create.disk[0].read_only, 2),
	NUMBER(vm_create_disks, create.disk[0].format, 0),
	NUMBER(vm_create_disks, create.disk[0].format, 4),
	NUMBER(vm_create_disks, create.disk[0].chain, 0),
	NUMBER(vm_create_disks, create.disk[0].chain, 33),
	NUMBER(vm_create_disks, create.disk[1].read_only, 0), /* a DVD */
	NUMBER(start_storage, storage.config.disks, 0),
	NUMBER(start_storage, storage.config.controllers, CONTROL_CONTROLLERS + 1),
	NUMBER(unit_disk_add, disk.action, DISK_ACTIONS),
	NUMBER(unit_disk_add, disk.disk.controller, CONTROL_CONTROLLERS),
	NUMBER(unit_disk_add, disk.disk.lun, CONTROL_LUNS),
	NUMBER(unit_disk_add, disk.disk.format, 0),
	NUMBER(unit_disk_add, disk.disk.chain, CONTROL_MAX_CHAIN + 1),
	NUMBER(unit_disk_remove, disk.disk.kind, 2),
	NUMBER(unit_disk_remove, disk.bytes, 512),
	NUMBER(unit_disk_limit, disk.disk.bytes_per_s, CONTROL_MIN_RATE - 1),
	NUMBER(unit_disk_eject, disk.force, 2),
	NUMBER(unit_disk_insert, disk.force, 1),
	NUMBER(unit_disk_limit, disk.disk.bytes_per_s, 1ull << 63),
	NUMBER(vm_create_disks, create.disk[1].bytes_per_s, 1),
	NUMBER(event_disks, counted.count, CONTROL_LUNS + 1),
	NUMBER(event_disks, counted.controller, CONTROL_CONTROLLERS),
	NUMBER(event_disks, counted.disk[1].controller, 2), /* another one's */
	NUMBER(event_disks, counted.disk[1].lun, CONTROL_LUNS),
	NUMBER(unit_disk_add, disk.disk.shared, 1), /* a VHD */
	NUMBER(unit_disk_add_shared, disk.disk.shared, 2),
	NUMBER(reservations, reservations.controller, CONTROL_CONTROLLERS),
	NUMBER(reservations, reservations.lun, CONTROL_LUNS),
	NUMBER(reservations, reservations.keep, 2),
	NUMBER(reservations, reservations.state.type, 2),
	NUMBER(reservations, reservations.state.type, 4),
	NUMBER(reservations, reservations.state.type, 9),
	NUMBER(reservations, reservations.state.holder, 14), /* without a key */
	NUMBER(reservations, reservations.state.holder, CONTROL_SEATS),
	NUMBER(unit_kept, kept.error, -1),
	NUMBER(unit_kept, kept.error, 4096),
	NUMBER(unit_disk_add_shared, disk.action, DISK_PRESENT),
	NUMBER(start_storage, storage.disk[1].shared, 2),
	NUMBER(start_storage, storage.disk[1].controller, 255),
	NUMBER(start_storage, storage.again, 2),
	NUMBER(start_integration, integration.again, 2),
	NUMBER(start_socket, socket.again, 2),
	NUMBER(start_storage, storage.uid, 0),
	NUMBER(start_storage, storage.gid, 0),
	NUMBER(start_probe, probe.uid, 0),
	NUMBER(start_probe, probe.gid, 0),
	NUMBER(start_probe, probe.sandbox_flags, 8),
	NUMBER(probe_result, result.usable, 2),
	NUMBER(ready, ready.process.pid, 0),
	NUMBER(ready, ready.process.empty_root, 255),
	NUMBER(unit_run, run.guest_ns, 1ull << 63),
	NUMBER(unit_done, done.guest_ns, UINT64_MAX),
	NUMBER(unit_done, done.error, -1),
	NUMBER(unit_done, done.error, 4096),
	NUMBER(event_crash, crash.vcpu, CONTROL_MAX_VCPUS),
	NUMBER(event_guest, event.event, 0),
	NUMBER(event_guest, event.event, GUEST_FAULT + 1),
};
enum { NUMBERS = sizeof(numbers) / sizeof(*numbers) };

START_TEST(numbers_out_of_range_are_refused)
{
	const struct number *n = &numbers[_i];
	const struct kind *k = kind_of(n->fill);
	good(k);
	memcpy(m.bytes + n->at, &n->bad, n->size); /* little-endian, as the processor is */
	ck_assert_msg(check_it(k->bytes, k->nfds) == -EPROTO, "type %u offset %zu value %#lx",
		      k->type, n->at, n->bad);
	/* A descriptor count that would suit the bad number does not help. */
	for (size_t fds = 0; fds <= MSG_MAX_FDS; fds++)
		must(check_it(k->bytes, fds) == -EPROTO);
}
END_TEST

/* ---- configuration ---- */

START_TEST(names_that_are_no_folder_are_refused)
{
	static const char *const bad[] = {"", ".", "..", ".hidden", "-rf", " a", "a ", "a/b", "/"};
	struct vm_config c;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		config(&c, BACKEND_AUTO);
		memset(c.name, 0, sizeof(c.name));
		strcpy(c.name, bad[i]);
		ck_assert_msg(vm_config_check(&c, why, sizeof(why)) == -EPROTO, "'%s'", bad[i]);
	}
	config(&c, BACKEND_AUTO);
	ck_assert_int_eq(vm_config_check(&c, why, sizeof(why)), 0);
}
END_TEST

START_TEST(the_largest_and_the_smallest_vm_pass)
{
	struct vm_config c;
	config(&c, BACKEND_KVM);
	c.ram_bytes = 4ull << 20;
	c.vcpus = 1;
	c.modules = 0;
	c.serials = 1;
	c.cmdline[0] = 0;
	ck_assert_int_eq(vm_config_check(&c, why, sizeof(why)), 0);
	c.ram_bytes = 1ull << 40;
	c.vcpus = 64;
	c.modules = 8;
	c.serials = 2;
	c.exit_device = 1;
	ck_assert_int_eq(vm_config_check(&c, why, sizeof(why)), 0);
	/* And its descriptors fit in one message. */
	good(kind_of(start_worker));
	m.worker.config = c;
	ck_assert_int_eq(check_it(sizeof(m.worker), 9 + 64 * 3 + 9 + 2), 0);
}
END_TEST

START_TEST(texts_we_write_pass_our_own_check)
{
	good(kind_of(error_msg));
	memset(m.error.text, 'x', sizeof(m.error.text));
	control_text(m.error.text, sizeof(m.error.text), "bad\nthing \033[31m%s\377", "B\303\274");
	ck_assert_str_eq(m.error.text, "bad?thing ?[31mB\303\274?");
	for (size_t i = strlen(m.error.text); i < sizeof(m.error.text); i++)
		must(m.error.text[i] == 0);
	ck_assert_int_eq(check_it(sizeof(m.error), 0), 0);
	char longer[600];
	for (unsigned i = 0; i < 599; i++)
		longer[i] = i % 2 ? '\274' : '\303'; /* cut in the middle of one */
	longer[599] = 0;
	control_text(m.error.text, sizeof(m.error.text), "%s", longer);
	ck_assert_int_eq(check_it(sizeof(m.error), 0), 0);
	ck_assert_uint_eq(strlen(m.error.text), sizeof(m.error.text) - 1);
}
END_TEST

START_TEST(lines_we_write_pass_our_own_check)
{
	static const char bytes[] = "a\nb\tc\r\n\303\274\377";
	good(kind_of(event_crash));
	memset(m.crash.text, 'x', sizeof(m.crash.text));
	control_lines(m.crash.text, sizeof(m.crash.text), bytes, sizeof(bytes) - 1);
	ck_assert_str_eq(m.crash.text, "a\nb?c?\n\303\274?");
	ck_assert_int_eq(check_it(sizeof(m.crash), 0), 0);
	control_lines(m.crash.text, sizeof(m.crash.text), "a\0secret", 8);
	for (size_t i = 1; i < sizeof(m.crash.text); i++)
		must(m.crash.text[i] == 0);
	char longer[CONTROL_CRASH_BYTES + 1];
	memset(longer, '\n', sizeof(longer));
	control_lines(m.crash.text, sizeof(m.crash.text), longer, sizeof(longer));
	ck_assert_int_eq(check_it(sizeof(m.crash), 0), 0);
	/* Elsewhere a newline is no text. */
	good(kind_of(event_guest));
	strcpy(m.event.text, "a\nb");
	ck_assert_int_eq(check_it(sizeof(m.event), 0), -EPROTO);
}
END_TEST

START_TEST(roles_have_names)
{
	ck_assert_str_eq(vm_role_name(ROLE_PARTITION), "partition");
	ck_assert_str_eq(vm_role_name(ROLE_WORKER), "worker");
	ck_assert_ptr_nonnull(vm_role_name(12345));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("control");
	TCase *t = tcase_create("control");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_good_message_passes, 0, (int)nkinds);
	tcase_add_loop_test(t, any_other_length_is_refused, 0, (int)nkinds);
	tcase_add_loop_test(t, any_other_number_of_descriptors_is_refused, 0, (int)nkinds);
	tcase_add_loop_test(t, another_version_is_refused, 0, (int)nkinds);
	tcase_add_test(t, types_that_do_not_exist_are_refused);
	tcase_add_loop_test(t, strings_must_end_inside_their_field, 0, STRINGS);
	tcase_add_test(t, paths_of_images_must_end_inside_their_field);
	tcase_add_loop_test(t, strings_must_be_fit_to_show, 0, STRINGS);
	tcase_add_loop_test(t, numbers_out_of_range_are_refused, 0, NUMBERS);
	tcase_add_test(t, names_that_are_no_folder_are_refused);
	tcase_add_test(t, the_largest_and_the_smallest_vm_pass);
	tcase_add_test(t, texts_we_write_pass_our_own_check);
	tcase_add_test(t, lines_we_write_pass_our_own_check);
	tcase_add_test(t, roles_have_names);
	suite_add_tcase(s, t);
	return run_suite(s);
}
