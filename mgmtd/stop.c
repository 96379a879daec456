/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of the daemon. Its machines end with it, but first their disks are closed: an image is
 * left as after a clean stop, not as after a power cut. systemd gives us 30 seconds
 * (bulkhead-mgmtd.service), so we take no more than 25.
 */
#include "mgmtd/mgmtd.h"

#include <stdio.h>

#define STOP_SECONDS 25

static void out_of_time(void *arg)
{
	struct daemon *d = arg;

	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (state_is_live(vm->state))
			event_add(d, SEV_WARNING, "vm.disks-not-closed", vm->def.name, NULL,
				  "its disks were not closed within %d seconds", STOP_SECONDS);
	loop_stop(d->loop, 0);
}

void stop_begin(struct daemon *d)
{
	struct loop_source *timer;

	if (d->stopping) { /* asked again: at once */
		loop_stop(d->loop, 0);
		return;
	}
	notify("STOPPING=1");
	d->stopping = true;
	timer = loop_add_timer(d->loop, out_of_time, d);
	if (timer)
		loop_timer_set(timer, monotonic_ns() + STOP_SECONDS * NS_PER_S);
	for (struct vm *vm = d->vms; vm; vm = vm->next)
		vm_turn_off(vm, "bulkhead-mgmtd was stopped");
	stop_go_on(d);
}

void stop_go_on(struct daemon *d)
{
	if (!d->stopping)
		return;
	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (state_is_live(vm->state))
			return;
	loop_stop(d->loop, 0);
}
