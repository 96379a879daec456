/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/messages.h"

#include <errno.h>
#include <string.h>

#include "bus/sandbox.h"
#include "tests/unit/bus/suite.h"

union any m;

void config(struct vm_config *c, uint32_t backend)
{
	*c = (struct vm_config){
		.id = 7,
		.ram_bytes = 512ull << 20,
		.vcpus = 2,
		.backend = backend,
		.modules = 1,
		.serials = 2,
		.name = "Büro 1",
		.cmdline = "console=ttyS0 quiet",
	};
}

void error_msg(void)
{
	m.error.error = ENOENT;
	strcpy(m.error.text, "no such thing");
}

void host_info_reply(void)
{
	m.host_info.backend_auto = BACKEND_EMU;
	m.host_info.cgroup_version = 2;
	m.host_info.privileged = 1;
	strcpy(m.host_info.backend_reason, "the probe guest did not finish");
	strcpy(m.host_info.version, "0.1.0");
}

void vm_create(void)
{
	config(&m.create.config, BACKEND_AUTO);
}

static void process(struct vm_process *p)
{
	*p = (struct vm_process){.pid = 12, .uid = 70001, .no_new_privs = 1, .seccomp_mode = 2};
}

void vm_created(void)
{
	m.created.backend = BACKEND_KVM;
	m.created.roles = 3;
	process(&m.created.process[0]);
	process(&m.created.process[1]);
}

void vm_destroy(void)
{
	m.destroy.id = 7;
}

void vm_gone(void)
{
	m.gone.id = 7;
	m.gone.role = ROLE_WORKER;
	m.gone.pid = 12;
	m.gone.signal = 9;
	strcpy(m.gone.text, "worker (pid 12) was killed by signal 9 (Killed)");
}

static void disks(struct vm_config *c, struct vm_disk *disk)
{
	c->disks = 2;
	disk[0] = (struct vm_disk){
		.controller = 0, .lun = 63, .format = VM_FORMAT_VHDX, .chain = 2, .serial = "A-1"};
	disk[1] = (struct vm_disk){.controller = 3,
				   .lun = 63,
				   .kind = VM_DVD,
				   .read_only = 1,
				   .format = VM_FORMAT_RAW,
				   .chain = 1};
}

void vm_lost(void)
{
	vm_gone();
	m.gone.role = ROLE_STORAGE;
}

void vm_restart(void)
{
	struct vm_config c;

	config(&c, BACKEND_EMU);
	disks(&c, m.restart.disk);
	m.restart.id = 7;
	m.restart.role = ROLE_STORAGE;
	m.restart.disks = c.disks;
}

void vm_restart_integration(void)
{
	m.restart.id = 7;
	m.restart.role = ROLE_INTEGRATION;
}

void vm_restarted(void)
{
	m.restarted.id = 7;
	m.restarted.role = ROLE_SOCKET;
	process(&m.restarted.process);
}

void start_partition(void)
{
	config(&m.partition.config, BACKEND_EMU);
	m.partition.uid = m.partition.gid = 70001;
}

static void start_partition_kvm(void)
{
	config(&m.partition.config, BACKEND_KVM);
	m.partition.sandbox_flags = SANDBOX_UNPRIVILEGED;
}

void start_worker(void)
{
	config(&m.worker.config, BACKEND_KVM);
	m.worker.uid = m.worker.gid = 70002;
}

/* A VM with two disks, the first of them differencing: three descriptors. */
void vm_create_disks(void)
{
	config(&m.create.config, BACKEND_AUTO);
	disks(&m.create.config, m.create.disk);
}

static void vm_created_disks(void)
{
	vm_created();
	m.created.roles = 7;
	process(&m.created.process[2]);
}

static void vm_created_integration(void)
{
	vm_created();
	m.created.roles = 3 | 1 << ROLE_INTEGRATION;
	process(&m.created.process[ROLE_INTEGRATION]);
}

static void start_worker_integration(void)
{
	start_worker();
	m.worker.config.disks = 1;
	m.worker.config.integration = 1;
}

void start_integration(void)
{
	config(&m.integration.config, BACKEND_EMU);
	m.integration.config.integration = 1;
	m.integration.uid = m.integration.gid = 70005;
}

