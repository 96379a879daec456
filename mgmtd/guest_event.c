/* SPDX-License-Identifier: Apache-2.0
 *
 * What a guest does to its own machine, and what the definition's policies make of it.
 */
#include "mgmtd/mgmtd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "proto/api.pb-c.h"

/* More restarts than this within a minute, and on-crash means off. */
enum { CRASHES_MAX = 5, CRASH_WINDOW_S = 60 };

/* Of one machine's events of its guest's making, so many are written down within a minute, lest a
 * guest push everybody else's events out of the log. A process that sends more than FLOOD is
 * hostile. */
enum { LOGGED_MAX = 20, FLOOD = 2000, EVENT_WINDOW_S = 60 };

bool guest_may_log(struct vm *vm)
{
	uint64_t now = monotonic_ns();

	if (!vm->event_ns || now - vm->event_ns > EVENT_WINDOW_S * NS_PER_S) {
		vm->event_ns = now;
		vm->events = 0;
	}
	vm->events++;
	if (vm->events == LOGGED_MAX + 1)
		event_add(vm->d, SEV_WARNING, "vm.guest-noise", vm->def.name, NULL,
			  "more than %d events by the guest within %d seconds: not all are shown",
			  LOGGED_MAX, EVENT_WINDOW_S);
	return vm->events <= LOGGED_MAX;
}

static void restart(struct vm *vm)
{
	struct fault f = {0};

	if (vm_request(vm, TRIGGER_RESET, NULL, NULL, &f))
		vm_fail(vm, &f);
}

static bool crashes_too_often(struct vm *vm)
{
	uint64_t now = monotonic_ns();

	if (now - vm->crash_ns > CRASH_WINDOW_S * NS_PER_S) {
		vm->crash_ns = now;
		vm->crashes = 0;
	}
	return ++vm->crashes > CRASHES_MAX;
}

static void crashed(struct vm *vm, const char *kind, const char *what)
{
	event_add(vm->d, SEV_ERROR, kind, vm->def.name, NULL, "%s", what);
	vm->crashed = true;
	if (vm->def.on_crash == VMC_OFF) {
		vm_turn_off(vm, what);
	} else if (crashes_too_often(vm)) {
		event_add(vm->d, SEV_ERROR, "vm.crash-loop", vm->def.name, NULL,
			  "more than %d crashes within %d seconds: no further restart", CRASHES_MAX,
			  CRASH_WINDOW_S);
		vm_turn_off(vm, what);
	} else {
		restart(vm);
	}
}

static void act(struct vm *vm, uint32_t event, uint32_t value, const char *text)
{
	char what[CONTROL_TEXT_BYTES + 64];

	switch (event) {
	case GUEST_POWER_OFF:
		vm_turn_off(vm, "the guest turned itself off");
		break;
	case GUEST_RESET:
		if (guest_may_log(vm))
			event_add(vm->d, SEV_INFO, "vm.guest-reset", vm->def.name, NULL,
				  "the guest asked for a reset");
		if (vm->def.on_reboot == VMC_OFF)
			vm_turn_off(vm, "the guest asked for a reset, and on-reboot is off");
		else
			restart(vm);
		break;
	case GUEST_TRIPLE_FAULT:
		snprintf(what, sizeof(what), "triple fault%s%s", text[0] ? ": " : "", text);
		crashed(vm, "vm.triple-fault", what);
		break;
	case GUEST_EXIT:
		vm->has_exit_value = true;
		vm->exit_value = value;
		snprintf(what, sizeof(what), "the guest wrote %u to the exit device", value);
		event_add(vm->d, SEV_INFO, "vm.guest-exit", vm->def.name, NULL, "%s", what);
		vm_turn_off(vm, what);
		break;
	case GUEST_FAULT:
	default:
		snprintf(what, sizeof(what), "the processor cannot go on%s%s", text[0] ? ": " : "",
			 text);
		crashed(vm, "vm.fault", what);
		break;
	}
}

