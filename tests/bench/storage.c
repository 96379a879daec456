/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of the storage path without a processor: hosted client -> storvsp -> raw file.
 *
 *   storage_client FILE [PEER]read|write|durable BYTES DEPTH random|sequential MILLISECONDS
 *
 * Prints requests per second, of the time after the first was sent. "durable" writes are on the disk when they are answered (FUA). PEER
 * uring and threads: storage_limit.h, what the file itself can give. PEER nbd: FILE is the socket
 * of an NBD server whose export "d" has 256 MiB.
 */
#include "tests/bench/storage_limit.h"
#include "tests/unit/storage/hosted.h"

#include <endian.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fd;
static uint64_t file_bytes;
static uint32_t bytes;
static unsigned ms;
static bool sequential, reading, durable;

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

static uint64_t place(uint64_t *state)
{
	uint64_t slots = file_bytes / bytes;

	return (sequential ? (*state)++ % slots : next_random(state) % slots) * bytes;
}

/* ---- ours ---- */

static void submit(struct hosted_channel *c, uint64_t slot, uint64_t *state)
{
	uint64_t pages[64], at = place(state) / 512;
	uint32_t n = bytes / 4096, blocks = bytes / 512;
	struct storvsc_io io = {.id = slot + 1,
				.cdb = {reading ? 0x28 : 0x2a, durable ? 0x08 : 0, at >> 24,
					at >> 16, at >> 8, at, 0, blocks >> 8, blocks},
				.cdb_bytes = 10,
				.from_device = reading,
				.bytes = bytes,
				.pages = pages,
				.npages = n};

	for (uint32_t i = 0; i < n; i++)
		pages[i] = HOSTED_DATA_PAGE + slot * n + i;
	if (storvsc_submit(&c->vsc, &io))
		exit(1);
}

/* A core for the guest, the others for its provider: what a scheduler does on a quiet machine. */
static void set_apart(pthread_t provider)
{
	cpu_set_t all, one, rest;

	if (sched_getaffinity(0, sizeof(all), &all) || CPU_COUNT(&all) < 2)
		return;
	rest = all;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, &all)) {
			CPU_SET(cpu, &one);
			CPU_CLR(cpu, &rest);
		}
	sched_setaffinity(0, sizeof(one), &one);
	pthread_setaffinity_np(provider, sizeof(rest), &rest);
}

static uint64_t ours(unsigned depth)
{
	static const struct vm_disk disk = {.format = VM_FORMAT_RAW, .chain = 1};
	struct hosted *h = hosted_start(&disk, &fd, 1, 1);
	struct hosted_channel *c = &h->channel[0];
	uint64_t state = 88172645463325252ull, n = 0, id, end;
	struct vstor_packet p;

	if (sequential)
		state = 0;
	if (!hosted_open(h, c) || !hosted_handshake(c))
		exit(1);
	set_apart(h->thread);
	end = monotonic_ns() + ms * 1000000ull;
	for (unsigned i = 0; i < depth; i++)
		submit(c, i, &state);
	for (; monotonic_ns() < end; n++) {
		if (!hosted_answer(c, &p, &id) || p.srb.srb_status != SRB_SUCCESS)
			exit(1);
		submit(c, id - 1, &state);
	}
	return n;
}

/* ---- a peer: NBD, as its protocol document says (newstyle, simple replies) ---- */

static void all(ssize_t (*fn)(int, void *, size_t), void *p, size_t n)
{
	while (n) {
		ssize_t r = fn(fd, p, n);

		if (r <= 0)
			exit(1);
		p = (char *)p + r;
		n -= (size_t)r;
	}
}

static ssize_t put_some(int to, void *p, size_t n)
{
	return write(to, p, n);
}

static void nbd_open(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char hello[18], size[10];
	char ask[4 + 16 + 1] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\1"
			       "d";

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		exit(1);
	all(read, hello, sizeof(hello));
	all(put_some, ask, sizeof(ask));
	all(read, size, sizeof(size));
}

static void nbd_submit(uint64_t slot, uint64_t *state, char *buf)
{
	struct {
		uint32_t magic;
		uint16_t flags, type;
		uint64_t handle, from;
		uint32_t length;
	} __attribute__((packed))
	m = {htobe32(0x25609513),   htobe16(durable), htobe16(!reading), slot,
	     htobe64(place(state)), htobe32(bytes)};

	all(put_some, &m, sizeof(m));
	if (!reading)
		all(put_some, buf, bytes);
}

static uint64_t nbd(unsigned depth)
{
	struct {
		uint32_t magic, error;
		uint64_t handle;
	} __attribute__((packed)) m;
	uint64_t state = sequential ? 0 : 88172645463325252ull, n = 0;
	uint64_t end = monotonic_ns() + ms * 1000000ull;
	char *buf = calloc(1, bytes);

	for (unsigned i = 0; i < depth; i++)
		nbd_submit(i, &state, buf);
	for (; monotonic_ns() < end; n++) {
		all(read, &m, sizeof(m));
		if (m.error)
			exit(1);
		if (reading)
			all(read, buf, bytes);
		nbd_submit(m.handle, &state, buf);
	}
	return n;
}

/* "uringread" and the like: the peer, of which there may be none, and the request. */
static bool parse(const char *what)
{
	size_t n = strlen(what);

	reading = n >= 4 && !strcmp(what + n - 4, "read");
	durable = n >= 7 && !strcmp(what + n - 7, "durable");
	return reading || durable || (n >= 5 && !strcmp(what + n - 5, "write"));
}

int main(int argc, char **argv)
{
	const char *what = argc == 7 ? argv[2] : "";
	struct stat st = {.st_size = 256 << 20};
	struct limit limit;
	unsigned depth;
	uint64_t n;

	if (!parse(what))
		return 2;
	if (!strncmp(what, "nbd", 3)) {
		nbd_open(argv[1]);
	} else {
		fd = open(argv[1], O_RDWR);
		if (fd < 0 || fstat(fd, &st))
			return 1;
	}
	file_bytes = (uint64_t)st.st_size;
	bytes = (uint32_t)atoi(argv[3]);
	depth = (unsigned)atoi(argv[4]);
	sequential = argv[5][0] == 's';
	ms = (unsigned)atoi(argv[6]);
	limit = (struct limit){fd, reading, durable, bytes, depth, ms, place};
	if (!strncmp(what, "nbd", 3))
		n = nbd(depth);
	else if (!strncmp(what, "uring", 5))
		n = limit_uring(&limit);
	else
		n = !strncmp(what, "threads", 7) ? limit_threads(&limit) : ours(depth);
	printf("%.1f\n", (double)n * 1000 / ms);
	return 0;
}
