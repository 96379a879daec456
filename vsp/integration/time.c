/* SPDX-License-Identifier: Apache-2.0
 *
 * Time synchronization: the guest learns the host's time. Versions before 4.0, whose samples need
 * no reference time of the guest's clock: that is the partition's, and not known here.
 */
#include "vsp/integration/services.h"

#include <time.h>

#define UNIX_EPOCH 116444736000000000ull /* 1970 in units of 100 ns since 1601 */

void time_send(struct service *s, uint8_t flags)
{
	struct ic_time m = {.flags = flags};
	struct timespec now;

	if (s->state != SERVICE_READY)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	m.host = UNIX_EPOCH + (uint64_t)now.tv_sec * 10000000 + (uint64_t)now.tv_nsec / 100;
	service_ask(s, IC_TIME_SYNC, &m, sizeof(m)); /* no room: the next one comes */
}

static void ready(struct service *s)
{
	time_send(s, IC_TIME_SYNC_NOW);
}

const struct service_type time_type = {
	.name = "time synchronization",
	.interface = {{0x30, 0xe6, 0x27, 0x95, 0xae, 0xd0, 0x7b, 0x49, 0xad, 0xce, 0xe8, 0x0a, 0xb0,
		       0x17, 0x5c, 0xaf}},
	.instance = {{0x17, 0xce, 0xd1, 0x2d, 0x9e, 0x07, 0x3c, 0x40, 0xb3, 0x52, 0xa1, 0x92, 0x1e,
		      0xe2, 0x07, 0xee}},
	.message = IC_TIME_SYNC,
	.version = {IC_VERSION(3, 0), IC_VERSION(1, 0)},
	.ready = ready,
};
