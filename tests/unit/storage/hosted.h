/* SPDX-License-Identifier: Apache-2.0
 *
 * A storage provider without a VM: the real one, in a thread of this process, with this process as
 * its guest, its worker and its partition. RAM is a memfd; rings and data lie in it.
 */
#ifndef BULKHEAD_TESTS_STORAGE_HOSTED_H
#define BULKHEAD_TESTS_STORAGE_HOSTED_H

#include "vsc/storvsc.h"
#include "proto/disk_counters.h"
#include "vsp/storage/storage.h"

enum {
	HOSTED_RAM = 32 << 20,
	HOSTED_RING_PAGES = 33, /* each direction: control page and 128 KiB, as Linux */
	HOSTED_DATA_PAGE = 300, /* first page no ring uses; four channels fit before it */
	HOSTED_CHANNELS = 12,
};

/* What the broker keeps to start a process in a dead one's place. */
struct hosted_kept {
	int gen, inflight;
	struct channel_fds provider, signal;
	const struct vm_disk *disks;
	const int *images;
	unsigned ndisks, vcpus;
};

/* A channel as the guest knows it. */
struct hosted_channel {
	struct hosted *h;
	uint32_t id; /* 0: not offered */
	uint16_t subchannel;
	uint8_t controller;
	struct provider_offer offer;
	bool open;
	bool halts; /* without polling first */
	struct storvsc vsc;
};

struct hosted {
	struct storage storage;
	pthread_t thread;
	struct channel worker, partition; /* our ends */
	struct guestmem gm;
	int unit; /* mgmtd's end */
	int ram_fd;
	uint32_t signals, rescinds;
	uint32_t full; /* events: no room for a write */
	struct msg_event_disks counted[CONTROL_CONTROLLERS]; /* what was told last */
	uint64_t resize_bytes; /* of DISK_RESIZE */
	pid_t process; /* of the provider; 0: it is a thread of ours */
	struct hosted_kept kept;
	bool force; /* of DISK_EJECT */
	int refuse; /* answer offers with this errno */
	struct hosted_channel channel[HOSTED_CHANNELS];
};

/* fds: one image for each of config's disks. Started, run, and with every offer received. */
struct hosted *hosted_start(const struct vm_disk *disks, const int *fds, unsigned ndisks,
			    unsigned vcpus);
void hosted_stop(struct hosted *h);
/* The same with the provider in a process of its own, which can be killed (and ended: its status as
 * waitpid()'s), and another started in its place. disks and fds stay the caller's. */
struct hosted *hosted_start_process(const struct vm_disk *disks, const int *fds, unsigned ndisks,
				    unsigned vcpus);
int hosted_kill(struct hosted *h);
void hosted_go_on(struct hosted *h);
/* The first half of it: the process, not running yet. */
void hosted_again(struct hosted *h);
/* What follows: the disks that the start had no room for. */
void hosted_later_disks(struct hosted *h);
/* Takes what the provider says (offers, rescinds, signals) for at most so long; returns a message
 * of the wanted type for a channel in *m, or false. */
bool hosted_wait(struct hosted *h, uint32_t type, struct provider_simple *m, unsigned ms);
bool hosted_open(struct hosted *h, struct hosted_channel *c);
void hosted_close(struct hosted *h, struct hosted_channel *c);
/* Asks by the unit socket; waits for the answer. */
void hosted_unit(struct hosted *h, uint16_t type);
/* Asks for a change of the disks, and waits for its answer; the error. fds stay the caller's. */
int hosted_disk(struct hosted *h, enum vm_disk_action action, const struct vm_disk *disk,
		const int *fds);
/* The same in two halves. */
void hosted_disk_ask(struct hosted *h, enum vm_disk_action action, const struct vm_disk *disk,
		     const int *fds);
int hosted_disk_answer(struct hosted *h);
/* The next answer, within ten seconds (then: false). */
bool hosted_answer(struct hosted_channel *c, struct vstor_packet *p, uint64_t *id);
/* Sends a packet and waits for its answer; the status. */
uint32_t hosted_ask(struct hosted_channel *c, struct vstor_packet *p);
bool hosted_handshake(struct hosted_channel *c);
/* One command and its answer. */
bool hosted_command(struct hosted_channel *c, const struct storvsc_io *io, struct vstor_packet *p);
void *hosted_page(struct hosted *h, uint64_t page);

#endif
