/* SPDX-License-Identifier: Apache-2.0
 *
 * One row per message type: its size, how many descriptors it may carry, and the check of its
 * fields. A check may trust that the message has its full size.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/control_internal.h"
#include "proto/disk_counters.h"

bool control_bad(const struct why *why, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, why->size, fmt, ap);
	va_end(ap);
	return false;
}

bool control_in_range(const char *field, uint64_t v, uint64_t min, uint64_t max,
		      const struct why *why)
{
	return (v >= min && v <= max) ||
	       bad(why, "%s is %llu, not between %llu and %llu", field, (unsigned long long)v,
		   (unsigned long long)min, (unsigned long long)max);
}

static bool plain_ok(const void *msg, size_t nfds, const struct why *why)
{
	return true;
}

bool control_fds_ok(size_t nfds, size_t want, const struct why *why)
{
	return nfds == want || bad(why, "%zu descriptors instead of %zu", nfds, want);
}

struct declaration {
	uint16_t type;
	uint16_t min_fds, max_fds;
	uint32_t bytes;
	message_check *ok;
	const char *name;
};

#define ANY_FDS 0, MSG_MAX_FDS /* the check counts them */
#define NO_FDS  0, 0

static const struct declaration declarations[] = {
	{MSG_ERROR, NO_FDS, sizeof(struct msg_error), error_ok, "ERROR"},
	{MSG_OK, NO_FDS, sizeof(struct msg_plain), plain_ok, "OK"},
	{MSG_HOST_INFO, NO_FDS, sizeof(struct msg_plain), plain_ok, "HOST_INFO"},
	{MSG_HOST_INFO_REPLY, NO_FDS, sizeof(struct msg_host_info_reply), host_info_reply_ok,
	 "HOST_INFO_REPLY"},
	{MSG_VM_CREATE, ANY_FDS, sizeof(struct msg_vm_create), vm_create_ok, "VM_CREATE"},
	{MSG_VM_CREATED, ANY_FDS, sizeof(struct msg_vm_created), vm_created_ok, "VM_CREATED"},
	{MSG_VM_DESTROY, NO_FDS, sizeof(struct msg_vm_destroy), vm_destroy_ok, "VM_DESTROY"},
	{MSG_VM_GONE, NO_FDS, sizeof(struct msg_vm_gone), vm_gone_ok, "VM_GONE"},
	{MSG_VM_LOST, NO_FDS, sizeof(struct msg_vm_gone), vm_lost_ok, "VM_LOST"},
	{MSG_VM_RESTART, ANY_FDS, sizeof(struct msg_vm_restart), vm_restart_ok, "VM_RESTART"},
	{MSG_RESERVATIONS, 1, 1, sizeof(struct msg_plain), plain_ok, "RESERVATIONS"},
	{MSG_RESERVATIONS_REPLY, 1, 1, sizeof(struct msg_plain), plain_ok, "RESERVATIONS_REPLY"},
	{MSG_VM_RESTARTED, 1, 1, sizeof(struct msg_vm_restarted), vm_restarted_ok, "VM_RESTARTED"},
	{MSG_START_PARTITION, ANY_FDS, sizeof(struct msg_start_partition), start_partition_ok,
	 "START_PARTITION"},
	{MSG_START_WORKER, ANY_FDS, sizeof(struct msg_start_worker), start_worker_ok,
	 "START_WORKER"},
	{MSG_START_STORAGE, ANY_FDS, sizeof(struct msg_start_storage), start_storage_ok,
	 "START_STORAGE"},
	{MSG_START_INTEGRATION, ANY_FDS, sizeof(struct msg_start_integration), start_integration_ok,
	 "START_INTEGRATION"},
	{MSG_UNIT_DISK, ANY_FDS, sizeof(struct msg_unit_disk), unit_disk_ok, "UNIT_DISK"},
	{MSG_START_JOB, 1, 1, sizeof(struct msg_start_job), start_job_ok, "START_JOB"},
	{MSG_DISK_JOB, 1, 2, sizeof(struct msg_disk_job), disk_job_ok, "DISK_JOB"},
	{MSG_DISK_WANTS, NO_FDS, sizeof(struct msg_disk_wants), disk_wants_ok, "DISK_WANTS"},
	{MSG_DISK_PARENT, 0, 1, sizeof(struct msg_disk_parent), disk_parent_ok, "DISK_PARENT"},
	{MSG_DISK_CANCEL, NO_FDS, sizeof(struct msg_plain), plain_ok, "DISK_CANCEL"},
	{MSG_DISK_PROGRESS, NO_FDS, sizeof(struct msg_disk_progress), disk_progress_ok,
	 "DISK_PROGRESS"},
	{MSG_DISK_NOTE, NO_FDS, sizeof(struct msg_disk_note), disk_note_ok, "DISK_NOTE"},
	{MSG_DISK_DONE, NO_FDS, sizeof(struct msg_disk_done), disk_done_ok, "DISK_DONE"},
	{MSG_EVENT_DISKS, NO_FDS, sizeof(struct msg_event_disks), event_disks_ok, "EVENT_DISKS"},
	{MSG_START_SOCKET, ANY_FDS, sizeof(struct msg_start_socket), start_socket_ok, "START_SOCKET"},
	{MSG_UNIT_LISTEN, 1, 1, sizeof(struct msg_plain), plain_ok, "UNIT_LISTEN"},
	{MSG_UNIT_CONNECTED, ANY_FDS, sizeof(struct msg_unit_connected), unit_connected_ok,
	 "UNIT_CONNECTED"},
	{MSG_EVENT_CONNECT, NO_FDS, sizeof(struct msg_event_connect), event_connect_ok,
	 "EVENT_CONNECT"},
	{MSG_READY, NO_FDS, sizeof(struct msg_ready), ready_ok, "READY"},
	{MSG_FAILED, NO_FDS, sizeof(struct msg_error), error_ok, "FAILED"},
	{MSG_START_PROBE, 1, 1, sizeof(struct msg_start_probe), start_probe_ok, "START_PROBE"},
	{MSG_PROBE_RESULT, NO_FDS, sizeof(struct msg_probe_result), probe_result_ok,
	 "PROBE_RESULT"},
	{MSG_UNIT_LOAD, NO_FDS, sizeof(struct msg_plain), plain_ok, "UNIT_LOAD"},
	{MSG_UNIT_RUN, NO_FDS, sizeof(struct msg_unit_run), unit_run_ok, "UNIT_RUN"},
	{MSG_UNIT_PAUSE, NO_FDS, sizeof(struct msg_plain), plain_ok, "UNIT_PAUSE"},
	{MSG_UNIT_RESET, NO_FDS, sizeof(struct msg_plain), plain_ok, "UNIT_RESET"},
	{MSG_UNIT_CLOSE, NO_FDS, sizeof(struct msg_plain), plain_ok, "UNIT_CLOSE"},
	{MSG_UNIT_DONE, NO_FDS, sizeof(struct msg_unit_done), unit_done_ok, "UNIT_DONE"},
	{MSG_UNIT_RESERVATIONS, NO_FDS, sizeof(struct msg_reservations), reservations_ok,
	 "UNIT_RESERVATIONS"},
	{MSG_EVENT_RESERVATIONS, NO_FDS, sizeof(struct msg_reservations), reservations_ok,
	 "EVENT_RESERVATIONS"},
	{MSG_UNIT_KEPT, NO_FDS, sizeof(struct msg_unit_kept), unit_kept_ok, "UNIT_KEPT"},
	{MSG_EVENT_SPACE, NO_FDS, sizeof(struct msg_event_space), event_space_ok, "EVENT_SPACE"},
	{MSG_EVENT_GUEST, NO_FDS, sizeof(struct msg_event_guest), event_guest_ok, "EVENT_GUEST"},
	{MSG_EVENT_CRASH, NO_FDS, sizeof(struct msg_event_crash), event_crash_ok, "EVENT_CRASH"},
	{MSG_UNIT_SHUTDOWN, NO_FDS, sizeof(struct msg_unit_shutdown), unit_shutdown_ok,
	 "UNIT_SHUTDOWN"},
	{MSG_UNIT_VALUES, NO_FDS, sizeof(struct msg_unit_values), unit_values_ok, "UNIT_VALUES"},
	{MSG_UNIT_FREEZE, NO_FDS, sizeof(struct msg_unit_freeze), unit_freeze_ok, "UNIT_FREEZE"},
	{MSG_UNIT_COPY, NO_FDS, sizeof(struct msg_unit_copy), unit_copy_ok, "UNIT_COPY"},
	{MSG_UNIT_MEMORY, NO_FDS, sizeof(struct msg_unit_memory), unit_memory_ok, "UNIT_MEMORY"},
	{MSG_EVENT_MEMORY, NO_FDS, sizeof(struct msg_event_memory), event_memory_ok, "EVENT_MEMORY"},
	{MSG_UNIT_BACKUP, 0, 1, sizeof(struct msg_unit_backup), unit_backup_ok, "UNIT_BACKUP"},
	{MSG_EVENT_PROGRESS, NO_FDS, sizeof(struct msg_event_progress), event_progress_ok,
	 "EVENT_PROGRESS"},
	{MSG_UNIT_THAW, NO_FDS, sizeof(struct msg_plain), plain_ok, "UNIT_THAW"},
	{MSG_EVENT_VALUES, NO_FDS, sizeof(struct msg_event_values), event_values_ok,
	 "EVENT_VALUES"},
	{MSG_EVENT_INTEGRATION, NO_FDS, sizeof(struct msg_event_integration), event_integration_ok,
	 "EVENT_INTEGRATION"},
};

