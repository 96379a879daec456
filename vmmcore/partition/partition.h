/* SPDX-License-Identifier: Apache-2.0
 *
 * Map of the partition process: one VM's memory and virtual processors, and nothing else.
 *
 *   main thread                       vCPU thread n
 *   loop: broker socket               run(): guest code, in the back end
 *         unit socket (mgmtd)           │ platform callbacks
 *         platform channel (worker)     ├── irq_*, CPUID, MSRs: answered here
 *         signal channels (providers)   ├── HvSignalEvent: signal channel ► provider
 *         clock                         └── ports and device memory: intercept channel n ► worker
 *         doorbell (vCPU threads)
 *
 * Set-up, sandbox, work, in this order: everything that takes a descriptor or makes one happens
 * before sandbox_enter(); the channels, whose other end is the worker, are first read after it.
 *
 * vCPU threads: each is running (inside run() or about to be), asleep (HLT, or waiting for SIPI) on
 * its attention word, or parked (outside run(), its registers free for others) on `releases`. To park
 * all, the main thread sets hold and kicks; the last one to park rings the doorbell. A vCPU in the
 * middle of a device read parks when the worker has answered.
 *
 * Locks: gate_lock, around a write that may move the A20 gate and its answer; the fabric and the
 * clock have theirs (irq.h).
 */
#ifndef BULKHEAD_VMMCORE_PARTITION_H
#define BULKHEAD_VMMCORE_PARTITION_H

#include <pthread.h>
#include <stdatomic.h>

#include "bus/channel.h"
#include "bus/loop.h"
#include "bus/sandbox.h"
#include "proto/control.h"
#include "proto/intercept.h"
#include "proto/vmbus.h"
#include "vmmcore/clock.h"
#include "vmmcore/hv/hv.h"
#include "vmmcore/irq/irq.h"
#include "vmmcore/vcpu.h"

enum vcpu_where { WHERE_RUNNING, WHERE_ASLEEP, WHERE_PARKED };

struct vcpu_thread {
	struct partition *part;
	struct vcpu vcpu;
	struct channel intercept;
	pthread_t id;
	_Atomic uint32_t where; /* enum vcpu_where */
	bool dead;              /* triple fault or error; cleared by reset */
	_Atomic uint32_t event; /* enum guest_event for the main thread, 0: none */
};

enum part_state {
	PART_NEW, /* power-on state; runs when it has a boot state */
	PART_RUNNING,
	PART_PAUSING, /* not all vCPUs are parked yet */
	PART_PAUSED,
	PART_DEAD, /* a vCPU cannot go on; needs a reset */
};

struct partition {
	struct vm_config config;
	struct vm vm;
	const struct vcpu_backend *backend;
	struct vcpu_backend ops;    /* the back end's, with our kick around its own */
	struct vcpu_thread *thread; /* config.vcpus of them; owned */
	unsigned threads_started;

	struct loop *loop;
	struct clock *clock;
	struct irq_fabric *irq;
	struct hv *hv;
	struct hv_glue *glue; /* hypervisor.c's; owned */
	struct channel platform, vmbus;
	struct channel signal[PROVIDER_COUNT]; /* no mapping: there is no such provider */
	int broker_sock, unit_sock;            /* owned */
	int doorbell;                          /* eventfd: a vCPU thread wants the main thread */
	struct loop_source *pause_timer;

	_Atomic uint64_t ticket;   /* next one for an intercept */
	pthread_mutex_t gate_lock; /* of vCPU threads: answers about A20 are taken in order */
	_Atomic uint32_t hold;     /* 1: park */
	_Atomic uint32_t releases; /* so often those that had parked were let go: parked threads wait on it */
	_Atomic uint32_t unparked; /* threads not parked */

	enum part_state state;
	uint64_t pause_cookie;
	bool pause_asked; /* pause_cookie waits for its answer */
	bool fresh;       /* registers are to be set before the next run */
	bool have_boot;
	bool clock_runs;
	struct platform_boot boot;
};

/* What the broker has handed over; the order is proto/control.h's. */
struct part_fds {
	int unit, ram, gen, kvm;
	struct channel_fds platform, vmbus, intercept[CONTROL_MAX_VCPUS];
	struct channel_fds signal[PROVIDER_COUNT]; /* -1: no such provider */
};

/* memory.c */
/* Reserves the guest-physical range and maps RAM and generation counters into it. The descriptors
 * stay the caller's. */
int memory_map(struct vm_memory *mem, int ram_fd, int gen_fd, uint64_t size);
void memory_unmap(struct vm_memory *mem);

/* platform.c: what the back end asks of us */
extern const struct vcpu_platform partition_platform;

/* msr.c: MSRs that neither the back end nor the fabric has; as vcpu_platform */
int msr_read(struct vcpu *v, uint32_t index, uint64_t *value);
int msr_write(struct vcpu *v, uint32_t index, uint64_t value);

/* cpuid.c: what the guest sees, composed of the back end's features and the VM's shape */
void partition_cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* thread.c */
/* Makes as many threads as there will be, and ends them: so that glibc has done, before the
 * sandbox, what it does for the first thread, and keeps their stacks for those to come. */
int threads_rehearse(struct partition *p);
int threads_start(struct partition *p); /* all park at once */
void threads_hold(struct partition *p); /* asks all to park; doorbell when they have */
bool threads_parked(struct partition *p);
void threads_release(struct partition *p);
void threads_join(struct partition *p); /* ends them, parked or not */
void thread_kick(struct vcpu *v);       /* the kick of p->ops */

/* hypervisor.c: the hypervisor personality, and VMBus between it, the worker and providers */
int hypervisor_new(struct partition *p);
int hypervisor_open(struct partition *p); /* watches the VMBus and signal channels */
void hypervisor_reset(struct partition *p);
/* On the main thread, after the doorbell: what vCPU threads left for it. */
void hypervisor_doorbell(struct partition *p);

/* setup.c */
/* Before the sandbox: everything but the vCPU threads. Channels are attached, not read. Takes over
 * fds->unit and the channels'; on failure the process ends. */
int partition_setup(struct partition *p, const struct msg_start_partition *msg,
		    const struct part_fds *fds, char *why, size_t why_size);

/* boot.c: registers of a VM that starts */
int boot_registers(struct partition *p, char *why, size_t why_size);

/* unit.c: run, pause, reset, events, lines; the handlers of the loop */
int unit_open(struct partition *p);
/* To mgmtd: something happened to the guest. */
void partition_send(struct partition *p, const struct msg_header *event);
void partition_event(struct partition *p, enum guest_event event, const char *text);

/* probe.c: bulkhead-partition --probe; returns the exit status */
int probe_main(int sock);

#endif
