/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the worker process, for its own sources only.
 *
 *   main.c       start-up, system-call policy
 *   unit.c       mgmtd's unit operations: load, run, pause, reset; events to mgmtd
 *   intercept.c  the vCPUs' accesses, in ticket order
 *   platform.c   interrupt lines and boot state, to the partition
 *   serial.c     serial sockets
 *   vmbus.c      the guest's VMBus: control plane, to the partition
 *   provider.c   the processes that serve its channels
 *   outbox.c     what had no room in a channel
 *   ram.c        clearing RAM without making it cost anything
 *   chipset.c    dispatcher; devices/ the devices
 *   machine.c    which devices a machine has
 *   boot/        loaders
 *   tables/      ACPI, SMBIOS, memory map
 *
 *   intercept --> chipset --> devices --> platform (lines), unit (events), serial (bytes)
 *   unit --> boot --> tables
 *
 * One thread, one loop. struct worker lives as long as the process; everything points into it.
 */
#ifndef BULKHEAD_WORKERS_WORKER_H
#define BULKHEAD_WORKERS_WORKER_H

#include "bus/channel.h"
#include "bus/guestmem.h"
#include "bus/loop.h"
#include "bus/vmbus/server.h"
#include "proto/control.h"
#include "proto/intercept.h"
#include "proto/vmbus.h"
#include "workers/boot/boot.h"
#include "workers/chipset.h"
#include "workers/machine.h"

enum { SERIAL_OUT_BYTES = 65536, SERIAL_IN_BYTES = 256 };

struct worker;

/* One vCPU's intercepts. The first packet of the ring waits here for its turn. */
struct vcpu_port {
	struct channel ch;
	struct worker *worker;
	bool waiting; /* head holds a packet */
	uint64_t ticket;
	struct intercept head;
};

/* The host side of a UART. */
struct serial {
	int fd; /* stream socket, owned; -1 once the other end is gone */
	struct uart *uart;
	struct loop_source *source, *flush_timer;
	bool running;                 /* input goes to the guest */
	bool out_blocked;             /* the socket is full: wait for EPOLLOUT */
	uint32_t events;              /* as last set */
	uint32_t in_at, in_count;     /* in[in_at..in_count) waits for room in the UART */
	uint32_t out_head, out_count; /* out is circular */
	uint64_t dropped;             /* bytes of output nobody took in time */
	uint8_t in[SERIAL_IN_BYTES];
	uint8_t out[SERIAL_OUT_BYTES];
};

struct platform {
	struct channel ch;
	uint32_t levels;     /* of each line, as it should be */
	uint32_t late;       /* lines whose last change had no room in the ring */
	uint32_t late_rises; /* of those, which have risen meanwhile */
};

/* Messages for a channel that was full. */
struct outbox {
	struct channel *ch;
	uint8_t *data;
	uint32_t first, used, size; /* data[first..used) waits */
};

/* What one message of the guest's can cause at most: routes of all channels; the page numbers of
 * the largest GPADL and their packets' headers. */
enum {
	OUTBOX_PARTITION = (VMBUS_MAX_CHANNELS + 1) * 64,
	OUTBOX_PROVIDER = VMBUS_GPADL_PAGES_MAX * 8 + (128 << 10),
};

struct vmbus {
	struct channel ch; /* to the partition */
	struct outbox out; /* routes; messages wait in the server */
	uint8_t waiting[OUTBOX_PARTITION];
	struct vmbus_server *server;
	bool complained; /* one line in the log a life of the guest */
};

/* A process that serves VMBus channels. */
struct provider {
	struct channel ch;
	struct worker *worker;
	unsigned index; /* enum vmbus_provider */
	uint8_t owns[VMBUS_MAX_CHANNELS / 8 +
		     1]; /* bit per channel it offered, until it is another's */
	struct outbox out;
	uint8_t waiting[OUTBOX_PROVIDER];
};

struct worker {
	struct loop *loop;
	struct vm_config config;
	struct guestmem gm;
	struct guestmem start_gm; /* borrowed of gm: what the machine has at power-on */
	int ram_fd;  /* owned: for clearing */
	int unit_fd; /* owned */
	struct loop_source *unit_source;
	struct loop_source *device_timer;
	struct chipset chipset;
	struct platform platform;
	struct vmbus vmbus;
	struct provider provider[PROVIDER_COUNT];
	struct vcpu_port vcpu[CONTROL_MAX_VCPUS];
	uint64_t next_ticket;
	unsigned last_vcpu; /* that had the last ticket */
	struct serial serial[CONTROL_MAX_SERIAL];
	struct boot boot;
	bool ram_used;    /* RAM may hold something */
	bool wall_unset;  /* the clock of day is set at the next run */
	bool event_sent;  /* one event of the guest's per life */
	bool event_waits; /* the socket to mgmtd was full */
	struct msg_event_guest event;
};

/* unit.c */
int unit_start(struct worker *w);
void unit_event(struct worker *w, unsigned event, uint32_t value);

/* intercept.c */
int intercept_start(struct worker *w);
/* Handles everything that is in the rings now. */
void intercept_drain(struct worker *w);
/* After anything that may have changed a device: ends the batch and arms the device timer. */
void worker_settle(struct worker *w);

/* platform.c */
int platform_start(struct worker *w);
void platform_line(struct worker *w, unsigned gsi, bool level);
int platform_boot(struct worker *w, const struct platform_boot *state);

/* outbox.c */
/* Sends at once, or keeps it. 0; -ENOBUFS: the box is full, too; another: the channel is broken. */
int outbox_send(struct outbox *o, const void *message, size_t bytes);
/* Sends what waits. 0: all of it; -EAGAIN; another: the channel is broken. */
int outbox_flush(struct outbox *o);
/* Forgets what waits. */
void outbox_clear(struct outbox *o);
bool outbox_empty(const struct outbox *o);

/* vmbus.c */
int vmbus_start(struct worker *w);
/* Where the guest's events of a channel go. */
void vmbus_route(struct worker *w, uint32_t channel, unsigned provider, bool on);
void vmbus_reset(struct worker *w);

/* provider.c: the calls of struct vmbus_server_ops, and a provider's channel */
void provider_open(void *arg, void *provider, uint32_t channel, const struct vmbus_open *open);
void provider_kept(void *arg, void *provider, uint32_t channel, const struct vmbus_offer *offer);
void provider_reopen(void *arg, void *provider, uint32_t channel, const struct vmbus_open *open);
void provider_close(void *arg, void *provider, uint32_t channel);
void provider_gpadl(void *arg, void *provider, uint32_t channel, uint32_t gpadl,
		    const uint64_t *pages, uint32_t page_count, uint32_t byte_offset,
		    uint32_t byte_count);
void provider_gpadl_gone(void *arg, void *provider, uint32_t channel, uint32_t gpadl);
void provider_target(void *arg, void *provider, uint32_t channel, uint32_t vp);
int provider_socket(void *arg, const struct vmbus_guid *endpoint, const struct vmbus_guid *service);
int provider_start(struct worker *w, struct provider *p, unsigned index);

/* serial.c */
int serial_start(struct worker *w, struct serial *s, int fd, struct uart *uart);
/* Whether input is handed to the guest. */
void serial_run(struct serial *s, bool running);
extern const struct uart_host serial_uart_host; /* arg: the struct serial */

/* ram.c */
int ram_clear(struct worker *w);

#endif