void unit_disk_add(void)
{
	m.disk.action = DISK_ADD;
	m.disk.disk = (struct vm_disk){.lun = 3, .format = VM_FORMAT_VHD, .chain = 2};
}

void event_disks(void)
{
	m.counted.controller = 3;
	m.counted.count = 2;
	m.counted.disk[0].controller = m.counted.disk[1].controller = 3;
	m.counted.disk[1].lun = 63;
}

void unit_disk_remove(void)
{
	m.disk.action = DISK_REMOVE;
	m.disk.disk = (struct vm_disk){.controller = 1, .format = VM_FORMAT_RAW, .chain = 1};
}

void unit_disk_insert(void)
{
	m.disk.action = DISK_INSERT;
	m.disk.disk = (struct vm_disk){
		.kind = VM_DVD, .read_only = 1, .format = VM_FORMAT_RAW, .chain = 1};
}

void unit_disk_eject(void)
{
	unit_disk_insert();
	m.disk.action = DISK_EJECT;
	m.disk.force = 1;
	m.disk.disk.chain = 0;
}

/* A drive without a medium. */
static void unit_disk_add_empty(void)
{
	unit_disk_insert();
	m.disk.action = DISK_ADD;
	m.disk.disk.chain = 0;
}

void unit_disk_add_shared(void)
{
	m.disk.action = DISK_ADD;
	m.disk.disk = (struct vm_disk){
		.controller = 3, .lun = 63, .format = VM_FORMAT_RAW, .chain = 1, .shared = 1};
}

static void unit_disk_present(void)
{
	unit_disk_add();
	m.disk.action = DISK_PRESENT;
}

void reservations(void)
{
	m.reservations.controller = 3;
	m.reservations.lun = 63;
	m.reservations.keep = 1;
	m.reservations.state.type = 5;
	m.reservations.state.holder = 15;
	m.reservations.state.seat[15].owner[0] = 1;
	m.reservations.state.seat[15].key = 7;
}

void unit_kept(void)
{
	m.kept.error = 28;
}

void unit_disk_limit(void)
{
	m.disk.action = DISK_LIMIT;
	m.disk.disk = (struct vm_disk){.format = VM_FORMAT_RAW,
				       .chain = 1,
				       .iops = UINT32_MAX,
				       .bytes_per_s = CONTROL_MIN_RATE};
}

void start_socket(void)
{
	config(&m.socket.config, BACKEND_EMU);
	m.socket.config.sockets = 1;
	m.socket.uid = m.socket.gid = 70006;
}

static void unit_connected(void)
{
}

void unit_not_connected(void)
{
	m.connected.error = ECONNREFUSED;
}

void event_connect(void)
{
	m.connect.port = INT32_MAX;
}

void unit_shutdown(void)
{
	m.shutdown.action = GUEST_RESTART;
	m.shutdown.force = 1;
}

void event_integration(void)
{
	m.guest.heartbeat = HEARTBEAT_LOST;
	m.guest.services = 7;
}

void event_values(void)
{
	m.values.count = GUEST_VALUES;
	strcpy(m.values.pair[GUEST_VALUES - 1].key, "OSName");
}

void unit_values(void)
{
	m.told.count = 2;
	strcpy(m.told.pair[0].key, "role");
	strcpy(m.told.pair[0].value, "db");
	strcpy(m.told.pair[1].key, "k");
}

void unit_freeze(void)
{
	m.freeze.timeout_s = FREEZE_MAX_S;
}

void unit_copy(void)
{
	m.copy.flags = COPY_OVERWRITE | COPY_CREATE_PATH;
	strcpy(m.copy.folder, "/r/");
	strcpy(m.copy.name, "f");
}

void unit_copy_data(void)
{
	m.copy.step = COPY_DATA;
	m.copy.bytes = COPY_DATA_BYTES;
}

void unit_memory(void)
{
	m.limits.minimum_bytes = CONTROL_MIN_RAM;
}

void event_memory(void)
{
	m.memory.assigned_bytes = m.memory.committed_bytes = CONTROL_MAX_RAM;
}

void unit_backup(void)
{
	m.backup.step = BACKUP_COPY;
	m.backup.lun = 63;
}

