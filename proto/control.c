/* SPDX-License-Identifier: Apache-2.0
 *
 * One row per message type: its size, how many descriptors it may carry, and the check of its
 * fields. A check may trust that the message has its full size.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bus/sandbox.h"
#include "proto/control.h"
#include "proto/control_internal.h"
#include "proto/disk_counters.h"

#define MAX_SIGNAL      64
#define FIXED_CHILD_FDS 9 /* unit socket, RAM, page generations, and two channels */
#define STORAGE_FDS     (FIXED_CHILD_FDS + 1) /* its memory of requests under way */
#define CHANNEL_FDS     3

_Static_assert(CONTROL_FIRST_DISK_FDS == MSG_MAX_FDS - STORAGE_FDS, "what START_STORAGE has room for");
_Static_assert(1 + CONTROL_MAX_MODULES <= STORAGE_FDS, "and so has VM_CREATE");

bool control_bad(const struct why *why, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why->text, why->size, fmt, ap);
	va_end(ap);
	return false;
}

/* The bytes of the UTF-8 character at s (n > 0 bytes follow), 0 if it is none, is overlong, a
 * surrogate or beyond Unicode, or is a control character. RFC 3629 section 4. */
static size_t printable_char(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xC0 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
	if (!len || len > n || s[0] > 0xF4)
		return 0;
	uint32_t c = len == 1 ? s[0] : s[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	return c < 0x20 || (c >= 0x7F && c < 0xA0) ? 0 : len;
}

static bool shown_ok(const char *field, const char *s, size_t size, bool lines, const struct why *why)
{
	size_t len = strnlen(s, size);
	if (len == size)
		return bad(why, "%s is not terminated", field);
	for (size_t i = 0; i < len;) {
		size_t n = lines && s[i] == '\n' ? 1
						 : printable_char((const unsigned char *)s + i, len - i);
		if (!n)
			return bad(why, "%s has a control character or is not UTF-8 at byte %zu",
				   field, i);
		i += n;
	}
	return true;
}

/* A terminated string that can be shown to people and logged as it is. */
bool control_text_ok(const char *field, const char *s, size_t size, const struct why *why)
{
	return shown_ok(field, s, size, false, why);
}

static bool lines_ok(const char *field, const char *s, size_t size, const struct why *why)
{
	return shown_ok(field, s, size, true, why);
}

bool control_in_range(const char *field, uint64_t v, uint64_t min, uint64_t max,
		      const struct why *why)
{
	return (v >= min && v <= max) ||
	       bad(why, "%s is %llu, not between %llu and %llu", field, (unsigned long long)v,
		   (unsigned long long)min, (unsigned long long)max);
}

/* The name is also that of the VM's folder. */
static bool name_ok(const char *name, const struct why *why)
{
	if (!text_ok("name", name, CONTROL_NAME_BYTES, why))
		return false;
	size_t len = strlen(name);
	if (!len)
		return bad(why, "the name is empty");
	if (name[0] == '.' || name[0] == '-' || name[0] == ' ' || name[len - 1] == ' ')
		return bad(why, "the name may not begin with '.', '-' or a space, "
				"nor end with a space");
	if (strchr(name, '/'))
		return bad(why, "the name may not have a '/' in it");
	return true;
}

static bool config_ok(const struct vm_config *c, const struct why *why)
{
	if (c->id == 0)
		return bad(why, "id is 0");
	if (!in_range("memory (bytes)", c->ram_bytes, CONTROL_MIN_RAM, CONTROL_MAX_RAM, why))
		return false;
	if (c->ram_bytes % (1u << 20))
		return bad(why, "memory is not a multiple of 1 MiB");
	if (c->later_bytes % (1u << 20))
		return bad(why, "memory that is added later is not a multiple of 1 MiB");
	return in_range("memory that is added later (bytes)", c->later_bytes, 0,
			c->ram_bytes - CONTROL_MIN_RAM, why) &&
	       in_range("processors", c->vcpus, 1, CONTROL_MAX_VCPUS, why) &&
	       in_range("backend", c->backend, BACKEND_AUTO, BACKEND_EMU, why) &&
	       in_range("boot modules", c->modules, 0, CONTROL_MAX_MODULES, why) &&
	       in_range("job", c->job, 0, 1, why) &&
	       in_range("serial ports", c->serials, !c->job, c->job ? 0 : CONTROL_MAX_SERIAL,
			why) &&
	       in_range("exit device", c->exit_device, 0, 1, why) &&
	       in_range("disks", c->disks, 0, CONTROL_FIRST_DISKS, why) &&
	       in_range("disks that come later", c->later_disks, 0,
			c->disks ? CONTROL_MAX_DISKS - c->disks : 0, why) &&
	       in_range("controllers", c->controllers, 0, CONTROL_CONTROLLERS, why) &&
	       in_range("integration", c->integration, 0, 1, why) &&
	       in_range("sockets", c->sockets, 0, 1, why) &&
	       in_range("hibernation", c->hibernation, 0, 1, why) &&
	       in_range("restart", c->restart, 0, 1, why) && name_ok(c->name, why) &&
	       text_ok("kernel command line", c->cmdline, sizeof(c->cmdline), why);
}

int vm_config_check(const struct vm_config *c, char *why, size_t why_size)
{
	return config_ok(c, &(struct why){why, why_size}) ? 0 : -EPROTO;
}

static bool disk_ok(const struct vm_disk *d, const struct why *why)
{
	if (!in_range("controller", d->controller, 0, CONTROL_CONTROLLERS - 1, why) ||
	    !in_range("LUN", d->lun, 0, CONTROL_LUNS - 1, why) ||
	    !in_range("disk kind", d->kind, VM_DISK, VM_DVD, why) ||
	    !in_range("read-only", d->read_only, 0, 1, why) ||
	    !in_range("disk format", d->format, VM_FORMAT_RAW, VM_FORMAT_VHDX, why) ||
	    !in_range("length of the disk's chain", d->chain, d->kind != VM_DVD, CONTROL_MAX_CHAIN,
		      why) ||
	    !text_ok("serial number", d->serial, sizeof(d->serial), why))
		return false;
	if (!in_range("shared", d->shared, 0, 1, why) ||
	    (d->bytes_per_s &&
	     !in_range("bytes a second", d->bytes_per_s, CONTROL_MIN_RATE, INT64_MAX, why)))
		return false;
	if (d->shared &&
	    (d->kind != VM_DISK || d->read_only || d->format != VM_FORMAT_RAW || d->chain != 1))
		return bad(why, "a shared disk that is not a raw image, for writing");
	if (d->kind == VM_DVD && !d->read_only)
		return bad(why, "a DVD that is not read-only");
	return true;
}

static bool disks_ok(const struct vm_config *c, const struct vm_disk *disk, size_t *nfds,
		     const struct why *why)
{
	uint64_t taken[CONTROL_CONTROLLERS] = {0};
	size_t memory = 0; /* of reservations */
	*nfds = 0;
	for (unsigned i = 0; i < c->disks; i++) {
		const struct vm_disk *d = &disk[i];
		if (!disk_ok(d, why))
			return false;
		if (taken[d->controller] & 1ull << d->lun)
			return bad(why, "two disks at controller %u, LUN %u", d->controller,
				   d->lun);
		taken[d->controller] |= 1ull << d->lun;
		*nfds += d->chain;
		memory += d->shared;
	}
	return *nfds + memory <= CONTROL_FIRST_DISK_FDS ||
	       bad(why, "the first disks and their parents are %zu files; at most %u are possible",
		   *nfds, CONTROL_FIRST_DISK_FDS);
}

int vm_disks_check(const struct vm_config *c, const struct vm_disk *disk, size_t *nfds, char *why,
		   size_t why_size)
{
	const struct why w = {why, why_size};
	return config_ok(c, &w) && disks_ok(c, disk, nfds, &w) ? 0 : -EPROTO;
}

static bool plain_ok(const void *msg, size_t nfds, const struct why *why)
{
	return true;
}

static bool error_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_error *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 1, MAX_ERRNO, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

static bool host_info_reply_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_host_info_reply *m = msg;
	return in_range("backend", m->backend_auto, BACKEND_KVM, BACKEND_EMU, why) &&
	       in_range("kvm_usable", m->kvm_usable, 0, 1, why) &&
	       in_range("cgroup version", m->cgroup_version, 0, 2, why) &&
	       in_range("privileged", m->privileged, 0, 1, why) &&
	       text_ok("backend reason", m->backend_reason, sizeof(m->backend_reason), why) &&
	       text_ok("version", m->version, sizeof(m->version), why);
}

