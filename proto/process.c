/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of what the broker says to a process that it starts, and of the first that it answers.
 */
#include "bus/sandbox.h"
#include "proto/control_internal.h"

#define FIXED_CHILD_FDS 9 /* unit socket, RAM, page generations, and two channels */
#define STORAGE_FDS     (FIXED_CHILD_FDS + 1) /* its memory of requests under way */
#define CHANNEL_FDS     3

_Static_assert(CONTROL_FIRST_DISK_FDS == MSG_MAX_FDS - STORAGE_FDS, "what START_STORAGE has room for");
_Static_assert(1 + CONTROL_MAX_MODULES <= STORAGE_FDS, "and so has VM_CREATE");

/* What a child says about its confinement is shown to people; the broker acts on none of it. */
bool control_process_ok(const struct vm_process *p, const struct why *why)
{
	const uint8_t flags[] = {p->no_new_privs,  p->empty_root,    p->pid_namespace,
				 p->net_namespace, p->ipc_namespace, p->uts_namespace};
	if (p->pid <= 0)
		return bad(why, "pid is %d", p->pid);
	for (size_t i = 0; i < sizeof(flags); i++)
		if (!in_range("a confinement flag", flags[i], 0, 1, why))
			return false;
	return in_range("seccomp mode", p->seccomp_mode, 0, 2, why);
}

/* What every START message says of the confinement. */
static bool confine_ok(uint32_t uid, uint32_t gid, uint32_t flags, const struct why *why)
{
	if (flags & ~(uint32_t)(SANDBOX_UNPRIVILEGED | SANDBOX_LOG))
		return bad(why, "unknown sandbox flags %#x", flags);
	if (!(flags & SANDBOX_UNPRIVILEGED) && (!uid || !gid))
		return bad(why, "uid %u, gid %u: a confined process may not be root", uid, gid);
	return true;
}

static bool start_ok(const struct vm_config *c, uint32_t uid, uint32_t gid, uint32_t flags,
		     const struct why *why)
{
	return config_ok(c, why) &&
	       in_range("backend", c->backend, BACKEND_KVM, BACKEND_EMU, why) &&
	       confine_ok(uid, gid, flags, why);
}

static unsigned providers(const struct vm_config *c)
{
	unsigned n = 0;
	for (unsigned i = ROLES_ALWAYS; i < ROLE_COUNT; i++)
		n += vm_has_role(c, i);
	return n;
}

bool start_partition_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_partition *m = msg;
	const struct vm_config *c = &m->config;
	return start_ok(c, m->uid, m->gid, m->sandbox_flags, why) &&
	       fds_ok(nfds,
		      FIXED_CHILD_FDS + CHANNEL_FDS * (c->vcpus + providers(c)) +
			      (c->backend == BACKEND_KVM),
		      why);
}

bool start_worker_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_worker *m = msg;
	const struct vm_config *c = &m->config;
	return start_ok(c, m->uid, m->gid, m->sandbox_flags, why) &&
	       fds_ok(nfds,
		      FIXED_CHILD_FDS + CHANNEL_FDS * (c->vcpus + providers(c)) + 1 + c->modules +
			      c->serials,
		      why);
}

bool start_storage_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_storage *m = msg;
	size_t disk_fds;
	if (!start_ok(&m->config, m->uid, m->gid, m->sandbox_flags, why) ||
	    !disks_ok(&m->config, m->disk, &disk_fds, why))
		return false;
	if (!vm_has_role(&m->config, ROLE_STORAGE))
		return bad(why, "a storage process without disks or controllers");
	for (unsigned i = 0; i < m->config.disks; i++)
		disk_fds += m->disk[i].shared;
	return in_range("again", m->again, 0, 1, why) && fds_ok(nfds, STORAGE_FDS + disk_fds, why);
}

bool start_integration_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_integration *m = msg;
	if (!start_ok(&m->config, m->uid, m->gid, m->sandbox_flags, why))
		return false;
	if (!m->config.integration)
		return bad(why, "an integration process nobody wants");
	return in_range("again", m->again, 0, 1, why) && fds_ok(nfds, FIXED_CHILD_FDS, why);
}

bool start_job_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_job *m = msg;
	if (!start_ok(&m->config, m->uid, m->gid, m->sandbox_flags, why))
		return false;
	return m->config.job || bad(why, "a job process for a VM");
}

bool start_socket_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_socket *m = msg;
	if (!start_ok(&m->config, m->uid, m->gid, m->sandbox_flags, why))
		return false;
	if (!m->config.sockets)
		return bad(why, "a socket process nobody wants");
	return in_range("again", m->again, 0, 1, why) && fds_ok(nfds, FIXED_CHILD_FDS, why);
}

bool start_probe_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_probe *m = msg;
	return confine_ok(m->uid, m->gid, m->sandbox_flags, why);
}

bool probe_result_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_probe_result *m = msg;
	return in_range("usable", m->usable, 0, 1, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

bool ready_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_ready *m = msg;
	return process_ok(&m->process, why);
}
