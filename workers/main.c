/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-worker: loads one VM's boot images and emulates its chipset. Started by the broker with
 * one descriptor, 3, from which it receives START_WORKER and the rest.
 */
#include "workers/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <linux/falloc.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/sandbox.h"
#include "proto/start.h"

enum { WORKER_END = 1 };
#define NAME "worker"

#define ARG(n, v)                                                                                  \
	{                                                                                          \
		.index = (n), .mask = UINT64_MAX, .value = (v)                                     \
	}

/* Everything is mapped, open and allocated before the filter is in place. */
static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop's sleep"},
	{SCMP_SYS(epoll_ctl),
	 "serial sockets: wait for room or input, or for neither; no new ones",
	 1,
	 {SANDBOX_INT(1, EPOLL_CTL_MOD)}},
	{SCMP_SYS(epoll_ctl),
	 "serial sockets: forget one whose other end is closed",
	 1,
	 {SANDBOX_INT(1, EPOLL_CTL_DEL)}},
	{SCMP_SYS(preadv2), "clear a doorbell"},
	{SCMP_SYS(write), "ring a doorbell; log to standard error"},
	{SCMP_SYS(sendmsg), "answers to mgmtd, READY to the broker, serial output"},
	{SCMP_SYS(recvmsg), "mgmtd's messages, serial input"},
	{SCMP_SYS(pread64), "the kernel and module files"},
	{SCMP_SYS(lseek),
	 "which parts of RAM a reset has to clear (SEEK_DATA)",
	 1,
	 {SANDBOX_INT(2, SEEK_DATA)}},
	{SCMP_SYS(lseek),
	 "which parts of RAM a reset has to clear (SEEK_HOLE)",
	 1,
	 {SANDBOX_INT(2, SEEK_HOLE)}},
	{SCMP_SYS(fallocate),
	 "give RAM's pages back at a reset",
	 1,
	 {SANDBOX_INT(1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)}},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(exit_group), "the end"},
};

static const struct sandbox_policy policy = {
	.program = "bulkhead-worker",
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(*rules),
	.max_open_files = 1, /* those that are open stay so; no others */
};

static struct worker worker;

/* Tells the broker why we cannot start, and ends. */
__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *fmt, ...)
{
	char text[CONTROL_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	start_fail(NAME, EINVAL, text);
}

static void attach(struct channel *ch, struct start_fds *l, const char *what)
{
	int err = channel_attach(ch, start_next_channel(l), WORKER_END);

	if (err)
		fail("the %s channel cannot be attached: %s", what, strerror(-err));
}

static void host_line(void *arg, unsigned gsi, bool level)
{
	platform_line(arg, gsi, level);
}

static void host_event(void *arg, unsigned event, uint32_t value)
{
	unit_event(arg, event, value);
}

static void build(struct worker *w)
{
	struct chipset_host host = {host_line, host_event, w};
	struct uart_host line[CONTROL_MAX_SERIAL];
	int err;

	for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++) {
		line[i] = serial_uart_host;
		line[i].arg = &w->serial[i];
	}
	chipset_init(&w->chipset, &host);
	err = machine_build(&w->chipset, &w->config, line);
	if (err)
		fail("two devices want the same port: %s", strerror(-err));
}

static void open_images(struct worker *w, struct start_fds *l)
{
	struct boot *b = &w->boot;
	int err = boot_image_open(&b->kernel, start_next_fd(l), "kernel");

	b->gm = &w->start_gm;
	b->config = &w->config;
	b->modules = w->config.modules;
	for (unsigned i = 0; i < b->modules && !err; i++) {
		char what[16] = "initrd";

		if (i)
			snprintf(what, sizeof(what), "module %u", i % CONTROL_MAX_MODULES);
		err = boot_image_open(&b->module[i], start_next_fd(l), what);
	}
	if (err)
		fail("a boot file is not a regular file");
}

/* Takes over everything that was handed over, in the order of proto/control.h. */
static void set_up(struct worker *w, const struct msg_start_worker *start, struct start_fds *l)
{
	int err, gen_fd, flags;

	w->config = start->config;
	w->unit_fd = start_next_fd(l);
	w->ram_fd = start_next_fd(l);
	gen_fd = start_next_fd(l);
	err = guestmem_map(&w->gm, w->ram_fd, gen_fd, w->config.ram_bytes);
	if (err)
		fail("the machine's RAM cannot be mapped: %s", strerror(-err));
	w->start_gm = w->gm;
	w->start_gm.size -= w->config.later_bytes;
	if (w->start_gm.low_size > w->start_gm.size)
		w->start_gm.low_size = w->start_gm.size;
	close(gen_fd);
	attach(&w->platform.ch, l, "platform");
	attach(&w->vmbus.ch, l, "VMBus");
	for (unsigned i = 0; i < w->config.vcpus; i++)
		attach(&w->vcpu[i].ch, l, "intercept");
	if (vm_has_role(&w->config, ROLE_STORAGE))
		attach(&w->provider[PROVIDER_STORAGE].ch, l, "provider");
	if (w->config.integration)
		attach(&w->provider[PROVIDER_INTEGRATION].ch, l, "provider");
	if (w->config.sockets)
		attach(&w->provider[PROVIDER_SOCKET].ch, l, "provider");
	open_images(w, l);

	w->loop = loop_new();
	if (!w->loop)
		fail("no event loop: %m");
	flags = fcntl(w->unit_fd, F_GETFL);
	if (flags < 0 || fcntl(w->unit_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		fail("the unit socket cannot be made non-blocking: %m");
	err = intercept_start(w);
	if (!err)
		err = platform_start(w);
	if (!err)
		err = vmbus_start(w);
	if (!err && vm_has_role(&w->config, ROLE_STORAGE))
		err = provider_start(w, &w->provider[PROVIDER_STORAGE], PROVIDER_STORAGE);
	if (!err && w->config.integration)
		err = provider_start(w, &w->provider[PROVIDER_INTEGRATION], PROVIDER_INTEGRATION);
	if (!err && w->config.sockets)
		err = provider_start(w, &w->provider[PROVIDER_SOCKET], PROVIDER_SOCKET);
	if (!err)
		err = unit_start(w);
	for (unsigned i = 0; i < w->config.serials && !err; i++)
		err = serial_start(w, &w->serial[i], start_next_fd(l), &w->chipset.com[i]);
	if (err)
		fail("the event loop does not take a descriptor: %s", strerror(-err));
	build(w);
}

static void confine(const struct msg_start_worker *start)
{
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES];

	if (sandbox_enter(&policy, start->uid, start->gid, start->sandbox_flags, &report, why,
			  sizeof(why)))
		fail("%s", why);
	start_ready(&report);
}

/* The VMBus control plane allocates what a guest makes it hold (bounded by VMBUS_GPADL_PAGES_MAX
 * and its like), and the sandbox has no call to get memory by: the heap gets its room now. What is
 * not touched costs nothing. */
#define HEAP_BYTES (8 << 20)

static void reserve_heap(void)
{
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_TOP_PAD, HEAP_BYTES);
	free(malloc(1));
}

int main(int argc, char **argv)
{
	static struct msg_start_worker start;
	static struct start_fds fds;

	if (argc == 2 && !strcmp(argv[1], "--policy"))
		return sandbox_policy_print(&policy);
	log_open("bulkhead-worker", LOG_NOTE);
	reserve_heap();
	start_receive(NAME, MSG_START_WORKER, &start, sizeof(start), &fds);
	set_up(&worker, &start, &fds);
	confine(&start);
	_exit(loop_run(worker.loop));
}