static bool fds_ok(size_t nfds, size_t want, const struct why *why)
{
	return nfds == want || bad(why, "%zu descriptors instead of %zu", nfds, want);
}

static bool vm_create_ok(const void *msg, size_t nfds, const struct why *why)
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

/* What a child says about its confinement is shown to people; the broker acts on none of it. */
static bool process_ok(const struct vm_process *p, const struct why *why)
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

static bool vm_created_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool vm_destroy_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_destroy *m = msg;
	return m->id != 0 || bad(why, "id is 0");
}

static bool vm_gone_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool vm_lost_ok(const void *msg, size_t nfds, const struct why *why)
{
	return is_provider(((const struct msg_vm_gone *)msg)->role, why) &&
	       vm_gone_ok(msg, nfds, why);
}

static bool vm_restart_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool vm_restarted_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_vm_restarted *m = msg;
	if (m->id == 0)
		return bad(why, "id is 0");
	return is_provider(m->role, why) && process_ok(&m->process, why) && fds_ok(nfds, 1, why);
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

static bool start_partition_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_partition *m = msg;
	const struct vm_config *c = &m->config;
	return start_ok(c, m->uid, m->gid, m->sandbox_flags, why) &&
	       fds_ok(nfds,
		      FIXED_CHILD_FDS + CHANNEL_FDS * (c->vcpus + providers(c)) +
			      (c->backend == BACKEND_KVM),
		      why);
}

