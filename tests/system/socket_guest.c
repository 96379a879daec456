/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams between host and guest: run in a guest.
 *
 *   socket_guest echo PORT           listens; sends back what each connection brings, until its end
 *   socket_guest slam PORT           listens; reads a byte of each connection, and closes it
 *   socket_guest count PORT          listens; reads each connection to its end, says how many bytes
 *                                    there were and their sum
 *   socket_guest connect PORT BYTES  connects to the host, sends so many, ends, and compares what
 *                                    comes back
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <unistd.h>

enum { CHUNK = 65536 };

static int fail(const char *what)
{
	printf("socket_guest: %s: %s\n", what, strerror(errno));
	return 1;
}

static int write_all(int fd, const uint8_t *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0)
			return -1;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static void echo(int fd)
{
	static uint8_t data[CHUNK];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		if (write_all(fd, data, (size_t)n) < 0)
			break;
}

static void slam(int fd)
{
	uint8_t byte;

	if (read(fd, &byte, 1) < 0)
		fail("read");
}

static void count(int fd)
{
	static uint8_t data[CHUNK];
	unsigned long long bytes = 0, sum = 0;
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0) {
		bytes += (unsigned long long)n;
		for (ssize_t i = 0; i < n; i++)
			sum += data[i];
	}
	printf("socket_guest: counted %llu, sum %llu\n", bytes, sum);
	fflush(stdout);
}

static int serve(unsigned port, void (*with)(int fd))
{
	struct sockaddr_vm a = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (listener < 0)
		return fail("socket");
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 8))
		return fail("listen");
	printf("socket_guest: listens on %u\n", port);
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return fail("accept");
		with(fd);
		close(fd);
	}
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

struct load {
	int fd;
	uint64_t bytes;
};

static void *send_load(void *arg)
{
	const struct load *l = arg;
	static uint8_t data[CHUNK];

	for (uint64_t at = 0; at < l->bytes;) {
		size_t n = l->bytes - at < CHUNK ? l->bytes - at : CHUNK;

		for (size_t i = 0; i < n; i++)
			data[i] = pattern(at + i);
		if (write_all(l->fd, data, n) < 0)
			return (void *)1;
		at += n;
	}
	shutdown(l->fd, SHUT_WR);
	return NULL;
}

static int connect_to(unsigned port, uint64_t bytes)
{
	struct sockaddr_vm a = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
	struct load l = {socket(AF_VSOCK, SOCK_STREAM, 0), bytes};
	static uint8_t data[CHUNK];
	uint64_t got = 0;
	pthread_t sender;
	void *bad;
	ssize_t n;

	if (l.fd < 0)
		return fail("socket");
	if (connect(l.fd, (struct sockaddr *)&a, sizeof(a)))
		return fail("connect");
	if (pthread_create(&sender, NULL, send_load, &l))
		return fail("thread");
	while ((n = read(l.fd, data, sizeof(data))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (data[i] != pattern(got + (uint64_t)i)) {
				printf("socket_guest: byte %llu is another\n",
				       (unsigned long long)got + (unsigned long long)i);
				return 1;
			}
		}
		got += (uint64_t)n;
	}
	pthread_join(sender, &bad);
	if (n < 0 || bad)
		return fail("stream");
	printf("socket_guest: echoed %llu\n", (unsigned long long)got);
	return got != bytes;
}

int main(int argc, char **argv)
{
	unsigned port = argc > 2 ? (unsigned)atoi(argv[2]) : 0;

	if (argc == 3 && !strcmp(argv[1], "echo"))
		return serve(port, echo);
	if (argc == 3 && !strcmp(argv[1], "slam"))
		return serve(port, slam);
	if (argc == 3 && !strcmp(argv[1], "count"))
		return serve(port, count);
	if (argc == 4 && !strcmp(argv[1], "connect"))
		return connect_to(port, strtoull(argv[3], NULL, 10));
	return 2;
}
