/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of what mgmtd and the broker say to each other.
 */
#include "proto/control_internal.h"

#define MAX_SIGNAL      64

bool error_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_error *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 1, MAX_ERRNO, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

bool host_info_reply_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_host_info_reply *m = msg;
	return in_range("backend", m->backend_auto, BACKEND_KVM, BACKEND_EMU, why) &&
	       in_range("kvm_usable", m->kvm_usable, 0, 1, why) &&
	       in_range("cgroup version", m->cgroup_version, 0, 2, why) &&
	       in_range("privileged", m->privileged, 0, 1, why) &&
	       text_ok("backend reason", m->backend_reason, sizeof(m->backend_reason), why) &&
	       text_ok("version", m->version, sizeof(m->version), why);
}

bool vm_create_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_create *m = msg;
	size_t disk_fds;
	if (!config_ok(&m->config, why) || !disks_ok(&m->config, m->disk, &disk_fds, why))
		return false;
	if (!m->config.job)
		return fds_ok(nfds, 1 + m->config.modules + disk_fds, why);
	if (m->config.disks || m->config.controllers || m->config.modules ||
	    m->config.integration)
		return bad(why, "a job with parts of a VM");
	return fds_ok(nfds, 0, why);
}

bool vm_created_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_created *m = msg;
	if (!in_range("backend", m->backend, BACKEND_KVM, BACKEND_EMU, why) ||
	    !text_ok("backend reason", m->backend_reason, sizeof(m->backend_reason), why))
		return false;
	const uint32_t always = (1u << ROLES_ALWAYS) - 1;
	const uint32_t job = 1u << ROLE_JOB;
	if (m->roles >> ROLE_COUNT ||
	    (m->roles != job && ((m->roles & always) != always || m->roles & job)))
		return bad(why, "roles are %#x", m->roles);
	unsigned count = 0;
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		if (m->roles & 1u << i) {
			if (!process_ok(&m->process[i], why))
				return false;
			count++;
		} else if (m->process[i].pid) {
			return bad(why, "a process that is not there has pid %d",
				   m->process[i].pid);
		}
	}
	if (m->roles == job)
		return fds_ok(nfds, 1, why);
	return in_range("descriptors", nfds, count + 1, count + CONTROL_MAX_SERIAL, why);
}

bool vm_destroy_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_destroy *m = msg;
	return m->id != 0 || bad(why, "id is 0");
}

bool vm_gone_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_gone *m = msg;
	if (m->id == 0)
		return bad(why, "id is 0");
	if (m->pid < 0)
		return bad(why, "pid is %d", m->pid);
	return in_range("role", m->role, 0, ROLE_COUNT - 1, why) &&
	       in_range("signal", (uint64_t)(int64_t)m->signal, 0, MAX_SIGNAL, why) &&
	       in_range("exit status", (uint64_t)(int64_t)m->status, 0, 255, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

static bool is_provider(uint32_t role, const struct why *why)
{
	return role == ROLE_STORAGE || role == ROLE_INTEGRATION || role == ROLE_SOCKET ||
	       bad(why, "role %u is no provider", role);
}

bool vm_lost_ok(const void *msg, size_t nfds, const struct why *why)
{
	return is_provider(((const struct msg_vm_gone *)msg)->role, why) &&
	       vm_gone_ok(msg, nfds, why);
}

bool vm_restart_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_restart *m = msg;
	const bool storage = m->role == ROLE_STORAGE;
	const struct vm_config c = {.disks = m->disks};
	size_t disk_fds;
	if (m->id == 0)
		return bad(why, "id is 0");
	if (!is_provider(m->role, why) ||
	    !in_range("disks", m->disks, 0, storage ? CONTROL_FIRST_DISKS : 0, why) ||
	    !in_range("disks that come later", m->later_disks, 0,
		      m->disks ? CONTROL_MAX_DISKS - m->disks : 0, why) ||
	    !disks_ok(&c, m->disk, &disk_fds, why))
		return false;
	return fds_ok(nfds, disk_fds, why);
}

bool vm_restarted_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_restarted *m = msg;
	if (m->id == 0)
		return bad(why, "id is 0");
	return is_provider(m->role, why) && process_ok(&m->process, why) && fds_ok(nfds, 1, why);
}