void event_progress(void)
{
	m.progress.percent = 100;
}

static void start_partition_disks(void)
{
	start_partition();
	m.partition.config.disks = 1;
}

static void start_worker_disks(void)
{
	start_worker();
	m.worker.config.disks = 1;
}

void start_storage(void)
{
	config(&m.storage.config, BACKEND_EMU);
	disks(&m.storage.config, m.storage.disk);
	m.storage.uid = m.storage.gid = 70004;
}

void start_probe(void)
{
	m.probe.uid = m.probe.gid = 70003;
}

void probe_result(void)
{
	m.result.usable = 1;
}

void ready(void)
{
	process(&m.ready.process);
}

void unit_run(void)
{
	m.run.guest_ns = 1000000000;
}

void unit_done(void)
{
	m.done.guest_ns = 1000000000;
}

void event_guest(void)
{
	m.event.event = GUEST_EXIT;
	m.event.value = 31;
}

void event_crash(void)
{
	m.crash.vcpu = CONTROL_MAX_VCPUS - 1;
	m.crash.parameter[2] = UINT64_MAX;
	strcpy(m.crash.text, "Oops\nKernel panic\n");
}

void event_space(void)
{
	m.space.controller = CONTROL_CONTROLLERS - 1;
	m.space.lun = CONTROL_LUNS - 1;
	m.space.left = 1 << 20;
}

static void job_config(struct vm_config *c)
{
	config(c, BACKEND_EMU);
	c->job = 1;
	c->serials = c->modules = 0;
}

void vm_create_job(void)
{
	job_config(&m.create.config);
}

void vm_created_job(void)
{
	m.created.backend = BACKEND_EMU;
	m.created.roles = 1 << ROLE_JOB;
	process(&m.created.process[ROLE_JOB]);
}

void start_job(void)
{
	job_config(&m.start_job.config);
	m.start_job.uid = m.start_job.gid = 70006;
}

void disk_job(void)
{
	m.job.op = DISK_OP_COPY;
	m.job.flags = DISK_JOB_PREALLOCATE;
	m.job.out_format = VM_FORMAT_VHD;
	m.job.out_type = 1;
}

static void disk_job_child(void)
{
	m.job.op = DISK_OP_CREATE;
	m.job.flags = DISK_JOB_CHILD;
	m.job.out_format = VM_FORMAT_VHDX;
	strcpy(m.job.relative, "base.vhdx");
}

void disk_job_resize(void)
{
	m.job.op = DISK_OP_RESIZE;
	m.job.relative_size = -1;
	m.job.size = 1 << 20;
}

static void disk_job_rebase(void)
{
	m.job.op = DISK_OP_REBASE;
	strcpy(m.job.relative, "../new.vhd");
	strcpy(m.job.absolute, "/images/new.vhd");
}

void disk_wants(void)
{
	m.wants.other = 1;
	m.wants.depth = CONTROL_MAX_CHAIN - 1;
	m.wants.names = DISK_JOB_NAMES;
	strcpy(m.wants.name[DISK_JOB_NAMES - 1].path, "../a\tb");
}

void disk_parent(void)
{
	m.parent.by_name = 1;
}

void disk_parent_none(void)
{
	m.parent.error = ENOENT;
}

void disk_progress(void)
{
	m.disk_progress.done = m.disk_progress.total = 1ull << 40;
}

void disk_note(void)
{
	strcpy(m.note.text, "a lost block");
}

void disk_done(void)
{
	m.disk_done.error = ESTALE;
	m.disk_done.depth = 3;
	m.disk_done.other = 1;
	strcpy(m.disk_done.text, "its parent was modified");
}

static void plain(void)
{
}

/* One good message of each kind. The sizes and descriptor counts are written out, not taken from
 * the code under test. */
