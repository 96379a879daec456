/* SPDX-License-Identifier: Apache-2.0
 *
 * Our structs as messages of the API.
 */
#include <stdio.h>
#include <string.h>
#include "mgmtd/api.h"
#include "mgmtd/disks.h"

Bulkhead__Error *fill_error(struct arena *a, const struct fault *f)
{
	Bulkhead__Error *e = arena_alloc(a, sizeof(*e));

	bulkhead__error__init(e);
	e->code = (Bulkhead__ErrorCode)f->code;
	e->what = arena_string(a, f->what);
	e->where = arena_string(a, f->where);
	e->hint = arena_string(a, f->hint);
	e->job = f->job;
	return e;
}

/* A line each. */
static void fill_notes(struct arena *a, const struct job *job, Bulkhead__Job *j)
{
	char *rest = arena_string(a, job->notes ? job->notes : ""), *line;
	size_t n = 1;

	for (const char *c = rest; *c; c++)
		n += *c == '\n';
	j->notes = arena_alloc(a, n * sizeof(*j->notes));
	while (*rest && (line = strsep(&rest, "\n")) != NULL) {
		j->notes[j->n_notes++] = line;
		if (!rest)
			break;
	}
}

Bulkhead__Job *fill_job(struct arena *a, const struct job *job)
{
	Bulkhead__Job *j = arena_alloc(a, sizeof(*j));

	bulkhead__job__init(j);
	j->id = job->id;
	j->kind = arena_string(a, job->kind);
	j->vm = arena_string(a, job->vm);
	j->user = arena_string(a, job->user);
	j->state = (Bulkhead__JobState)job->state;
	j->percent = job->percent;
	j->doing = arena_string(a, job->doing);
	j->cancellable = job->cancellable;
	j->started_ms = job->started_ms;
	j->ended_ms = job->ended_ms;
	j->image = arena_string(a, job->image);
	j->result = arena_string(a, job->result);
	fill_notes(a, job, j);
	if (job->fault.code)
		j->error = fill_error(a, &job->fault);
	return j;
}

Bulkhead__Event *fill_event(struct arena *a, const struct event *event)
{
	Bulkhead__Event *e = arena_alloc(a, sizeof(*e));

	bulkhead__event__init(e);
	e->id = event->id;
	e->time_ms = event->time_ms;
	e->severity = (Bulkhead__Severity)event->severity;
	e->kind = arena_string(a, event->kind);
	e->vm = arena_string(a, event->vm);
	e->user = arena_string(a, event->user);
	e->text = arena_string(a, event->text);
	e->detail = arena_string(a, event->detail ? event->detail : "");
	return e;
}

static Bulkhead__VmProcess *fill_process(struct arena *a, unsigned role,
					 const struct vm_process *from)
{
	Bulkhead__VmProcess *p = arena_alloc(a, sizeof(*p));

	bulkhead__vm_process__init(p);
	p->role = arena_string(a, vm_role_name(role));
	p->pid = from->pid;
	p->uid = from->uid;
	p->syscalls_allowed = from->syscalls_allowed;
	p->capabilities = from->capabilities;
	p->no_new_privs = from->no_new_privs;
	p->seccomp_mode = from->seccomp_mode;
	p->landlock_abi = from->landlock_abi;
	p->empty_root = from->empty_root;
	p->pid_namespace = from->pid_namespace;
	p->net_namespace = from->net_namespace;
	p->ipc_namespace = from->ipc_namespace;
	p->uts_namespace = from->uts_namespace;
	return p;
}

static void fill_processes(struct arena *a, const struct vm *vm, Bulkhead__Vm *m)
{
	m->processes = arena_alloc(a, ROLE_COUNT * sizeof(*m->processes));
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (vm->run.process[i].pid)
			m->processes[m->n_processes++] = fill_process(a, i, &vm->run.process[i]);
	for (unsigned i = 0, at = 0; i < ROLE_COUNT; i++)
		if (vm->run.process[i].pid)
			m->processes[at++]->restarts = vm->run.restarts[i].count;
}

static Bulkhead__DiskCounters *fill_counters(struct arena *a, const struct vm *vm,
					     const struct vmc_disk *d)
{
	for (uint32_t i = 0; i < vm->run.counted[d->controller].count; i++) {
		const struct disk_counted *n = &vm->run.counted[d->controller].disk[i];
		Bulkhead__DiskCounters *m;

		if (n->lun != d->lun)
			continue;
		m = arena_alloc(a, sizeof(*m));
		bulkhead__disk_counters__init(m);
		m->reads = n->reads;
		m->read_bytes = n->read_bytes;
		m->writes = n->writes;
		m->written_bytes = n->written_bytes;
		m->flushes = n->flushes;
		m->unmaps = n->unmaps;
		m->errors = n->errors;
		m->latency_ns = n->latency_ns;
		m->queue = n->queue;
		m->limited = n->limited;
		return m;
	}
	return NULL;
}

