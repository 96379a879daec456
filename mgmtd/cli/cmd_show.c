/* SPDX-License-Identifier: Apache-2.0
 *
 * list, show, host, version.
 */
#include "mgmtd/cli/cli.h"

#include <inttypes.h>
#include <string.h>
#include "mgmtd/vmc.h"

static void print_list(const Bulkhead__VmList *list)
{
	char size[32], up[32];
	struct table t;

	if (table_begin(&t))
		return;
	fprintf(t.f, "NAME\tSTATE\tMEMORY\tVCPUS\tBACK END\tUPTIME\n");
	for (size_t i = 0; i < list->n_vms; i++) {
		const Bulkhead__Vm *vm = list->vms[i];

		fprintf(t.f, "%s\t%s\t%s\t%u\t%s\t%s\n", vm->name, vm->state,
			text_size(vm->memory_bytes, size, sizeof(size)), vm->vcpus,
			text_backend(vm->started_ms ? vm->backend : vm->backend_wanted),
			vm->started_ms ? text_uptime(vm->uptime_ms, up, sizeof(up)) : "-");
	}
	table_end(&t);
}

int cmd_list(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmListRequest l = BULKHEAD__VM_LIST_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	if (argc != 1)
		return fail_usage(c, "list has no arguments");
	r.body_case = BULKHEAD__REQUEST__BODY_VM_LIST;
	r.vm_list = &l;
	status = call(c, &r, &reply);
	if (!status && reply->body_case == BULKHEAD__REPLY__BODY_VM_LIST) {
		if (c->json)
			print_json(&reply->vm_list->base);
		else
			print_list(reply->vm_list);
	}
	free_reply(reply);
	return status;
}

/* ---- show */

static const char *isolation(const Bulkhead__VmProcess *p, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s%s%s%s%s", p->no_new_privs ? "no_new_privs " : "",
		 p->empty_root ? "empty-root " : "", p->pid_namespace ? "pid-ns " : "",
		 p->net_namespace ? "net-ns " : "", p->ipc_namespace ? "ipc-ns " : "",
		 p->uts_namespace ? "uts-ns " : "",
		 p->seccomp_mode == 2 ? "seccomp " : "NO-SECCOMP ");
	if (p->landlock_abi)
		snprintf(buf + strlen(buf), size - strlen(buf), "landlock-%u", p->landlock_abi);
	return buf;
}

static void print_processes(const Bulkhead__Vm *vm)
{
	char text[128], caps[32];
	struct table t;

	if (!vm->n_processes || table_begin(&t))
		return;
	fprintf(t.f, "\nPROCESS\tPID\tUID\tRESTARTS\tSYSTEM CALLS\tCAPABILITIES\tCONFINEMENT\n");
	for (size_t i = 0; i < vm->n_processes; i++) {
		const Bulkhead__VmProcess *p = vm->processes[i];

		snprintf(caps, sizeof(caps), p->capabilities ? "%#" PRIx64 : "none",
			 p->capabilities);
		fprintf(t.f, "%s\t%d\t%u\t%u\t%u\t%s\t%s\n", p->role, p->pid, p->uid,
			p->restarts, p->syscalls_allowed, caps, isolation(p, text, sizeof(text)));
	}
	table_end(&t);
}

static void print_definition(FILE *f, const Bulkhead__Vm *vm)
{
	char size[32];

	fprintf(f, "memory:\t%s\n", text_size(vm->memory_bytes, size, sizeof(size)));
	fprintf(f, "processors:\t%u\n", vm->vcpus);
	fprintf(f, "back end wanted:\t%s\n", text_backend(vm->backend_wanted));
	fprintf(f, "kernel:\t%s\n", vm->kernel);
	if (vm->initrd[0])
		fprintf(f, "initrd:\t%s\n", vm->initrd);
	for (size_t i = 0; i < vm->n_modules; i++)
		fprintf(f, "module:\t%s\n", vm->modules[i]);
	if (vm->cmdline[0])
		fprintf(f, "command line:\t%s\n", vm->cmdline);
	for (size_t i = 0; i < vm->n_disks; i++) {
		const Bulkhead__VmDisk *d = vm->disks[i];

		fprintf(f, "%s %u:%u:\t%s (%s%s%s", d->kind, d->controller, d->lun,
			d->path[0] ? d->path : "empty",
			d->format, d->read_only ? ", read-only" : "", d->shared ? ", shared" : "");
		if (d->iops)
			fprintf(f, ", at most %u requests/s", d->iops);
		if (d->bytes_per_s)
			fprintf(f, ", at most %s/s", vmc_format_rate(d->bytes_per_s, size, sizeof(size)));
		fputs(")\n", f);
	}
	if (vm->controllers)
		fprintf(f, "controllers at least:\t%u\n", vm->controllers);
	fprintf(f, "serial ports:\t%u\n", vm->serial_ports);
	fprintf(f, "on reboot:\t%s\n", vm->on_reboot);
	fprintf(f, "on crash:\t%s\n", vm->on_crash);
	fprintf(f, "integration services:\t%s\n", vm->integration ? "yes" : "no");
	fprintf(f, "sockets:\t%s\n", vm->sockets ? "yes" : "no");
	fprintf(f, "exit device:\t%s\n", vm->exit_device ? "yes" : "no");
	fprintf(f, "autostart:\t%s\n", vm->autostart ? "yes" : "no");
	fprintf(f, "folder:\t%s\n", vm->folder);
}

