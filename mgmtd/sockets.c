/* SPDX-License-Identifier: Apache-2.0
 *
 * hv_sock's ends on the host: Unix sockets below RUN_DIR/sockets. A machine that has them has one
 * that listens, NAME.sock; programs connect there and say to which port of the guest's. What the guest
 * connects to is a socket that some program listens on: NAME.sock_PORT. The two kinds differ by how
 * they end, so no machine's name makes one of the other's.
 *
 * We make and connect sockets, by path; the machine's socket process only gets the descriptors.
 */
#include "mgmtd/mgmtd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static int address_of(const struct vm *vm, int64_t port, struct sockaddr_un *a)
{
	char suffix[16] = "";
	int n;

	if (port >= 0)
		snprintf(suffix, sizeof(suffix), "_%u", (unsigned)port);
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(a->sun_path, sizeof(a->sun_path), "%s/sockets/%s.sock%s", vm->d->settings.run_dir,
		     vm->def.name, suffix);
	return n >= (int)sizeof(a->sun_path) ? -ENAMETOOLONG : 0;
}

static int folder(const struct vm *vm)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

	if (snprintf(path, sizeof(path), "%s/sockets", vm->d->settings.run_dir) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	return mkdirat(AT_FDCWD, path, 0750) && errno != EEXIST ? -errno : 0;
}

/* A name may be longer than a socket's path. */
static int listening(const struct vm *vm)
{
	struct sockaddr_un a;
	int rc = folder(vm), fd;

	if (!rc)
		rc = address_of(vm, -1, &a);
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(a.sun_path); /* what is left of a run that ended badly */
	if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) || chmod(a.sun_path, 0660) ||
	    listen(fd, BACKLOG)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int sockets_open(struct vm *vm)
{
	struct msg_plain m;
	int fd, rc;

	if (!vm->def.sockets)
		return 0;
	fd = listening(vm);
	if (fd < 0)
		return fd;
	control_header(&m.h, MSG_UNIT_LISTEN, 0);
	rc = msgsock_send(vm->run.unit[ROLE_SOCKET].fd, &m.h, &fd, 1);
	close(fd);
	return rc;
}

void sockets_close(struct vm *vm)
{
	struct sockaddr_un a;

	if (vm->def.sockets && !address_of(vm, -1, &a))
		unlink(a.sun_path);
}

void sockets_connect(struct vm *vm, const struct msg_event_connect *m)
{
	struct msg_unit_connected answer = {0};
	struct sockaddr_un a;
	int fd = -1, rc = address_of(vm, m->port, &a);

	if (!rc) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a)))
			rc = -errno;
	}
	control_header(&answer.h, MSG_UNIT_CONNECTED, m->h.cookie);
	answer.error = -rc;
	if (msgsock_send(vm->run.unit[ROLE_SOCKET].fd, &answer.h, &fd, rc ? 0 : 1))
		log_warn("%s: its socket process takes no messages", vm->def.name);
	if (fd >= 0)
		close(fd);
}
