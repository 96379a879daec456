/* SPDX-License-Identifier: Apache-2.0
 *
 * How a child of the broker starts: one descriptor, 3, from which its START message comes, and on
 * which it says once that it is READY or has FAILED (proto/control.h).
 */
#ifndef BULKHEAD_PROTO_START_H
#define BULKHEAD_PROTO_START_H

#include "bus/channel.h"
#include "bus/sandbox.h"
#include "proto/control.h"

enum { BROKER_FD = 3 };

/* The received descriptors, owned, handed out in the order of proto/control.h. control_check() has
 * counted them. */
struct start_fds {
	int fd[MSG_MAX_FDS];
	size_t count, next;
};

/* Receives the START message of this type and size; ends the process if there is none, or a bad
 * one. who: the program's name for messages. */
void start_receive(const char *who, uint16_t type, void *start, size_t bytes, struct start_fds *l);
int start_next_fd(struct start_fds *l);
struct channel_fds start_next_channel(struct start_fds *l);

/* Tells the broker why the process cannot start (error: an errno of either sign), and ends it. */
__attribute__((noreturn)) void start_fail(const char *who, int error, const char *why);

/* READY, with what the kernel says of the confinement. */
void start_ready(const struct sandbox_report *r);

#endif