static void print_heartbeat(FILE *f, const Bulkhead__Vm *vm)
{
	char since[64] = "";

	if (vm->heartbeat_ms)
		text_time(vm->heartbeat_ms, since, sizeof(since));
	if (vm->heartbeat == BULKHEAD__HEARTBEAT__HEARTBEAT_OK)
		fprintf(f, "heartbeat:\tOK, since %s\n", since);
	else if (vm->heartbeat == BULKHEAD__HEARTBEAT__HEARTBEAT_LOST)
		fprintf(f, "heartbeat:\tno contact since %s\n", since);
	else
		fprintf(f, "heartbeat:\tthe guest has no driver for it\n");
}

/* The guest's own words, under the names of its driver (Linux: hv_kvp_daemon). */
static void print_values(FILE *f, const Bulkhead__Vm *vm)
{
	static const struct {
		const char *key, *name;
	} names[] = {
		{"FullyQualifiedDomainName", "guest name"}, {"OSName", "guest system"},
		{"OSVersion", "guest version"},             {"OSBuildNumber", "guest kernel"},
		{"NetworkAddressIPv4", "guest IPv4"},       {"NetworkAddressIPv6", "guest IPv6"},
	};

	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		for (size_t i = 0; i < vm->n_guest_values; i++)
			if (!strcmp(vm->guest_values[i]->key, names[n].key) &&
			    vm->guest_values[i]->value[0])
				fprintf(f, "%s:\t%s\n", names[n].name, vm->guest_values[i]->value);
}

static void print_counters(const Bulkhead__Vm *vm)
{
	char in[32], out[32];
	struct table t;
	bool any = false;

	for (size_t i = 0; i < vm->n_disks; i++)
		any |= vm->disks[i]->counters != NULL;
	if (!any || table_begin(&t))
		return;
	fprintf(t.f,
		"\nDISK\tREADS\tREAD\tWRITES\tWRITTEN\tFLUSHES\tUNMAPS\tERRORS\tTIME\tQUEUE\tLIMITED\n");
	for (size_t i = 0; i < vm->n_disks; i++) {
		const Bulkhead__DiskCounters *n = vm->disks[i]->counters;

		if (!n)
			continue;
		fprintf(t.f, "%u:%u\t%" PRIu64 "\t%s\t%" PRIu64 "\t%s\t", vm->disks[i]->controller,
			vm->disks[i]->lun, n->reads, text_size(n->read_bytes, in, sizeof(in)),
			n->writes, text_size(n->written_bytes, out, sizeof(out)));
		fprintf(t.f, "%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 " ms\t%u\t%" PRIu64
			"\n",
			n->flushes, n->unmaps, n->errors, n->latency_ns / 1000000, n->queue,
			n->limited);
	}
	table_end(&t);
}

