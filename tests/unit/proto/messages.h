/* SPDX-License-Identifier: Apache-2.0
 *
 * Good control messages, one of each kind, for tests to spoil.
 */
#ifndef BULKHEAD_TESTS_UNIT_PROTO_MESSAGES_H
#define BULKHEAD_TESTS_UNIT_PROTO_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/control.h"
#include "proto/disk_counters.h"

union any {
	struct msg_header h;
	struct msg_error error;
	struct msg_plain plain;
	struct msg_host_info_reply host_info;
	struct msg_vm_create create;
	struct msg_vm_created created;
	struct msg_vm_destroy destroy;
	struct msg_vm_gone gone;
	struct msg_vm_restart restart;
	struct msg_vm_restarted restarted;
	struct msg_start_partition partition;
	struct msg_start_worker worker;
	struct msg_start_storage storage;
	struct msg_unit_disk disk;
	struct msg_event_disks counted;
	struct msg_reservations reservations;
	struct msg_unit_kept kept;
	struct msg_start_integration integration;
	struct msg_unit_shutdown shutdown;
	struct msg_start_socket socket;
	struct msg_unit_connected connected;
	struct msg_event_connect connect;
	struct msg_event_integration guest;
	struct msg_event_values values;
	struct msg_unit_values told;
	struct msg_unit_freeze freeze;
	struct msg_unit_copy copy;
	struct msg_unit_backup backup;
	struct msg_event_progress progress;
	struct msg_unit_memory limits;
	struct msg_event_memory memory;
	struct msg_start_probe probe;
	struct msg_probe_result result;
	struct msg_ready ready;
	struct msg_unit_run run;
	struct msg_unit_done done;
	struct msg_event_guest event;
	struct msg_event_crash crash;
	struct msg_event_space space;
	struct msg_start_job start_job;
	struct msg_disk_job job;
	struct msg_disk_wants wants;
	struct msg_disk_parent parent;
	struct msg_disk_progress disk_progress;
	struct msg_disk_note note;
	struct msg_disk_done disk_done;
	uint8_t bytes[MSG_MAX_BYTES];
};

/* The message at hand. */
extern union any m;

struct kind {
	uint16_t type;
	size_t bytes, nfds;
	void (*fill)(void);
	bool fds_vary; /* one more is good too */
};
extern const struct kind kinds[];
extern const unsigned nkinds;

/* Makes m a good message of that kind. */
void good(const struct kind *k);
/* The kind that this function fills. */
const struct kind *kind_of(void (*fill)(void));
void config(struct vm_config *c, uint32_t backend);

/* What a kind adds to an empty message with its header. */
void error_msg(void);
void host_info_reply(void);
void vm_create(void);
void vm_created(void);
void vm_destroy(void);
void vm_gone(void);
void vm_lost(void);
void vm_restart(void);
void vm_restart_integration(void);
void vm_restarted(void);
void start_partition(void);
void start_worker(void);
void vm_create_disks(void);
void start_integration(void);
void unit_disk_add(void);
void event_disks(void);
void unit_disk_add_shared(void);
void reservations(void);
void unit_kept(void);
void unit_disk_remove(void);
void unit_disk_insert(void);
void unit_disk_eject(void);
void unit_disk_limit(void);
void start_socket(void);
void unit_not_connected(void);
void event_connect(void);
void unit_shutdown(void);
void event_integration(void);
void event_values(void);
void unit_values(void);
void unit_freeze(void);
void unit_copy(void);
void unit_copy_data(void);
void unit_memory(void);
void event_memory(void);
void unit_backup(void);
void event_progress(void);
void start_storage(void);
void start_probe(void);
void probe_result(void);
void ready(void);
void unit_run(void);
void unit_done(void);
void event_guest(void);
void event_crash(void);
void event_space(void);
void vm_create_job(void);
void vm_created_job(void);
void start_job(void);
void disk_job(void);
void disk_job_resize(void);
void disk_wants(void);
void disk_parent(void);
void disk_parent_none(void);
void disk_progress(void);
void disk_note(void);
void disk_done(void);

#endif
