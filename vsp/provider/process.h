/* SPDX-License-Identifier: Apache-2.0
 *
 * The process around a provider: what each of them takes over from the broker in the same way, and
 * its socket to mgmtd. A provider's main():
 *
 *   start_receive ──► process_set_up ──► its own set-up ──► process_enter
 *   ──► provider_offer ... ──► loop_run
 *
 * Its START message begins with struct provider_start; its descriptors begin with the unit socket,
 * the RAM, the page generations, the provider channel and the signal channel.
 *
 * Up to process_enter() what goes wrong is told to the broker and ends the process.
 */
#ifndef BULKHEAD_VSP_PROVIDER_PROCESS_H
#define BULKHEAD_VSP_PROVIDER_PROCESS_H

#include "bus/sandbox.h"
#include "proto/start.h"
#include "vsp/provider/provider.h"

/* What every provider's START message begins with. */
struct provider_start {
	struct msg_header h;
	struct vm_config config;
	uint32_t uid, gid;
	uint32_t sandbox_flags;
	uint32_t again; /* 1: takes a dead one's place */
};

#define PROVIDER_START_ASSERT(message)                                                             \
	_Static_assert(offsetof(struct message, config) ==                                         \
				       offsetof(struct provider_start, config) &&                  \
			       offsetof(struct message, sandbox_flags) ==                          \
				       offsetof(struct provider_start, sandbox_flags) &&           \
			       offsetof(struct message, again) ==                                  \
				       offsetof(struct provider_start, again),                     \
		       "begins as every provider's")

struct process_ops {
	const struct provider_ops *provider;
	/* loop_on_wake(), before every channel is looked at, and when nothing waits for mgmtd any more; may
	 * be NULL. */
	void (*wake)(void *arg);
	/* A checked message from mgmtd. Descriptors it brought are in fds, the handler's from then
	 * on; only a provider with max_fds gets any. */
	void (*message)(void *arg, const struct msg_header *h, int *fds, size_t nfds);
	size_t max_fds;
};

/* More than mgmtd asks before it reads an answer. */
#define PROCESS_WAITING 16u

struct process {
	const char *name; /* of the role, for messages */
	const struct process_ops *ops;
	void *arg;
	struct loop *loop;
	struct vm_config config;
	bool again; /* provider_reset() comes before any offer */
	struct guestmem gm;
	int ram_fd, unit_fd; /* owned */
	struct provider provider;
	/* what mgmtd's socket has no room for, oldest first */
	struct loop_source *again_timer;
	unsigned waiting;
	struct {
		uint8_t bytes[MSG_MAX_BYTES] __attribute__((aligned(8)));
	} message[PROCESS_WAITING];
};

/* Takes over all that providers have in common, and the first descriptors of l; the provider begins
 * paused. p: zeroed; start: as start_receive() got it. */
void process_set_up(struct process *p, const char *name, const struct process_ops *ops, void *arg,
		    const void *start, struct start_fds *l);
/* The last of start-up: the sandbox, as START (start, above) has it, and the broker is told. */
void process_enter(struct process *p, const struct sandbox_policy *policy, const void *start);
/* err of a step of start-up: if not 0, the end: "cannot WHAT: ...". */
void process_must(struct process *p, int err, const char *what);

/* To mgmtd: an answer, or an event of which its sender lets one wait. When mgmtd stands still and its
 * socket is full, it waits here, and goes out in turn (ops->wake is called when all have); beyond
 * PROCESS_WAITING of them mgmtd is broken, which ends the process. No guest can make that many. */
void process_send(struct process *p, const struct msg_header *h);
/* An event: 0, or -EAGAIN: there is no room. The caller repeats it, as it is by then, or does without. */
int process_event(struct process *p, const struct msg_header *h);
/* UNIT_DONE. error: 0 or a positive errno. */
void process_done(struct process *p, uint64_t cookie, int error, const char *text);

#endif
