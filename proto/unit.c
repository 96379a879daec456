/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of what mgmtd and a machine's processes say to each other.
 */
#include <errno.h>
#include <string.h>

#include "proto/control_internal.h"
#include "proto/disk_counters.h"

bool unit_disk_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_disk *m = msg;

	return in_range("disk action", m->action, 0, DISK_ACTIONS - 1, why) &&
	       in_range("bytes", m->bytes, m->action == DISK_RESIZE ? 512 : 0,
			m->action == DISK_RESIZE ? INT64_MAX : 0, why) &&
	       in_range("force", m->force, 0, m->action == DISK_EJECT, why) &&
	       disk_ok(&m->disk, why) &&
	       in_range("shared", m->disk.shared, 0, m->action == DISK_ADD, why) &&
	       fds_ok(nfds,
		      m->action == DISK_ADD       ? m->disk.chain + m->disk.shared
		      : m->action == DISK_PRESENT ? m->disk.chain
		      : m->action == DISK_INSERT  ? 1
						  : 0,
		      why);
}

bool event_connect_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_connect *m = msg;
	return in_range("port", m->port, 0, INT32_MAX, why);
}

bool unit_connected_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_connected *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why) &&
	       fds_ok(nfds, m->error ? 0 : 1, why);
}

bool unit_run_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_run *m = msg;
	return in_range("guest clock", m->guest_ns, 0, INT64_MAX, why);
}

bool unit_done_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_done *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why) &&
	       in_range("guest clock", m->guest_ns, 0, INT64_MAX, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

bool unit_shutdown_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_shutdown *m = msg;
	return in_range("action", m->action, 0, GUEST_SHUTDOWNS - 1, why) &&
	       in_range("force", m->force, 0, 1, why);
}

bool event_integration_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_integration *m = msg;
	return in_range("heartbeat", m->heartbeat, 0, HEARTBEATS - 1, why) &&
	       in_range("services", m->services, 0, GUEST_SERVICES, why) &&
	       in_range("told", m->told, 0, TOLDS - 1, why) &&
	       in_range("frozen", m->frozen, 0, 1, why);
}

static bool pair_ok(const struct guest_value *p, const struct why *why)
{
	return text_ok("key", p->key, sizeof(p->key), why) &&
	       text_ok("value", p->value, sizeof(p->value), why);
}

bool event_values_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_values *m = msg;
	bool ok = in_range("count", m->count, 0, GUEST_VALUES, why);

	for (uint32_t i = 0; ok && i < m->count; i++)
		ok = pair_ok(&m->pair[i], why);
	return ok;
}

bool unit_values_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_values *m = msg;
	bool ok = in_range("count", m->count, 0, GUEST_VALUES, why);

	for (uint32_t i = 0; ok && i < m->count; i++) {
		ok = pair_ok(&m->pair[i], why) &&
		     in_range("key", m->pair[i].key[0] != 0, 1, 1, why);
		for (uint32_t k = 0; ok && k < i; k++)
			if (!strcmp(m->pair[k].key, m->pair[i].key))
				ok = bad(why, "the key %s twice", m->pair[i].key);
	}
	return ok;
}

bool unit_freeze_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_freeze *m = msg;
	return in_range("seconds", m->timeout_s, 1, FREEZE_MAX_S, why);
}

bool unit_copy_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_copy *m = msg;
	if (!in_range("step", m->step, 0, COPY_STEPS - 1, why) ||
	    !text_ok("folder", m->folder, sizeof(m->folder), why) ||
	    !text_ok("name", m->name, sizeof(m->name), why))
		return false;
	size_t folder = strlen(m->folder), name = strlen(m->name);
	if (m->step == COPY_START)
		return in_range("flags", m->flags, 0, COPY_OVERWRITE | COPY_CREATE_PATH, why) &&
		       in_range("a path's length", folder + name, 2, COPY_PATH_BYTES - 1, why) &&
		       ((name && !strchr(m->name, '/') && m->folder[0] == '/' &&
			 m->folder[folder - 1] == '/') ||
			bad(why, "not the path of a file"));
	return m->step != COPY_DATA || in_range("bytes", m->bytes, 1, COPY_DATA_BYTES, why);
}

bool unit_memory_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_memory *m = msg;
	return in_range("minimum", m->minimum_bytes, 1, CONTROL_MAX_RAM, why) &&
	       in_range("target", m->target_bytes, 0, CONTROL_MAX_RAM, why);
}

bool event_memory_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_memory *m = msg;
	return in_range("assigned", m->assigned_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("available", m->available_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("committed", m->committed_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("ballooned", m->ballooned_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("target", m->target_bytes, 0, CONTROL_MAX_RAM, why);
}

bool unit_backup_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_backup *m = msg;
	return in_range("step", m->step, 0, BACKUP_STEPS - 1, why) &&
	       in_range("controller", m->controller, 0, CONTROL_CONTROLLERS - 1, why) &&
	       in_range("LUN", m->lun, 0, CONTROL_LUNS - 1, why) &&
	       fds_ok(nfds, m->step == BACKUP_COPY, why);
}

bool event_progress_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_progress *m = msg;
	return in_range("percent", m->percent, 0, 100, why);
}

bool event_space_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_space *m = msg;

	return in_range("controller", m->controller, 0, CONTROL_CONTROLLERS - 1, why) &&
	       in_range("LUN", m->lun, 0, CONTROL_LUNS - 1, why) &&
	       in_range("full", m->full, 0, 1, why);
}

static bool kept_ok(const struct kept_reservations *k, const struct why *why)
{
	const bool all = k->type == 7 || k->type == 8; /* all registrants hold it */

	if (k->type == 2 || k->type == 4 || !in_range("type", k->type, 0, 8, why))
		return bad(why, "reservation type %u", k->type);
	if (!in_range("holder", k->holder, 0, CONTROL_SEATS - 1, why))
		return false;
	return !k->type || all || k->seat[k->holder].key || bad(why, "the holder has no key");
}

bool reservations_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_reservations *m = msg;

	return in_range("controller", m->controller, 0, CONTROL_CONTROLLERS - 1, why) &&
	       in_range("LUN", m->lun, 0, CONTROL_LUNS - 1, why) &&
	       in_range("keep", m->keep, 0, 1, why) && kept_ok(&m->state, why);
}

int kept_reservations_check(const struct kept_reservations *k, char *why, size_t why_size)
{
	return kept_ok(k, &(struct why){why, why_size}) ? 0 : -EPROTO;
}

bool unit_kept_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_kept *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why);
}

bool event_disks_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_disks *m = msg;
	bool ok = in_range("controller", m->controller, 0, CONTROL_CONTROLLERS - 1, why) &&
		  in_range("count", m->count, 0, CONTROL_LUNS, why);

	for (uint32_t i = 0; ok && i < m->count; i++)
		ok = in_range("controller of a disk", m->disk[i].controller, m->controller,
			      m->controller, why) &&
		     in_range("LUN", m->disk[i].lun, 0, CONTROL_LUNS - 1, why);
	return ok;
}

bool event_guest_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_guest *m = msg;
	return in_range("event", m->event, GUEST_POWER_OFF, GUEST_FAULT, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

bool event_crash_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_crash *m = msg;
	return in_range("vcpu", m->vcpu, 0, CONTROL_MAX_VCPUS - 1, why) &&
	       lines_ok("text", m->text, sizeof(m->text), why);
}
