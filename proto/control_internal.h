/* SPDX-License-Identifier: Apache-2.0
 *
 * What the checks of control messages share. Each check returns true, or false with a sentence.
 */
#ifndef BULKHEAD_PROTO_CONTROL_INTERNAL_H
#define BULKHEAD_PROTO_CONTROL_INTERNAL_H

#include "proto/control.h"

#define MAX_ERRNO 4095

struct why {
	char *text;
	size_t size;
};

bool control_bad(const struct why *why, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A terminated string that can be shown to people and logged as it is. */
bool control_text_ok(const char *field, const char *s, size_t size, const struct why *why);
bool control_in_range(const char *field, uint64_t v, uint64_t min, uint64_t max,
		      const struct why *why);
/* That many descriptors, not another number. */
bool control_fds_ok(size_t nfds, size_t want, const struct why *why);

#define bad      control_bad
#define text_ok  control_text_ok
#define in_range control_in_range
#define fds_ok   control_fds_ok

/* text.c: as text_ok(), with line feeds */
bool control_lines_ok(const char *field, const char *s, size_t size, const struct why *why);
#define lines_ok control_lines_ok

/* config.c */
bool control_config_ok(const struct vm_config *c, const struct why *why);
bool control_disk_ok(const struct vm_disk *d, const struct why *why);
/* Those that come with the message; *nfds: their descriptors. */
bool control_disks_ok(const struct vm_config *c, const struct vm_disk *disk, size_t *nfds,
		      const struct why *why);
#define config_ok control_config_ok
#define disk_ok   control_disk_ok
#define disks_ok  control_disks_ok

/* A message of its type, of full size. */
typedef bool message_check(const void *msg, size_t nfds, const struct why *why);

/* machine.c */
message_check host_info_reply_ok, vm_create_ok, vm_created_ok, vm_destroy_ok, vm_gone_ok,
	vm_lost_ok, vm_restart_ok, vm_restarted_ok, error_ok;

/* process.c */
bool control_process_ok(const struct vm_process *p, const struct why *why);
#define process_ok control_process_ok
message_check start_partition_ok, start_worker_ok, start_storage_ok, start_integration_ok,
	start_job_ok, start_socket_ok, ready_ok, start_probe_ok, probe_result_ok;

/* unit.c */
message_check unit_disk_ok, event_disks_ok, unit_connected_ok, event_connect_ok, unit_run_ok,
	unit_done_ok, reservations_ok, unit_kept_ok, event_space_ok, event_guest_ok, event_crash_ok,
	unit_shutdown_ok, unit_values_ok, unit_freeze_ok, unit_copy_ok, unit_memory_ok, event_memory_ok,
	unit_backup_ok, event_progress_ok, event_values_ok, event_integration_ok;

/* disk_job.c */
message_check disk_job_ok, disk_wants_ok, disk_parent_ok, disk_progress_ok, disk_note_ok,
	disk_done_ok;

#endif
