/* SPDX-License-Identifier: Apache-2.0 */
/* Shows an image to the host: on a Unix socket, or as a kernel block device. Until ^C. */
#include "vsp/storage/disk/cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/nbd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS 16

struct clients {
	struct nbd_export export;
	pthread_mutex_t lock;
	int fd[CLIENTS]; /* -1: free */
	pthread_t thread[CLIENTS];
	bool used[CLIENTS], done[CLIENTS];
};
struct client {
	struct clients *all;
	int slot;
};

static void *client_main(void *arg)
{
	struct client *c = arg;
	int fd = c->all->fd[c->slot];

	nbd_serve(fd, &c->all->export);
	pthread_mutex_lock(&c->all->lock);
	close(fd);
	c->all->fd[c->slot] = -1;
	c->all->done[c->slot] = true;
	pthread_mutex_unlock(&c->all->lock);
	free(c);
	return NULL;
}

static void reap(struct clients *all)
{
	for (int i = 0; i < CLIENTS; i++) {
		if (!all->done[i])
			continue;
		pthread_join(all->thread[i], NULL);
		all->done[i] = all->used[i] = false;
	}
}

static void add_client(struct clients *all, int fd)
{
	struct client *c = malloc(sizeof(*c));
	int slot = 0;

	reap(all);
	while (slot < CLIENTS && all->used[slot])
		slot++;
	if (!c || slot == CLIENTS) {
		free(c);
		close(fd);
		return;
	}
	*c = (struct client){all, slot};
	all->fd[slot] = fd;
	all->used[slot] = true;
	if (pthread_create(&all->thread[slot], NULL, client_main, c)) {
		all->used[slot] = false;
		free(c);
		close(fd);
	}
}

static int listen_at(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t old;
	int err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	old = umask(077);
	err = fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, CLIENTS) ? -errno
											    : 0;
	umask(old);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

static int serve_socket(struct disk *d, const char *path, bool read_only)
{
	struct clients all = {.export = {d, read_only}, .lock = PTHREAD_MUTEX_INITIALIZER};
	int fd = listen_at(path);

	if (fd < 0)
		return fail(fd, "%s", path);
	printf("serving nbd+unix:///?socket=%s, %s; ^C ends it\n", path,
	       read_only ? "read-only" : "read-write");
	fflush(stdout);
	while (!interrupted()) {
		struct pollfd p = {fd, POLLIN, 0};
		int client;

		if (poll(&p, 1, -1) <= 0)
			continue;
		client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (client >= 0)
			add_client(&all, client);
	}
	close(fd);
	unlink(path);
	pthread_mutex_lock(&all.lock);
	for (int i = 0; i < CLIENTS; i++)
		if (all.used[i] && !all.done[i] && all.fd[i] >= 0)
			shutdown(all.fd[i], SHUT_RDWR);
	pthread_mutex_unlock(&all.lock);
	for (int i = 0; i < CLIENTS; i++)
		if (all.used[i])
			pthread_join(all.thread[i], NULL);
	return EXIT_DONE;
}

struct device {
	int nbd, sock;
	struct nbd_export export;
};

static void *device_main(void *arg)
{
	struct device *dev = arg;

	nbd_transmit(dev->sock, &dev->export);
	return NULL;
}

/* The kernel's client: one socket end goes to the device, we serve the other. */
static int serve_device(struct disk *d, const char *path, bool read_only)
{
	struct device dev = {.export = {d, read_only}};
	unsigned long flags =
		NBD_FLAG_HAS_FLAGS |
		(read_only ? NBD_FLAG_READ_ONLY : NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_TRIM);
	pthread_t thread;
	int pair[2], err = 0;

	dev.nbd = open(path, O_RDWR | O_CLOEXEC);
	if (dev.nbd < 0)
		return fail(-errno, "%s (is the nbd module loaded?)", path);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return fail(-errno, "socketpair");
	dev.sock = pair[0];
	if (ioctl(dev.nbd, NBD_SET_BLKSIZE, (unsigned long)disk_sector_size(d)) ||
	    ioctl(dev.nbd, NBD_SET_SIZE_BLOCKS,
		  (unsigned long)(disk_size(d) / disk_sector_size(d))) ||
	    ioctl(dev.nbd, NBD_SET_FLAGS, flags) || ioctl(dev.nbd, NBD_SET_SOCK, pair[1]))
		err = -errno;
	if (!err)
		err = -pthread_create(&thread, NULL, device_main, &dev);
	if (err) {
		close(dev.nbd);
		return fail(err, "%s", path);
	}
	printf("%s shows the disk, %s; ^C ends it\n", path, read_only ? "read-only" : "read-write");
	fflush(stdout);
	ioctl(dev.nbd, NBD_DO_IT); /* until disconnected, or a signal */
	ioctl(dev.nbd, NBD_CLEAR_QUE);
	ioctl(dev.nbd, NBD_CLEAR_SOCK);
	shutdown(pair[0], SHUT_RDWR);
	pthread_join(thread, NULL);
	close(dev.nbd);
	close(pair[0]);
	close(pair[1]);
	return EXIT_DONE;
}

int cmd_mount(int argc, char **argv)
{
	static const struct option options[] = {{"write", no_argument, NULL, 'w'},
						{"socket", required_argument, NULL, 's'},
						{"device", required_argument, NULL, 'd'},
						{NULL, 0, NULL, 0}};
	const char *socket_path = NULL, *device = NULL;
	bool write = false;
	struct disk *d;
	int c, err, status;

	optind = 0;
	while ((c = getopt_long(argc, argv, "w", options, NULL)) != -1) {
		if (c == 'w')
			write = true;
		else if (c == 's')
			socket_path = optarg;
		else if (c == 'd')
			device = optarg;
		else
			return usage("mount");
	}
	if (argc - optind != 1 || !socket_path == !device)
		return usage("mount");
	d = open_image(argv[optind], write ? DISK_RDWR : 0, DISK_FORMAT_ANY, &err);
	if (!d)
		return EXIT_FAILED;
	status = device ? serve_device(d, device, !write) : serve_socket(d, socket_path, !write);
	err = disk_close(d);
	return err ? fail(err, "%s", argv[optind]) : status;
}
