/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of bus/, for its own sources only.
 *
 *   log.c              lines on stderr
 *   memfd.c            memory that cannot shrink under a reader
 *   ring.c             one direction, in pages that a hostile peer shares
 *   channel.c          two rings and two doorbells
 *   loop.c             epoll, timers and channels of one thread
 *   msgsock.c          control messages with descriptors
 *   guestmem.c         a VM's RAM
 *   sandbox_spawn.c    in the broker: namespaces, cgroup, exactly the handed-over descriptors
 *   sandbox_enter.c    in the child: the order of the confinement, and its proof
 *   sandbox_root.c       empty root
 *   sandbox_creds.c      ids, capabilities, rlimits
 *   sandbox_landlock.c   no file, no port, no signal
 *   sandbox_seccomp.c    the system-call filter from a program's table
 *
 *   loop --> channel --> ring        guestmem --> memfd <-- channel
 */
#ifndef BULKHEAD_BUS_INTERNAL_H
#define BULKHEAD_BUS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* memfd.c: a memfd of exactly size bytes that can neither shrink nor grow, close-on-exec. A peer
 * that shares it can change its bytes but cannot make an access to it raise SIGBUS. */
int memfd_sealed(const char *name, uint64_t size);
/* 0 if fd is such a memfd and its size is between min and max; *size (may be NULL) is set. */
int memfd_check(int fd, uint64_t min, uint64_t max, uint64_t *size);

/* channel.c: how long to poll in the wait that begins; and what is learned from a wait of waited_ns
 * of which the first spun_ns were to be polled. */
struct spin;
uint64_t spin_begin(struct spin *s);
void spin_learn(struct spin *s, uint64_t spun_ns, uint64_t waited_ns);

/* Tells the core that this is a spin. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* After a copy out of shared memory: the compiler must use the copy from here on, never fetch the
 * source again. */
static inline void copied(const void *private_copy)
{
	__asm__ volatile("" : : "r"(private_copy) : "memory");
}

#endif