const struct kind kinds[] = {
	{MSG_ERROR, sizeof(struct msg_error), 0, error_msg},
	{MSG_OK, sizeof(struct msg_plain), 0, plain},
	{MSG_HOST_INFO, sizeof(struct msg_plain), 0, plain},
	{MSG_HOST_INFO_REPLY, sizeof(struct msg_host_info_reply), 0, host_info_reply},
	{MSG_VM_CREATE, sizeof(struct msg_vm_create), 1 + 1, vm_create},
	{MSG_VM_CREATED, sizeof(struct msg_vm_created), 2 + 1, vm_created, true},
	{MSG_VM_DESTROY, sizeof(struct msg_vm_destroy), 0, vm_destroy},
	{MSG_VM_GONE, sizeof(struct msg_vm_gone), 0, vm_gone},
	{MSG_VM_LOST, sizeof(struct msg_vm_gone), 0, vm_lost},
	{MSG_VM_RESTART, sizeof(struct msg_vm_restart), 3, vm_restart},
	{MSG_VM_RESTART, sizeof(struct msg_vm_restart), 0, vm_restart_integration},
	{MSG_VM_RESTARTED, sizeof(struct msg_vm_restarted), 1, vm_restarted},
	{MSG_START_PARTITION, sizeof(struct msg_start_partition), 3 + 2 * 3 + 2 * 3,
	 start_partition},
	{MSG_START_PARTITION, sizeof(struct msg_start_partition), 3 + 2 * 3 + 2 * 3 + 1,
	 start_partition_kvm},
	{MSG_START_WORKER, sizeof(struct msg_start_worker), 3 + 2 * 3 + 2 * 3 + 1 + 1 + 2,
	 start_worker},
	{MSG_VM_CREATE, sizeof(struct msg_vm_create), 1 + 1 + 3, vm_create_disks},
	{MSG_VM_CREATED, sizeof(struct msg_vm_created), 3 + 1, vm_created_disks, true},
	{MSG_START_PARTITION, sizeof(struct msg_start_partition), 3 + 2 * 3 + 2 * 3 + 3,
	 start_partition_disks},
	{MSG_START_WORKER, sizeof(struct msg_start_worker), 3 + 2 * 3 + 2 * 3 + 3 + 1 + 1 + 2,
	 start_worker_disks},
	{MSG_VM_CREATED, sizeof(struct msg_vm_created), 3 + 1, vm_created_integration, true},
	{MSG_START_WORKER, sizeof(struct msg_start_worker), 3 + 2 * 3 + 2 * 3 + 2 * 3 + 1 + 1 + 2,
	 start_worker_integration},
	{MSG_START_INTEGRATION, sizeof(struct msg_start_integration), 3 + 3 + 3, start_integration},
	{MSG_START_SOCKET, sizeof(struct msg_start_socket), 3 + 3 + 3, start_socket},
	{MSG_UNIT_LISTEN, sizeof(struct msg_plain), 1, plain},
	{MSG_UNIT_CONNECTED, sizeof(struct msg_unit_connected), 1, unit_connected},
	{MSG_UNIT_CONNECTED, sizeof(struct msg_unit_connected), 0, unit_not_connected},
	{MSG_EVENT_CONNECT, sizeof(struct msg_event_connect), 0, event_connect},
	{MSG_UNIT_SHUTDOWN, sizeof(struct msg_unit_shutdown), 0, unit_shutdown},
	{MSG_EVENT_INTEGRATION, sizeof(struct msg_event_integration), 0, event_integration},
	{MSG_EVENT_VALUES, sizeof(struct msg_event_values), 0, event_values},
	{MSG_UNIT_VALUES, sizeof(struct msg_unit_values), 0, unit_values},
	{MSG_UNIT_FREEZE, sizeof(struct msg_unit_freeze), 0, unit_freeze},
	{MSG_UNIT_THAW, sizeof(struct msg_plain), 0, plain},
	{MSG_UNIT_COPY, sizeof(struct msg_unit_copy), 0, unit_copy},
	{MSG_UNIT_BACKUP, sizeof(struct msg_unit_backup), 1, unit_backup},
	{MSG_EVENT_PROGRESS, sizeof(struct msg_event_progress), 0, event_progress},
	{MSG_UNIT_MEMORY, sizeof(struct msg_unit_memory), 0, unit_memory},
	{MSG_EVENT_MEMORY, sizeof(struct msg_event_memory), 0, event_memory},
	{MSG_UNIT_COPY, sizeof(struct msg_unit_copy), 0, unit_copy_data},
	{MSG_START_STORAGE, sizeof(struct msg_start_storage), 3 + 3 + 3 + 1 + 3, start_storage},
	{MSG_START_PROBE, sizeof(struct msg_start_probe), 1, start_probe},
	{MSG_PROBE_RESULT, sizeof(struct msg_probe_result), 0, probe_result},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 2, unit_disk_add},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 1 + 1, unit_disk_add_shared},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 2, unit_disk_present},
	{MSG_UNIT_RESERVATIONS, sizeof(struct msg_reservations), 0, reservations},
	{MSG_EVENT_RESERVATIONS, sizeof(struct msg_reservations), 0, reservations},
	{MSG_UNIT_KEPT, sizeof(struct msg_unit_kept), 0, unit_kept},
	{MSG_RESERVATIONS, sizeof(struct msg_plain), 1, plain},
	{MSG_RESERVATIONS_REPLY, sizeof(struct msg_plain), 1, plain},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 0, unit_disk_remove},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 0, unit_disk_limit},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 1, unit_disk_insert},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 0, unit_disk_eject},
	{MSG_UNIT_DISK, sizeof(struct msg_unit_disk), 0, unit_disk_add_empty},
	{MSG_EVENT_DISKS, sizeof(struct msg_event_disks), 0, event_disks},
	{MSG_READY, sizeof(struct msg_ready), 0, ready},
	{MSG_FAILED, sizeof(struct msg_error), 0, error_msg},
	{MSG_UNIT_LOAD, sizeof(struct msg_plain), 0, plain},
	{MSG_UNIT_RUN, sizeof(struct msg_unit_run), 0, unit_run},
	{MSG_UNIT_PAUSE, sizeof(struct msg_plain), 0, plain},
	{MSG_UNIT_RESET, sizeof(struct msg_plain), 0, plain},
	{MSG_UNIT_CLOSE, sizeof(struct msg_plain), 0, plain},
	{MSG_UNIT_DONE, sizeof(struct msg_unit_done), 0, unit_done},
	{MSG_EVENT_GUEST, sizeof(struct msg_event_guest), 0, event_guest},
	{MSG_EVENT_CRASH, sizeof(struct msg_event_crash), 0, event_crash},
	{MSG_EVENT_SPACE, sizeof(struct msg_event_space), 0, event_space},
	{MSG_VM_CREATE, sizeof(struct msg_vm_create), 0, vm_create_job},
	{MSG_VM_CREATED, sizeof(struct msg_vm_created), 1, vm_created_job},
	{MSG_START_JOB, sizeof(struct msg_start_job), 1, start_job},
	{MSG_DISK_JOB, sizeof(struct msg_disk_job), 2, disk_job},
	{MSG_DISK_JOB, sizeof(struct msg_disk_job), 2, disk_job_child},
	{MSG_DISK_JOB, sizeof(struct msg_disk_job), 1, disk_job_resize},
	{MSG_DISK_JOB, sizeof(struct msg_disk_job), 2, disk_job_rebase},
	{MSG_DISK_WANTS, sizeof(struct msg_disk_wants), 0, disk_wants},
	{MSG_DISK_PARENT, sizeof(struct msg_disk_parent), 1, disk_parent},
	{MSG_DISK_PARENT, sizeof(struct msg_disk_parent), 0, disk_parent_none},
	{MSG_DISK_CANCEL, sizeof(struct msg_plain), 0, plain},
	{MSG_DISK_PROGRESS, sizeof(struct msg_disk_progress), 0, disk_progress},
	{MSG_DISK_NOTE, sizeof(struct msg_disk_note), 0, disk_note},
	{MSG_DISK_DONE, sizeof(struct msg_disk_done), 0, disk_done},
};
const unsigned nkinds = sizeof(kinds) / sizeof(*kinds);

void good(const struct kind *k)
{
	memset(&m, 0, sizeof(m));
	control_header(&m.h, k->type, 99);
	k->fill();
	must(m.h.bytes == k->bytes);
}

const struct kind *kind_of(void (*fill)(void))
{
	for (unsigned i = 0; i < nkinds; i++)
		if (kinds[i].fill == fill)
			return &kinds[i];
	ck_abort_msg("no such kind");
}