static bool start_worker_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_worker *m = msg;
	const struct vm_config *c = &m->config;
	return start_ok(c, m->uid, m->gid, m->sandbox_flags, why) &&
	       fds_ok(nfds,
		      FIXED_CHILD_FDS + CHANNEL_FDS * (c->vcpus + providers(c)) + 1 + c->modules +
			      c->serials,
		      why);
}

static bool start_storage_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool unit_disk_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool start_integration_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_integration *m = msg;
	if (!start_ok(&m->config, m->uid, m->gid, m->sandbox_flags, why))
		return false;
	if (!m->config.integration)
		return bad(why, "an integration process nobody wants");
	return in_range("again", m->again, 0, 1, why) && fds_ok(nfds, FIXED_CHILD_FDS, why);
}

static bool start_job_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_job *m = msg;
	if (!start_ok(&m->config, m->uid, m->gid, m->sandbox_flags, why))
		return false;
	return m->config.job || bad(why, "a job process for a VM");
}

static bool start_socket_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_socket *m = msg;
	if (!start_ok(&m->config, m->uid, m->gid, m->sandbox_flags, why))
		return false;
	if (!m->config.sockets)
		return bad(why, "a socket process nobody wants");
	return in_range("again", m->again, 0, 1, why) && fds_ok(nfds, FIXED_CHILD_FDS, why);
}

static bool event_connect_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_connect *m = msg;
	return in_range("port", m->port, 0, INT32_MAX, why);
}

static bool unit_connected_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_connected *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why) &&
	       fds_ok(nfds, m->error ? 0 : 1, why);
}

static bool start_probe_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_start_probe *m = msg;
	return confine_ok(m->uid, m->gid, m->sandbox_flags, why);
}

static bool probe_result_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_probe_result *m = msg;
	return in_range("usable", m->usable, 0, 1, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

static bool ready_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_ready *m = msg;
	return process_ok(&m->process, why);
}

static bool unit_run_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_run *m = msg;
	return in_range("guest clock", m->guest_ns, 0, INT64_MAX, why);
}