static void flooded(struct vm *vm, unsigned role)
{
	struct fault f = {0};

	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, "this may be an attack by the guest",
		  "the %s sent more than %d events within %d seconds", vm_role_name(role), FLOOD,
		  EVENT_WINDOW_S);
	vm_fail(vm, &f);
}

void guest_event(struct vm *vm, unsigned role, uint32_t event, uint32_t value, const char *text)
{
	if (!state_is_live(vm->state) || vm->op == OP_OFF)
		return;
	if (vm->op == OP_NONE) {
		act(vm, event, value, text);
		return;
	}
	/* During an operation: after it. The first one counts, except that any end of the machine
	 * outweighs a reset. A reset that is under way makes up for one that is asked for. */
	if (vm->pending_event && vm->pending_event != GUEST_RESET)
		return;
	vm->pending_event = event;
	vm->pending_value = value;
	snprintf(vm->pending_text, sizeof(vm->pending_text), "%s", text);
}

/* What a kernel's last lines say of why: the line of the panic itself, else the last one. A kernel's
 * line may begin with "<6>" and with the time in brackets. */
static void headline(const char *text, char *out, size_t size)
{
	const char *at = strstr(text, "Kernel panic"), *end;

	if (!at) {
		end = text + strlen(text);
		while (end > text && (end[-1] == '\n' || end[-1] == ' '))
			end--;
		for (at = end; at > text && at[-1] != '\n';)
			at--;
	} else {
		end = at + strcspn(at, "\n");
	}
	snprintf(out, size, "%.*s", (int)(end - at), at);
}

/* News, not a request: what follows (a reset, a crash kernel) is the guest's own affair. */
void guest_crash(struct vm *vm, const struct msg_event_crash *m)
{
	char why[160];
	const uint64_t *p = m->parameter;

	if (!state_is_live(vm->state) || vm->op == OP_OFF)
		return;
	headline(m->text, why, sizeof(why));
	if (guest_may_log(vm))
		event_add_detail(vm->d, SEV_ERROR, "vm.guest-crash", vm->def.name, m->text,
				 "vCPU %u: the guest's system crashed: %s%scrash registers %" PRIx64
				 " %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64,
				 m->vcpu, why, why[0] ? "; " : "", p[0], p[1], p[2], p[3], p[4]);
	else if (vm->events > FLOOD)
		flooded(vm, ROLE_PARTITION);
}

void guest_event_pending(struct vm *vm)
{
	uint32_t event = vm->pending_event;

	vm->pending_event = 0;
	if (event)
		act(vm, event, vm->pending_value, vm->pending_text);
}

void guest_integration(struct vm *vm, const struct msg_event_integration *m)
{
	uint32_t before = vm->run.heartbeat;

	vm->run.services = m->services;
	vm->run.told = m->told;
	vm->run.frozen = m->frozen;
	if (m->heartbeat == before)
		return;
	vm->run.heartbeat = m->heartbeat;
	vm->run.heartbeat_ms = wall_ms();
	if (m->heartbeat == HEARTBEAT_LOST && guest_may_log(vm))
		event_add(vm->d, SEV_WARNING, "vm.heartbeat-lost", vm->def.name, NULL,
			  "the guest no longer answers");
	if (before == HEARTBEAT_LOST && m->heartbeat == HEARTBEAT_OK && guest_may_log(vm))
		event_add(vm->d, SEV_INFO, "vm.heartbeat", vm->def.name, NULL,
			  "the guest answers again");
}

void guest_memory(struct vm *vm, const struct msg_event_memory *m)
{
	vm->run.memory = *m;
}

/* Hostile text, made printable before anybody sees it. */
void guest_values(struct vm *vm, const struct msg_event_values *m)
{
	vm->run.nvalues = m->count;
	for (uint32_t i = 0; i < m->count; i++) {
		const struct guest_value *from = &m->pair[i];
		struct guest_value *to = &vm->run.value[i];

		log_printable(to->key, sizeof(to->key), from->key, strlen(from->key));
		log_printable(to->value, sizeof(to->value), from->value, strlen(from->value));
	}
}