static void fill_disks(struct arena *a, const struct vm *vm, Bulkhead__Vm *m)
{
	const struct vmc *def = &vm->def;

	m->disks = arena_alloc(a, (def->ndisks + 1) * sizeof(*m->disks));
	for (unsigned i = 0; i < def->ndisks; i++) {
		const struct vmc_disk *from = &def->disk[i];
		Bulkhead__VmDisk *d = arena_alloc(a, sizeof(*d));

		bulkhead__vm_disk__init(d);
		d->controller = from->controller;
		d->lun = from->lun;
		d->has_lun = true;
		d->path = arena_string(a, from->path);
		d->kind = arena_string(a, vmc_disk_kind_name(from->kind));
		d->format = arena_string(a, vmc_disk_format_name(from->format));
		d->read_only = from->read_only;
		d->shared = from->shared;
		d->iops = from->iops;
		d->bytes_per_s = from->bytes_per_s;
		d->counters = fill_counters(a, vm, from);
		m->disks[m->n_disks++] = d;
	}
}

static void fill_definition(struct arena *a, const struct vmc *def, Bulkhead__Vm *m)
{
	char uuid[VMC_UUID_TEXT];

	m->name = arena_string(a, def->name);
	m->uuid = arena_string(a, vmc_format_uuid(def->uuid, uuid));
	m->memory_bytes = def->ram_bytes;
	m->memory_minimum_bytes = vmc_minimum(def);
	m->memory_maximum_bytes = vmc_maximum(def);
	m->vcpus = def->vcpus;
	m->backend_wanted = (Bulkhead__Backend)def->backend;
	m->kernel = arena_string(a, def->kernel);
	m->initrd = arena_string(a, def->initrd ? def->initrd : "");
	m->n_modules = def->nmodules;
	m->modules = arena_alloc(a, (def->nmodules + 1) * sizeof(*m->modules));
	for (unsigned i = 0; i < def->nmodules; i++)
		m->modules[i] = arena_string(a, def->module[i]);
	m->cmdline = arena_string(a, def->cmdline ? def->cmdline : "");
	m->serial_ports = def->nserial;
	m->autostart = def->autostart;
	m->on_reboot = arena_string(a, def->on_reboot == VMC_OFF ? "off" : "restart");
	m->on_crash = arena_string(a, def->on_crash == VMC_OFF ? "off" : "restart");
	m->exit_device = def->exit_device;
	m->integration = def->integration;
	m->controllers = def->controllers;
	m->sockets = def->sockets;
}

static Bulkhead__GuestValue **fill_values(struct arena *a, const struct guest_value *from, size_t n)
{
	Bulkhead__GuestValue **to = arena_alloc(a, (n + 1) * sizeof(*to));

	for (size_t i = 0; i < n; i++) {
		to[i] = arena_alloc(a, sizeof(*to[i]));
		bulkhead__guest_value__init(to[i]);
		to[i]->key = arena_string(a, from[i].key);
		to[i]->value = arena_string(a, from[i].value);
	}
	return to;
}

Bulkhead__Vm *fill_vm(struct arena *a, const struct vm *vm, bool processes)
{
	Bulkhead__Vm *m = arena_alloc(a, sizeof(*m));
	char warning[CONTROL_TEXT_BYTES];

	bulkhead__vm__init(m);
	fill_definition(a, &vm->def, m);
	fill_disks(a, vm, m);
	m->state_code = (Bulkhead__VmState)vm->state;
	m->state = arena_string(a, state_name(vm->state));
	m->reason = arena_string(a, vm->reason);
	m->folder = arena_printf(a, "%s/vms/%s", vm->d->settings.state_dir, vm->def.name);
	m->job = vm->job ? vm->job->id : 0;
	m->warning = arena_string(a, space_warning(vm, warning, sizeof(warning)));
	m->undo = arena_string(a, vmc_undo_name(vm->def.undo));
	m->undo_disks = processes ? undo_count(vm) : 0; /* not for lists: it looks at files */
	m->has_exit_value = vm->has_exit_value;
	m->exit_value = vm->exit_value;
	if (vm->run.started_ms) {
		m->started_ms = vm->run.started_ms;
		m->uptime_ms = (monotonic_ns() - vm->run.started_ns) / NS_PER_MS;
	}
	if (vm->run.process[ROLE_PARTITION].pid) {
		m->backend = (Bulkhead__Backend)vm->run.backend;
		m->backend_reason = arena_string(a, vm->run.backend_reason);
		m->heartbeat = (Bulkhead__Heartbeat)vm->run.heartbeat;
		m->heartbeat_ms = vm->run.heartbeat_ms;
		m->frozen = vm->run.frozen;
		m->memory_assigned_bytes = vm->run.memory.assigned_bytes;
		m->memory_available_bytes = vm->run.memory.available_bytes;
		m->memory_committed_bytes = vm->run.memory.committed_bytes;
		m->memory_ballooned_bytes = vm->run.memory.ballooned_bytes;
		m->memory_target_bytes = vm->run.memory.target_bytes;
	}
	if (processes) {
		fill_processes(a, vm, m);
		m->n_guest_values = vm->run.nvalues;
		m->guest_values = fill_values(a, vm->run.value, vm->run.nvalues);
		m->n_host_values = vm->def.nvalues;
		m->host_values = fill_values(a, vm->def.value, vm->def.nvalues);
		m->host_values_told = (Bulkhead__Told)vm->run.told;
	}
	return m;
}