static void print_vm(const Bulkhead__Vm *vm)
{
	char text[64];
	struct table t;

	if (table_begin(&t))
		return;
	fprintf(t.f, "name:\t%s\n", vm->name);
	fprintf(t.f, "uuid:\t%s\n", vm->uuid);
	fprintf(t.f, "state:\t%s%s%s%s\n", vm->state, vm->reason[0] ? " (" : "", vm->reason,
		vm->reason[0] ? ")" : "");
	if (vm->started_ms) {
		fprintf(t.f, "started:\t%s\n", text_time(vm->started_ms, text, sizeof(text)));
		fprintf(t.f, "uptime:\t%s\n", text_uptime(vm->uptime_ms, text, sizeof(text)));
	}
	if (vm->n_processes)
		fprintf(t.f, "back end:\t%s (%s)\n", text_backend(vm->backend), vm->backend_reason);
	if (vm->n_processes && vm->integration)
		print_heartbeat(t.f, vm);
	if (vm->frozen)
		fprintf(t.f, "file systems:\tfrozen\n");
	if (vm->memory_assigned_bytes)
		fprintf(t.f, "memory now:\t%s\n",
			text_size(vm->memory_assigned_bytes, text, sizeof(text)));
	if (vm->memory_committed_bytes)
		fprintf(t.f, "memory pressure:\t%u %%\n", memory_pressure(vm));
	if (vm->warning[0])
		fprintf(t.f, "warning:\t%s\n", vm->warning);
	if (strcmp(vm->undo, "no") || vm->undo_disks)
		fprintf(t.f, "undo disks:\t%u, at the end of a session: %s\n", vm->undo_disks,
			vm->undo);
	print_values(t.f, vm);
	if (vm->has_exit_value)
		fprintf(t.f, "exit value:\t%u\n", vm->exit_value);
	print_definition(t.f, vm);
	table_end(&t);
	print_counters(vm);
	print_processes(vm);
}

int call_vm(struct cli *c, Bulkhead__Request *r, print_vm_fn *print)
{
	Bulkhead__Reply *reply;
	int status = call(c, r, &reply);

	if (!status && reply->body_case == BULKHEAD__REPLY__BODY_VM) {
		if (c->json)
			print_json(&reply->vm->base);
		else if (print)
			print(reply->vm);
	}
	free_reply(reply);
	return status;
}

int call_vm_show(struct cli *c, char *vm, print_vm_fn *print)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmShowRequest s = BULKHEAD__VM_SHOW_REQUEST__INIT;

	s.vm = vm;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_SHOW;
	r.vm_show = &s;
	return call_vm(c, &r, print);
}

int cmd_show(struct cli *c, int argc, char **argv)
{
	if (argc != 2)
		return fail_usage(c, "which virtual machine?");
	return call_vm_show(c, argv[1], print_vm);
}

/* ---- host, version */

static void print_host(const Bulkhead__Host *h)
{
	struct table t;

	if (table_begin(&t))
		return;
	fprintf(t.f, "server:\tbulkhead-mgmtd %s (pid %d, uid %u)\n", h->server_version,
		h->mgmtd_pid, h->mgmtd_uid);
	fprintf(t.f, "its confinement:\t%s\n", h->mgmtd_confinement);
	if (!h->broker_connected) {
		fprintf(t.f, "broker:\tnot connected: %s\n", h->broker_error);
	} else {
		fprintf(t.f, "broker:\tbulkhead-vmmcore %s, %s\n", h->broker_version,
			h->privileged ? "as root: full confinement of virtual machines"
				      : "NOT AS ROOT: virtual machines are confined only in part");
		fprintf(t.f, "back end:\t%s\n", text_backend(h->backend_auto));
		fprintf(t.f, "why:\t%s\n", h->backend_reason);
		fprintf(t.f, "KVM usable:\t%s\n", h->kvm_usable ? "yes" : "no");
		if (h->cgroup_version)
			fprintf(t.f, "control groups:\tversion %u\n", h->cgroup_version);
		else
			fprintf(t.f, "control groups:\tnone\n");
	}
	fprintf(t.f, "virtual machines:\t%u defined, %u running\n", h->vms_defined, h->vms_running);
	table_end(&t);
}

int cmd_host(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__HostRequest h = BULKHEAD__HOST_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	if (argc != 1)
		return fail_usage(c, "host has no arguments");
	r.body_case = BULKHEAD__REQUEST__BODY_HOST;
	r.host = &h;
	status = call(c, &r, &reply);
	if (!status && reply->body_case == BULKHEAD__REPLY__BODY_HOST) {
		if (c->json)
			print_json(&reply->host->base);
		else
			print_host(reply->host);
	}
	free_reply(reply);
	return status;
}

int cmd_version(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__HelloRequest h = BULKHEAD__HELLO_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	if (!c->json) {
		puts("bulkhead " BULKHEAD_VERSION);
		fflush(stdout);
	}
	r.body_case = BULKHEAD__REQUEST__BODY_HELLO;
	r.hello = &h;
	status = call(c, &r, &reply);
	if (status || reply->body_case != BULKHEAD__REPLY__BODY_HELLO)
		return status;
	if (c->json)
		print_json(&reply->hello->base);
	else
		printf("server %s, interface version %u; you are %s (%s)\n",
		       reply->hello->server_version, reply->hello->api_version, reply->hello->user,
		       text_role(reply->hello->role));
	free_reply(reply);
	return status;
}