static const struct declaration *declaration_of(uint16_t type)
{
	for (size_t i = 0; i < sizeof(declarations) / sizeof(*declarations); i++)
		if (declarations[i].type == type)
			return &declarations[i];
	return NULL;
}

static bool message_ok(const void *buf, size_t bytes, size_t nfds, const struct why *why)
{
	struct msg_header h;
	if (bytes < sizeof(h))
		return bad(why, "%zu bytes are no message", bytes);
	memcpy(&h, buf, sizeof(h));
	if (h.version != MSG_VERSION)
		return bad(why, "message version %u instead of %u", h.version, MSG_VERSION);
	const struct declaration *d = declaration_of(h.type);
	if (!d)
		return bad(why, "unknown message type %u", h.type);
	if (bytes != d->bytes || h.bytes != d->bytes)
		return bad(why, "%s has %zu bytes (says %u) instead of %u", d->name, bytes, h.bytes,
			   d->bytes);
	if (nfds < d->min_fds || nfds > d->max_fds)
		return bad(why, "%s with %zu descriptors", d->name, nfds);
	return d->ok(buf, nfds, why);
}

int control_check(const void *buf, size_t bytes, size_t nfds, char *why, size_t why_size)
{
	return message_ok(buf, bytes, nfds, &(struct why){why, why_size}) ? 0 : -EPROTO;
}

void control_header(struct msg_header *h, uint16_t type, uint64_t cookie)
{
	const struct declaration *d = declaration_of(type);
	/* An unknown type gets a size that msgsock_send() refuses. */
	*h = (struct msg_header){MSG_VERSION, type, d ? d->bytes : 0, cookie};
}

const char *vm_role_name(unsigned role)
{
	static const char *const names[ROLE_COUNT] = {"partition", "worker", "storage",
						      "integration", "job", "socket"};
	return role < ROLE_COUNT ? names[role] : "unknown";
}
