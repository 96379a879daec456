/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus/msgsock.h"

#define BACKLOG 16

/* Room for the most descriptors the kernel passes at once, aligned as control data must be. */
union fd_control {
	struct cmsghdr align;
	char space[CMSG_SPACE(MSG_MAX_FDS * sizeof(int))];
};

int msgsock_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

static bool header_ok(const struct msg_header *h, size_t bytes)
{
	return h->version == MSG_VERSION && h->bytes == bytes;
}

int msgsock_send(int sock, const struct msg_header *msg, const int *fds, size_t nfds)
{
	if (msg->bytes < sizeof(*msg) || msg->bytes > MSG_MAX_BYTES || nfds > MSG_MAX_FDS ||
	    !header_ok(msg, msg->bytes))
		return -EINVAL;
	union fd_control control;
	struct iovec iov = {(void *)msg, msg->bytes};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	if (nfds) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = control.space;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	ssize_t n;
	do
		n = sendmsg(sock, &mh, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

/* Moves the received descriptors to fds; those beyond max are closed. Returns how many came. */
static size_t take_fds(struct msghdr *mh, int *fds, size_t max)
{
	size_t n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here; i++, n++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < max)
				fds[n] = fd;
			else
				close(fd);
		}
	}
	return n;
}

ptrdiff_t msgsock_recv(int sock, void *buf, size_t cap, int *fds, size_t max_fds, size_t *nfds)
{
	union fd_control control;
	struct iovec iov = {buf, cap};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	struct msg_header h;
	ssize_t n;
	size_t came;
	*nfds = 0;
	do
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	came = take_fds(&mh, fds, max_fds);
	bool ok = (size_t)n >= sizeof(h) && came <= max_fds &&
		  !(mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
	if (ok) {
		memcpy(&h, buf, sizeof(h));
		ok = header_ok(&h, (size_t)n);
	}
	if (ok) {
		*nfds = came;
		return n;
	}
	for (size_t i = 0; i < came && i < max_fds; i++)
		close(fds[i]);
	return n ? -EPROTO : 0;
}

int msgsock_peer(int sock, uid_t *uid, gid_t *gid, pid_t *pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*uid = cred.uid;
	*gid = cred.gid;
	*pid = cred.pid;
	return 0;
}

static int unix_address(const char *path, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!*path || strlen(path) >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	strcpy(sa->sun_path, path);
	return 0;
}

int msgsock_connect(const char *path)
{
	struct sockaddr_un sa;
	int rc = unix_address(path, &sa);
	if (rc < 0)
		return rc;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* Removes a socket that a dead process left. Anything else at path stays. */
static int remove_stale(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	int fd = msgsock_connect(path);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* The mode is set on the socket before bind, which applies it less the umask, so that the file
 * is never open to more than it should be; afterwards chmod gives it what the umask took. */
static int bind_listen(int fd, const struct sockaddr_un *sa, mode_t mode)
{
	if (fchmod(fd, mode) < 0 || bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
		return -errno;
	if (chmod(sa->sun_path, mode) < 0 || listen(fd, BACKLOG) < 0) {
		int rc = -errno;
		unlink(sa->sun_path);
		return rc;
	}
	return 0;
}

int msgsock_listen(const char *path, mode_t mode)
{
	struct sockaddr_un sa;
	int rc = unix_address(path, &sa);
	if (rc == 0)
		rc = remove_stale(path);
	if (rc < 0)
		return rc;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = bind_listen(fd, &sa, mode);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}