static bool unit_done_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_done *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why) &&
	       in_range("guest clock", m->guest_ns, 0, INT64_MAX, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

static bool unit_shutdown_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_shutdown *m = msg;
	return in_range("action", m->action, 0, GUEST_SHUTDOWNS - 1, why) &&
	       in_range("force", m->force, 0, 1, why);
}

static bool event_integration_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool event_values_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_values *m = msg;
	bool ok = in_range("count", m->count, 0, GUEST_VALUES, why);

	for (uint32_t i = 0; ok && i < m->count; i++)
		ok = pair_ok(&m->pair[i], why);
	return ok;
}

static bool unit_values_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool unit_freeze_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_freeze *m = msg;
	return in_range("seconds", m->timeout_s, 1, FREEZE_MAX_S, why);
}

static bool unit_copy_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool unit_memory_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_memory *m = msg;
	return in_range("minimum", m->minimum_bytes, 1, CONTROL_MAX_RAM, why) &&
	       in_range("target", m->target_bytes, 0, CONTROL_MAX_RAM, why);
}

static bool event_memory_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_memory *m = msg;
	return in_range("assigned", m->assigned_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("available", m->available_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("committed", m->committed_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("ballooned", m->ballooned_bytes, 0, CONTROL_MAX_RAM, why) &&
	       in_range("target", m->target_bytes, 0, CONTROL_MAX_RAM, why);
}

static bool unit_backup_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_backup *m = msg;
	return in_range("step", m->step, 0, BACKUP_STEPS - 1, why) &&
	       in_range("controller", m->controller, 0, CONTROL_CONTROLLERS - 1, why) &&
	       in_range("LUN", m->lun, 0, CONTROL_LUNS - 1, why) &&
	       fds_ok(nfds, m->step == BACKUP_COPY, why);
}

static bool event_progress_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_progress *m = msg;
	return in_range("percent", m->percent, 0, 100, why);
}

static bool event_space_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool reservations_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool unit_kept_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_unit_kept *m = msg;
	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why);
}

static bool event_disks_ok(const void *msg, size_t nfds, const struct why *why)
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

static bool event_guest_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_guest *m = msg;
	return in_range("event", m->event, GUEST_POWER_OFF, GUEST_FAULT, why) &&
	       text_ok("text", m->text, sizeof(m->text), why);
}

static bool event_crash_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_event_crash *m = msg;
	return in_range("vcpu", m->vcpu, 0, CONTROL_MAX_VCPUS - 1, why) &&
	       lines_ok("text", m->text, sizeof(m->text), why);
}

struct declaration {
	uint16_t type;
	uint16_t min_fds, max_fds;
	uint32_t bytes;
	bool (*ok)(const void *msg, size_t nfds, const struct why *why);
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

/* What would be refused becomes '?'. */
static void make_shown(char *dst, size_t len, bool lines)
{
	for (size_t i = 0; i < len;) {
		size_t step = lines && dst[i] == '\n' ? 1
						      : printable_char((unsigned char *)dst + i, len - i);
		if (!step)
			dst[i] = '?';
		i += step ? step : 1;
	}
}

void control_text(char *dst, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(dst, size, fmt, ap);
	va_end(ap);
	if (n < 0)
		dst[0] = '\0';
	size_t len = strlen(dst);
	memset(dst + len, 0, size - len);
	make_shown(dst, len, false);
}

void control_lines(char *dst, size_t size, const char *src, size_t bytes)
{
	size_t len = bytes < size ? bytes : size - 1;
	memset(dst, 0, size);
	memcpy(dst, src, len);
	make_shown(dst, strnlen(dst, len), true);
	/* Nothing behind a NUL that the guest wrote. */
	memset(dst + strlen(dst), 0, size - strlen(dst));
}

const char *vm_role_name(unsigned role)
{
	static const char *const names[ROLE_COUNT] = {"partition", "worker", "storage",
						      "integration", "job", "socket"};
	return role < ROLE_COUNT ? names[role] : "unknown";
}
