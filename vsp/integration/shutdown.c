/* SPDX-License-Identifier: Apache-2.0
 *
 * Shutdown: the guest's driver begins an orderly shutdown or restart, and says so at once.
 */
#include "vsp/integration/services.h"

#include <errno.h>
#include <stdio.h>

#define REASON_PLANNED 0x80000000u

static void answer(struct service *s, uint32_t status, const void *data)
{
	s->all->ops->shutdown_done(s->all->arg, status ? -EPERM : 0);
}

static void closed(struct service *s)
{
	if (s->asked)
		s->all->ops->shutdown_done(s->all->arg, -ECONNRESET);
}

int services_shutdown(struct services *s, uint32_t action, bool force)
{
	static const uint32_t flags[] = {
		[GUEST_SHUT_DOWN] = 0,
		[GUEST_RESTART] = IC_SHUTDOWN_RESTART,
		[GUEST_HIBERNATE] = IC_SHUTDOWN_HIBERNATE,
	};
	struct service *service = &s->service[SERVICE_SHUTDOWN];
	struct ic_shutdown m = {
		.reason = REASON_PLANNED,
		.flags = flags[action] | (force ? IC_SHUTDOWN_FORCE : 0),
	};

	if (service->state != SERVICE_READY)
		return -ENOTCONN;
	if (action == GUEST_HIBERNATE && service->version < IC_VERSION(3, 2))
		return -EOPNOTSUPP;
	snprintf(m.text, sizeof(m.text), "asked for by the host");
	return service_ask(service, IC_SHUTDOWN, &m, sizeof(m));
}

const struct service_type shutdown_type = {
	.name = "shutdown",
	.interface = {{0x31, 0x60, 0x0b, 0x0e, 0x13, 0x52, 0x34, 0x49, 0x81, 0x8b, 0x38, 0xd9, 0x0c,
		       0xed, 0x39, 0xdb}},
	.instance = {{0xf7, 0x0f, 0x65, 0xb6, 0xbc, 0x33, 0x40, 0x48, 0x80, 0x48, 0xe0, 0x67, 0x67,
		      0x86, 0xf3, 0x93}},
	.message = IC_SHUTDOWN,
	.version = {IC_VERSION(3, 2), IC_VERSION(3, 1), IC_VERSION(3, 0), IC_VERSION(1, 0)},
	.minimum_bytes = 0,
	.closed = closed,
	.answer = answer,
};
