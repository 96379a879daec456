/* SPDX-License-Identifier: Apache-2.0
 *
 * The notification protocol of systemd's Type=notify, as sd_notify(3) documents it: a datagram of
 * KEY=VALUE lines to the socket named in NOTIFY_SOCKET ('@' stands for the abstract namespace).
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/broker/broker.h"

void notify_send(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t n = path ? strlen(path) : 0;
	int s;

	if (n < 2 || n >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = 0;
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return;
	if (sendto(s, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
		   offsetof(struct sockaddr_un, sun_path) + n) < 0)
		log_warn("cannot tell the service manager \"%s\": %m", state);
	close(s);
}
