/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays broker, mgmtd, partition and a provider for one real bulkhead-worker process.
 */
#ifndef BULKHEAD_TESTS_WORKER_PEER_H
#define BULKHEAD_TESTS_WORKER_PEER_H

#include <sys/types.h>

#include "bus/channel.h"
#include "bus/guestmem.h"
#include "proto/control.h"
#include "proto/intercept.h"
#include "proto/vmbus.h"

enum { PEER_VCPUS = 2, PEER_RAM = 64 << 20 };

struct peer {
	pid_t pid;
	int broker, unit, serial[CONTROL_MAX_SERIAL];
	struct guestmem gm;
	struct channel platform, vmbus, vcpu[PEER_VCPUS];
	struct channel provider; /* with config.disks */
	uint64_t ticket;
	uint32_t lines; /* as the worker has driven them */
	unsigned rises[24];
	bool booted;
	struct platform_boot boot;
	struct msg_ready ready;
};

/* Starts the worker whose path is in the environment (BULKHEAD_WORKER), with these boot files
 * (module_fd -1: none). Fails the test if it does not become READY. */
void peer_start(struct peer *p, int kernel_fd, int module_fd, const struct vm_config *change);
/* Ends it, returns its wait status. */
int peer_stop(struct peer *p);
/* A small configuration to begin with. */
struct vm_config peer_config(void);

/* Sends a unit operation and waits for its answer; events on the way go to *event (may be NULL). */
struct msg_unit_done peer_unit(struct peer *p, unsigned type, uint64_t guest_ns);
/* Waits for an event. */
struct msg_event_guest peer_event(struct peer *p);
bool peer_has_event(struct peer *p, int timeout_ms);

uint64_t peer_read(struct peer *p, unsigned vcpu, unsigned type, uint64_t address, unsigned size);
void peer_post(struct peer *p, unsigned vcpu, uint64_t ticket, unsigned type, uint64_t address,
	       unsigned size, uint64_t value);
uint8_t peer_in(struct peer *p, uint16_t port);
void peer_out(struct peer *p, uint16_t port, uint8_t value);
/* Takes what is in the platform channel; waits at most so long for something to come. */
void peer_platform(struct peer *p, int timeout_ms);

#endif
