/* SPDX-License-Identifier: Apache-2.0
 *
 * What a VM is made of before any process of it runs: RAM, channels, sockets, and the messages
 * that hand them to the children. Once they have it, the broker keeps what another process in a
 * provider's place would need, if its client wants that, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/guestmem.h"
#include "bus/sandbox.h"
#include "proto/intercept.h"
#include "proto/vmbus.h"
#include "vmmcore/broker/broker.h"

static const unsigned provider_role[PROVIDER_COUNT] = {
	[PROVIDER_STORAGE] = ROLE_STORAGE,
	[PROVIDER_INTEGRATION] = ROLE_INTEGRATION,
	[PROVIDER_SOCKET] = ROLE_SOCKET,
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void parts_clear(struct vm_parts *p)
{
	const struct channel_fds none = CHANNEL_FDS_NONE;

	p->again = false;
	p->ram = p->gen = p->kvm = p->inflight = -1;
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		p->unit[i] = -1;
	for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++)
		p->serial[i] = -1;
	for (unsigned e = 0; e < 2; e++) {
		p->platform[e] = none;
		p->vmbus[e] = none;
		for (unsigned i = 0; i < PROVIDER_COUNT; i++)
			p->provider[i][e] = p->signal[i][e] = none;
		for (unsigned i = 0; i < CONTROL_MAX_VCPUS; i++)
			p->intercept[i][e] = none;
	}
}

void parts_close(struct vm_parts *p)
{
	close_fd(&p->ram);
	close_fd(&p->gen);
	close_fd(&p->kvm);
	close_fd(&p->inflight);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		close_fd(&p->unit[i]);
	for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++)
		close_fd(&p->serial[i]);
	for (unsigned e = 0; e < 2; e++) {
		channel_fds_close(&p->platform[e]);
		channel_fds_close(&p->vmbus[e]);
		for (unsigned i = 0; i < PROVIDER_COUNT; i++) {
			channel_fds_close(&p->provider[i][e]);
			channel_fds_close(&p->signal[i][e]);
		}
		for (unsigned i = 0; i < CONTROL_MAX_VCPUS; i++)
			channel_fds_close(&p->intercept[i][e]);
	}
}

/* ours goes to the client, theirs to the child. */
static int pair(int type, int *ours, int *theirs)
{
	int s[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		return -errno;
	*ours = s[0];
	*theirs = s[1];
	return 0;
}

void parts_keep(struct vm_parts *p, struct vm_parts *kept)
{
	const struct channel_fds none = CHANNEL_FDS_NONE;

	parts_clear(kept);
	kept->again = true;
	kept->ram = p->ram;
	kept->gen = p->gen;
	kept->inflight = p->inflight;
	p->ram = p->gen = p->inflight = -1;
	for (unsigned i = 0; i < PROVIDER_COUNT; i++) {
		kept->provider[i][0] = p->provider[i][0];
		kept->signal[i][1] = p->signal[i][1];
		p->provider[i][0] = p->signal[i][1] = none;
	}
	parts_close(p);
}

int parts_unit(struct vm_parts *p, unsigned role, int *client)
{
	return pair(SOCK_SEQPACKET, client, &p->unit[role]);
}

static int make_sockets(struct vm_parts *p, const struct vm_config *config, int *client_fds)
{
	int r = 0;

	for (unsigned i = 0; i < ROLE_COUNT && !r; i++)
		if (role_exists(config, i))
			r = pair(SOCK_SEQPACKET, &client_fds[i], &p->unit[i]);
	for (unsigned i = 0; i < config->serials && !r; i++)
		r = pair(SOCK_STREAM, &client_fds[ROLE_COUNT + i], &p->serial[i]);
	return r;
}

static int make_channel(const char *name, size_t bytes, struct channel_fds ends[2])
{
	struct channel_fds made[2];
	int r = channel_create(name, bytes, made);

	for (unsigned e = 0; e < 2 && !r; e++)
		ends[e] = made[e];
	return r;
}

static int make_channels(struct vm_parts *p, const struct vm_config *config)
{
	int r = make_channel("bulkhead-platform", PLATFORM_RING_BYTES, p->platform);

	if (!r)
		r = make_channel("bulkhead-vmbus", VMBUS_RING_BYTES, p->vmbus);
	for (unsigned i = 0; !r && i < config->vcpus && i < CONTROL_MAX_VCPUS; i++)
		r = make_channel("bulkhead-intercept", INTERCEPT_RING_BYTES, p->intercept[i]);
	for (unsigned i = 0; !r && i < PROVIDER_COUNT; i++) {
		if (!role_exists(config, provider_role[i]))
			continue;
		r = make_channel("bulkhead-provider", PROVIDER_RING_BYTES, p->provider[i]);
		if (!r)
			r = make_channel("bulkhead-signal", SIGNAL_RING_BYTES, p->signal[i]);
	}
	return r;
}

int parts_make(struct vm_parts *p, const struct vm_config *config, const char *kvm_device,
	       int client_fds[ROLE_COUNT + CONTROL_MAX_SERIAL], char *why, size_t why_size)
{
	const char *what;
	int r;

	parts_clear(p);
	for (unsigned i = 0; i < ROLE_COUNT + CONTROL_MAX_SERIAL; i++)
		client_fds[i] = -1;

	what = "guest memory";
	r = config->job ? 0 : guestmem_create(config->ram_bytes, &p->ram, &p->gen);
	if (!r) {
		what = "sockets";
		r = make_sockets(p, config, client_fds);
	}
	if (!r && !config->job) {
		what = "channels";
		r = make_channels(p, config);
	}
	if (!r && role_exists(config, ROLE_STORAGE)) {
		what = "memory of requests under way";
		p->inflight = memory_make("bulkhead-inflight", INFLIGHT_BYTES);
		r = p->inflight < 0 ? p->inflight : 0;
	}
	if (!r && config->backend == BACKEND_KVM) {
		what = kvm_device;
		p->kvm = open(kvm_device, O_RDWR | O_CLOEXEC);
		r = p->kvm < 0 ? -errno : 0;
	}
	if (!r)
		return 0;
	snprintf(why, why_size, "cannot make the VM's %s: %s", what, strerror(-r));
	parts_close(p);
	for (unsigned i = 0; i < ROLE_COUNT + CONTROL_MAX_SERIAL; i++)
		close_fd(&client_fds[i]);
	return r;
}

static size_t add_channel(int *fds, size_t n, const struct channel_fds *c)
{
	fds[n++] = c->memory;
	fds[n++] = c->doorbell_out;
	fds[n++] = c->doorbell_in;
	return n;
}

/* The descriptors partition and worker get, in the order proto/control.h gives: this end's. */
static size_t common_fds(const struct vm_parts *p, const struct vm_config *config, unsigned role,
			 int *fds)
{
	size_t n = 0;

	fds[n++] = p->unit[role];
	fds[n++] = p->ram;
	fds[n++] = p->gen;
	n = add_channel(fds, n, &p->platform[role]);
	n = add_channel(fds, n, &p->vmbus[role]);
	for (unsigned i = 0; i < config->vcpus; i++)
		n = add_channel(fds, n, &p->intercept[i][role]);
	return n;
}

int parts_send_partition(const struct vm_parts *p, int sock, const struct vm_config *config,
			 uint32_t uid, uint32_t flags)
{
	struct msg_start_partition msg = {
		.config = *config, .uid = uid, .gid = uid, .sandbox_flags = flags};
	int fds[MSG_MAX_FDS];
	size_t n = common_fds(p, config, ROLE_PARTITION, fds);

	for (unsigned i = 0; i < PROVIDER_COUNT; i++)
		if (role_exists(config, provider_role[i]))
			n = add_channel(fds, n, &p->signal[i][0]);
	if (config->backend == BACKEND_KVM)
		fds[n++] = p->kvm;
	control_header(&msg.h, MSG_START_PARTITION, 0);
	return msgsock_send(sock, &msg.h, fds, n);
}

int parts_send_worker(const struct vm_parts *p, int sock, const struct vm_config *config,
		      uint32_t uid, uint32_t flags, const int *images, size_t nimages)
{
	struct msg_start_worker msg = {
		.config = *config, .uid = uid, .gid = uid, .sandbox_flags = flags};
	int fds[MSG_MAX_FDS];
	size_t n = common_fds(p, config, ROLE_WORKER, fds);

	for (unsigned i = 0; i < PROVIDER_COUNT; i++)
		if (role_exists(config, provider_role[i]))
			n = add_channel(fds, n, &p->provider[i][1]);
	for (size_t i = 0; i < nimages; i++)
		fds[n++] = images[i];
	for (unsigned i = 0; i < config->serials; i++)
		fds[n++] = p->serial[i];
	control_header(&msg.h, MSG_START_WORKER, 0);
	return msgsock_send(sock, &msg.h, fds, n);
}

/* What every provider gets first. */
static size_t provider_fds(const struct vm_parts *p, unsigned provider, int *fds)
{
	size_t n = 0;

	fds[n++] = p->unit[provider_role[provider]];
	fds[n++] = p->ram;
	fds[n++] = p->gen;
	n = add_channel(fds, n, &p->provider[provider][0]);
	return add_channel(fds, n, &p->signal[provider][1]);
}

int parts_send_storage(const struct vm_parts *p, int sock, const struct vm_config *config,
		       const struct vm_disk *disks, uint32_t uid, uint32_t flags, const int *images,
		       size_t nimages)
{
	struct msg_start_storage msg = {
		.config = *config, .uid = uid, .gid = uid, .sandbox_flags = flags, .again = p->again};
	int fds[MSG_MAX_FDS];
	size_t n = provider_fds(p, PROVIDER_STORAGE, fds);

	fds[n++] = p->inflight;
	memcpy(msg.disk, disks, config->disks * sizeof(*disks));
	for (size_t i = 0; i < nimages; i++)
		fds[n++] = images[i];
	for (unsigned i = 0; i < config->disks; images += disks[i++].chain) {
		if (!disks[i].shared)
			continue;
		fds[n] = reservations_of(images[0]);
		if (fds[n++] < 0)
			return fds[n - 1];
	}
	control_header(&msg.h, MSG_START_STORAGE, 0);
	return msgsock_send(sock, &msg.h, fds, n);
}

int parts_send_integration(const struct vm_parts *p, int sock, const struct vm_config *config,
			   uint32_t uid, uint32_t flags)
{
	struct msg_start_integration msg = {
		.config = *config, .uid = uid, .gid = uid, .sandbox_flags = flags, .again = p->again};
	int fds[MSG_MAX_FDS];
	size_t n = provider_fds(p, PROVIDER_INTEGRATION, fds);

	control_header(&msg.h, MSG_START_INTEGRATION, 0);
	return msgsock_send(sock, &msg.h, fds, n);
}

int parts_send_job(const struct vm_parts *p, int sock, const struct vm_config *config, uint32_t uid,
		   uint32_t flags)
{
	struct msg_start_job msg = {
		.config = *config, .uid = uid, .gid = uid, .sandbox_flags = flags};

	control_header(&msg.h, MSG_START_JOB, 0);
	return msgsock_send(sock, &msg.h, &p->unit[ROLE_JOB], 1);
}

int parts_send_socket(const struct vm_parts *p, int sock, const struct vm_config *config, uint32_t uid,
		      uint32_t flags)
{
	struct msg_start_socket msg = {
		.config = *config, .uid = uid, .gid = uid, .sandbox_flags = flags, .again = p->again};
	int fds[MSG_MAX_FDS];
	size_t n = provider_fds(p, PROVIDER_SOCKET, fds);

	control_header(&msg.h, MSG_START_SOCKET, 0);
	return msgsock_send(sock, &msg.h, fds, n);
}
