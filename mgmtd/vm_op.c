/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations on a virtual machine: each a row of steps, each step one message and its answer. One
 * operation at a time; only "off" may interrupt another, and any failure leads to it.
 */
#include "mgmtd/mgmtd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "mgmtd/api.h"
#include "mgmtd/backup.h"
#include "mgmtd/disks.h"

enum { BROKER = ANSWERER_BROKER, DISKS = ANSWERER_DISKS };

struct step {
	unsigned to; /* a role, BROKER or DISKS */
	uint16_t message;
	unsigned timeout_s;
	unsigned percent; /* of the job, before it */
	const char *doing;
};

static const struct step start_steps[] = {
	{DISKS, 0, 120, 0, "looking at its disks"},
	{BROKER, MSG_VM_CREATE, 60, 20, "starting its processes"},
	{ROLE_STORAGE, MSG_UNIT_DISK, 60, 30, "handing over its disks"},
	{ROLE_WORKER, MSG_UNIT_LOAD, 60, 40, "loading the kernel"},
	{ROLE_STORAGE, MSG_UNIT_RUN, 10, 70, "starting the disks"},
	{ROLE_INTEGRATION, MSG_UNIT_RUN, 10, 75, "starting the services"},
	{ROLE_SOCKET, MSG_UNIT_RUN, 10, 75, "starting the sockets"},
	{ROLE_WORKER, MSG_UNIT_RUN, 10, 80, "starting the devices"},
	{ROLE_PARTITION, MSG_UNIT_RUN, 10, 90, "starting the processors"},
};

static const struct step pause_steps[] = {
	{ROLE_PARTITION, MSG_UNIT_PAUSE, 10, 0, "stopping the processors"},
	{ROLE_WORKER, MSG_UNIT_PAUSE, 10, 50, "stopping the devices"},
	{ROLE_INTEGRATION, MSG_UNIT_PAUSE, 10, 60, "stopping the services"},
	{ROLE_SOCKET, MSG_UNIT_PAUSE, 10, 60, "stopping the sockets"},
	{ROLE_STORAGE, MSG_UNIT_PAUSE, 120, 70, "waiting for the disks"},
};

static const struct step resume_steps[] = {
	{ROLE_STORAGE, MSG_UNIT_RUN, 10, 0, "starting the disks"},
	{ROLE_INTEGRATION, MSG_UNIT_RUN, 10, 0, "starting the services"},
	{ROLE_SOCKET, MSG_UNIT_RUN, 10, 0, "starting the sockets"},
	{ROLE_WORKER, MSG_UNIT_RUN, 10, 0, "starting the devices"},
	{ROLE_PARTITION, MSG_UNIT_RUN, 10, 50, "starting the processors"},
};

enum { RESET_AFTER_PAUSE = 5 }; /* where a reset begins when the machine is paused already */
static const struct step reset_steps[] = {
	{ROLE_PARTITION, MSG_UNIT_PAUSE, 10, 0, "stopping the processors"},
	{ROLE_WORKER, MSG_UNIT_PAUSE, 10, 10, "stopping the devices"},
	{ROLE_INTEGRATION, MSG_UNIT_PAUSE, 10, 15, "stopping the services"},
	{ROLE_SOCKET, MSG_UNIT_PAUSE, 10, 15, "stopping the sockets"},
	{ROLE_STORAGE, MSG_UNIT_PAUSE, 120, 15, "waiting for the disks"},
	{ROLE_PARTITION, MSG_UNIT_RESET, 10, 20, "resetting the processors"},
	{ROLE_WORKER, MSG_UNIT_RESET, 10, 30, "resetting the devices"},
	{ROLE_STORAGE, MSG_UNIT_RESET, 10, 35, "resetting the disks"},
	{ROLE_INTEGRATION, MSG_UNIT_RESET, 10, 35, "resetting the services"},
	{ROLE_SOCKET, MSG_UNIT_RESET, 10, 35, "resetting the sockets"},
	{ROLE_WORKER, MSG_UNIT_LOAD, 60, 40, "loading the kernel"},
	{ROLE_STORAGE, MSG_UNIT_RUN, 10, 70, "starting the disks"},
	{ROLE_INTEGRATION, MSG_UNIT_RUN, 10, 75, "starting the services"},
	{ROLE_SOCKET, MSG_UNIT_RUN, 10, 75, "starting the sockets"},
	{ROLE_WORKER, MSG_UNIT_RUN, 10, 80, "starting the devices"},
	{ROLE_PARTITION, MSG_UNIT_RUN, 10, 90, "starting the processors"},
};

/* A request to the guest, which it may refuse: the machine runs on, whatever becomes of it. */
static const struct step shutdown_steps[] = {
	{ROLE_INTEGRATION, MSG_UNIT_SHUTDOWN, 20, 0, "waiting for the guest's word"},
};

/* Likewise. The integration process keeps the time that the request gives. */
static const struct step freeze_steps[] = {
	{ROLE_INTEGRATION, MSG_UNIT_FREEZE, FREEZE_MAX_S + 10, 0, "freezing its file systems"},
};

static const struct step thaw_steps[] = {
	{ROLE_INTEGRATION, MSG_UNIT_THAW, 60, 0, "thawing its file systems"},
};

/* The storage process may refuse it; the machine runs on. */
static const struct step disk_steps[] = {
	{DISKS, 0, 120, 0, "looking at the disk"},
	{BROKER, MSG_RESERVATIONS, 60, 0, "asking for its reservations"},
	{ROLE_STORAGE, MSG_UNIT_DISK, 120, 0, "changing its disks"},
};

/* What the machine is doing goes on meanwhile; of the last three steps, the one for what was lost. */
static const struct step relaunch_steps[] = {
	{DISKS, 0, 120, 0, "looking at its disks"},
	{BROKER, MSG_VM_RESTART, 60, 0, "starting the process again"},
	{ROLE_STORAGE, MSG_UNIT_DISK, 60, 0, "handing over its disks"},
	{ROLE_STORAGE, MSG_UNIT_RUN, 30, 0, "starting the disks"},
	{ROLE_INTEGRATION, MSG_UNIT_RUN, 30, 0, "starting the services"},
	{ROLE_SOCKET, MSG_UNIT_RUN, 30, 0, "starting the sockets"},
};

/* Disks that are not closed in time, or whose process has gone, are as after a power cut. */
static const struct step off_steps[] = {
	{ROLE_STORAGE, MSG_UNIT_CLOSE, 60, 0, "closing the disks"},
	{BROKER, MSG_VM_DESTROY, 60, 0, "ending its processes"},
};

#define STEPS(s) s, sizeof(s) / sizeof((s)[0])
static const struct op {
	const char *doing;
	const struct step *steps;
	unsigned nsteps;
	enum vm_trigger trigger, done;
	const char *event, *text;
} ops[OP_COUNT] = {
	[OP_START] = {"being started", STEPS(start_steps), TRIGGER_START, TRIGGER_STARTED,
		      "vm.running", "running"},
	[OP_PAUSE] = {"being paused", STEPS(pause_steps), TRIGGER_PAUSE, TRIGGER_PAUSED,
		      "vm.paused", "paused"},
	[OP_RESUME] = {"being resumed", STEPS(resume_steps), TRIGGER_RESUME, TRIGGER_STARTED,
		       "vm.resumed", "running again"},
	[OP_RESET] = {"being reset", STEPS(reset_steps), TRIGGER_RESET, TRIGGER_STARTED, "vm.reset",
		      "reset"},
	[OP_SHUTDOWN] = {"being asked to shut down", STEPS(shutdown_steps), TRIGGER_SHUTDOWN,
			 TRIGGER_STARTED, "vm.shutdown", "the guest has begun to shut down"},
	[OP_RESTART] = {"being asked to restart", STEPS(shutdown_steps), TRIGGER_RESTART,
			TRIGGER_STARTED, "vm.restart", "the guest has begun to restart"},
	[OP_HIBERNATE] = {"being asked to hibernate", STEPS(shutdown_steps), TRIGGER_HIBERNATE,
			  TRIGGER_STARTED, "vm.hibernate", "the guest has agreed to hibernate"},
	[OP_FREEZE] = {"being frozen", STEPS(freeze_steps), TRIGGER_FREEZE, TRIGGER_STARTED,
		       "vm.frozen", "its file systems are frozen"},
	[OP_THAW] = {"being thawed", STEPS(thaw_steps), TRIGGER_THAW, TRIGGER_STARTED, "vm.thawed",
		     "its file systems are thawed"},
	[OP_DISK] = {"having its disks changed", STEPS(disk_steps), TRIGGER_COUNT, TRIGGER_COUNT,
		     NULL, NULL},
	[OP_RELAUNCH] = {"having a process started again", STEPS(relaunch_steps), TRIGGER_COUNT,
			 TRIGGER_COUNT, NULL, NULL},
	[OP_OFF] = {"being turned off", STEPS(off_steps), TRIGGER_OFF, TRIGGER_ENDED, NULL, NULL},
};

const char *vm_op_doing(const struct vm *vm)
{
	return ops[vm->op].doing;
}

/* ---- steps */

static void arm(struct vm *vm, unsigned seconds);

static int send_step(struct vm *vm, const struct step *s, struct fault *f)
{
	struct msg_vm_destroy destroy;
	int rc;

	if (s->to == DISKS)
		return vm_disks_begin(vm, f);
	switch (s->message) {
	case MSG_VM_CREATE:
		return vm_send_create(vm, f);
	case MSG_VM_DESTROY:
		memset(&destroy, 0, sizeof(destroy));
		control_header(&destroy.h, MSG_VM_DESTROY, vm->cookie);
		destroy.id = vm->run.id;
		return broker_send(&vm->d->broker, &destroy.h, NULL, 0, f);
	case MSG_UNIT_DISK:
		return vm->op == OP_DISK ? vm_disk_send(vm, f) : vm_disks_send_next(vm, f);
	case MSG_RESERVATIONS:
		return vm_disk_ask_memory(vm, f);
	case MSG_VM_RESTART:
		return restart_send(vm, f);
	default:
		rc = unit_send(vm, s->to, s->message);
		if (rc)
			return fault_set(f, fault_code(rc), NULL,
					 "the %s of %s takes no messages: %s", vm_role_name(s->to),
					 vm->def.name, strerror(-rc));
		return 0;
	}
}

/* To the guest, by its integration services: it may refuse. */
static bool is_request(enum vm_op op)
{
	return op == OP_SHUTDOWN || op == OP_RESTART || op == OP_HIBERNATE || op == OP_FREEZE ||
	       op == OP_THAW;
}

/* The operation is over, and has failed: with it the machine, unless it was only a request. */
static void op_failed(struct vm *vm, const struct fault *f)
{
	struct job *job = vm->job;

	if (!is_request(vm->op) && vm->op != OP_DISK) {
		vm_fail(vm, f);
		return;
	}
	if (vm->op == OP_DISK && vm->change.action == DISK_ADD) {
		vm_disks_drop(vm, vm->change.disk.controller, vm->change.disk.lun);
		undo_remove(vm, &vm->change.disk);
	}
	if (vm->op == OP_DISK && vm->change.action == DISK_INSERT)
		vm_disks_eject(vm, vm->change.disk.controller, vm->change.disk.lun);
	vm_disk_forget(vm);
	vm->op = OP_NONE;
	vm->cookie = 0;
	vm->job = NULL;
	vm->op_user[0] = '\0';
	arm(vm, 0);
	job_end(vm->d, job, f);
	guest_event_pending(vm);
	restart_go_on(vm);
}

static void go_on(struct vm *vm);

/* A step on the way to Off did not work: the next ones end the machine all the same. */
static void off_regardless(struct vm *vm, const struct fault *f)
{
	event_add(vm->d, SEV_WARNING, "vm.disks-not-closed", vm->def.name, NULL, "%s", f->what);
	vm->step++;
	go_on(vm);
}

static void run_step(struct vm *vm)
{
	const struct step *s = &ops[vm->op].steps[vm->step];
	struct fault f = {0};

	vm->cookie = ++vm->d->next_cookie;
	vm->answerer = s->to;
	if (vm->job) {
		vm->job->doing = s->doing;
		vm->job->percent = s->percent;
	}
	arm(vm, s->timeout_s);
	if (!send_step(vm, s, &f))
		return;
	if (s->message == MSG_VM_DESTROY)
		vm_ended(vm, f.what);
	else if (vm->op == OP_OFF)
		off_regardless(vm, &f);
	else
		op_failed(vm, &f);
}

static void on_timeout(void *arg)
{
	struct vm *vm = arg;
	const struct step *s = &ops[vm->op].steps[vm->step];
	struct fault f = {0};

	if (vm->op == OP_NONE)
		return;
	if (s->to == BROKER) {
		/* A broker that does not answer is of no use to anybody. */
		event_add(vm->d, SEV_ERROR, "broker.stuck", vm->def.name, NULL,
			  "the broker did not answer within %u seconds while %s; reconnecting",
			  s->timeout_s, s->doing);
		broker_close(&vm->d->broker);
		return;
	}
	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_TIMEOUT, NULL,
		  "the %s did not answer within %u seconds while %s",
		  s->to == DISKS ? "disk job" : vm_role_name(s->to), s->timeout_s, s->doing);
	if (vm->op == OP_OFF)
		off_regardless(vm, &f);
	else
		op_failed(vm, &f);
}

static void arm(struct vm *vm, unsigned seconds)
{
	if (!vm->timer)
		vm->timer = loop_add_timer(vm->d->loop, on_timeout, vm);
	if (vm->timer)
		loop_timer_set(vm->timer, seconds ? monotonic_ns() + seconds * NS_PER_S : 0);
}

static void finish(struct vm *vm);

/* Disks that the message about the start had no room for: the step is done once for each. */
static bool hands_over(const struct vm *vm, const struct step *s)
{
	return s->message == MSG_UNIT_DISK && vm->op != OP_DISK;
}

static bool lacks(const struct vm *vm, const struct step *s)
{
	unsigned to = s->to;

	if (hands_over(vm, s))
		return !vm_disks_left(vm) ||
		       (vm->op == OP_RELAUNCH && vm->run.relaunched != ROLE_STORAGE);
	if (s->message == MSG_RESERVATIONS)
		return vm->change.action != DISK_ADD || !vm->change.disk.shared;
	if (to == DISKS)
		return (vm->op == OP_START && !vm->def.ndisks) ||
		       (vm->op == OP_RELAUNCH && vm->run.relaunched != ROLE_STORAGE);
	if (to != BROKER && vm->op == OP_RELAUNCH)
		return to != vm->run.relaunched || vm->state != STATE_RUNNING;
	return to != BROKER &&
	       (!(vm->run.roles & 1u << to) || (vm->op == OP_OFF && vm->run.unit[to].fd < 0));
}

/* The next step, from vm->step on, that this machine has something for. */
static void go_on(struct vm *vm)
{
	const struct op *op = &ops[vm->op];

	while (vm->step < op->nsteps && lacks(vm, &op->steps[vm->step]))
		vm->step++;
	if (vm->step == op->nsteps)
		finish(vm);
	else
		run_step(vm);
}

static void begin(struct vm *vm, enum vm_op op, const char *user)
{
	vm->op = op;
	vm->step = op == OP_RESET && vm->state == STATE_PAUSED ? RESET_AFTER_PAUSE : 0;
	snprintf(vm->op_user, sizeof(vm->op_user), "%s", user ? user : "");
	if (ops[op].trigger != TRIGGER_COUNT)
		vm_move(vm, ops[op].trigger);
	if (op == OP_OFF)
		/* it asks the storage process for nothing after the close */
		backup_gone(vm, "the machine is turned off");
	if (op == OP_OFF && vm->run.creating)
		return; /* vm_answer() goes on when the broker has said what became of it */
	if (op == OP_OFF && !vm->run.id)
		vm_ended(vm, vm->reason);
	else
		go_on(vm);
}

static void finish(struct vm *vm)
{
	const struct op *op = &ops[vm->op];
	struct job *job = vm->job;
	struct fault f = {0};

	if (vm->op == OP_OFF) {
		vm_ended(vm, vm->reason);
		return;
	}
	if (vm->op == OP_START) {
		vm->run.started_ms = wall_ms();
		vm->run.started_ns = monotonic_ns();
	}
	if (vm->op == OP_DISK)
		vm_disk_done(vm, &f);
	if (vm->op == OP_RELAUNCH)
		restart_finished(vm);
	vm->op = OP_NONE;
	vm->cookie = 0;
	vm->job = NULL;
	arm(vm, 0);
	if (op->done != TRIGGER_COUNT)
		vm_move(vm, op->done);
	if (op->trigger == TRIGGER_START)
		event_add(vm->d, SEV_INFO, op->event, vm->def.name, vm->op_user,
			  "running on %s: %s", vmc_backend_name(vm->run.backend),
			  vm->run.backend_reason);
	/* without a user it was the guest's wish */
	else if (op->event && (vm->op_user[0] || guest_may_log(vm)))
		event_add(vm->d, SEV_INFO, op->event, vm->def.name, vm->op_user, "%s", op->text);
	vm->op_user[0] = '\0';
	job_end(vm->d, job, &f);
	guest_event_pending(vm);
	restart_go_on(vm);
}

void vm_answer(struct vm *vm, unsigned answerer, uint64_t cookie, int error, const char *text)
{
	const struct step *s = &ops[vm->op].steps[vm->step];
	struct fault f = {0};

	if (vm->op == OP_NONE || !vm->cookie || cookie != vm->cookie || answerer != vm->answerer)
		return; /* late: that operation is over */
	vm->cookie = 0;
	if (vm->op == OP_OFF && vm->run.creating) {
		vm->run.creating = false;
		if (error)
			vm_ended(vm, vm->reason);
		else
			go_on(vm);
		return;
	}
	if (s->message == MSG_VM_CREATE) {
		vm->run.creating = false;
		if (error)
			vm->run.id = 0; /* nothing was left behind */
	}
	if (error && vm->op != OP_OFF) {
		fault_set(&f, fault_code(error), NULL, "%s", text[0] ? text : strerror(error));
		op_failed(vm, &f);
		return;
	}
	if (error && s->to != BROKER)
		event_add(vm->d, SEV_WARNING, "vm.disks-not-closed", vm->def.name, NULL, "%s",
			  text);
	else if (error && error != ENOENT)
		event_add(vm->d, SEV_ERROR, "vm.leftover", vm->def.name, NULL,
			  "the broker could not end its processes: %s", text);
	if (!hands_over(vm, s) || !vm_disks_left(vm))
		vm->step++;
	go_on(vm);
}

void vm_role_lost(struct vm *vm, unsigned role, const char *text)
{
	if (vm->op == OP_RELAUNCH && vm->run.relaunched == role) { /* from the beginning */
		vm->op = OP_NONE;
		vm->cookie = 0;
		arm(vm, 0);
	} else if (vm->op != OP_NONE && vm->cookie && vm->answerer == role) {
		vm_answer(vm, role, vm->cookie, EPIPE, text);
	}
}

void vm_step_done(struct vm *vm, uint64_t cookie, const struct fault *f)
{
	if (vm->op == OP_NONE || !cookie || cookie != vm->cookie || vm->answerer != DISKS)
		return;
	vm->cookie = 0;
	if (f && f->code) {
		op_failed(vm, f);
		return;
	}
	vm->step++;
	go_on(vm);
}

/* ---- what starts and ends operations */

static enum vm_op op_of(enum vm_trigger trigger)
{
	for (unsigned op = OP_NONE + 1; op < OP_COUNT; op++)
		if (ops[op].trigger == trigger)
			return (enum vm_op)op;
	return OP_NONE;
}

static int check_request(struct vm *vm, enum vm_trigger trigger, struct fault *f)
{
	char possible[CONTROL_TEXT_BYTES];

	if (state_next(vm->state, trigger) == STATE_NONE)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, NULL,
				 "%s is %s; what it can do now: %s", vm->def.name,
				 state_name(vm->state),
				 state_possible(vm->state, possible, sizeof(possible)));
	if (op_of(trigger) == OP_NONE)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
				 "this version cannot %s a virtual machine", trigger_name(trigger));
	if (vm->op != OP_NONE && trigger != TRIGGER_OFF)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, "wait until that is over",
				 "%s is %s", vm->def.name, vm_op_doing(vm));
	if (vm->backup && trigger != TRIGGER_OFF)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, "wait until that is over",
				 "%s is being backed up", vm->def.name);
	if (is_request(op_of(trigger)) && !vm->def.integration)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
				 "add <integration>yes</integration> to its definition; \"bulkhead "
				 "off\" ends it at once",
				 "%s has no integration services", vm->def.name);
	if (trigger == TRIGGER_HIBERNATE && vmc_has_dynamic(&vm->def))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
				 "take minimum and maximum out of its definition, or shut it down",
				 "%s has dynamic memory; a guest gives that up to be able to "
				 "hibernate, so this one was told that it cannot",
				 vm->def.name);
	if (trigger == TRIGGER_START && vm->d->stopping)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNAVAILABLE,
				 "start it when bulkhead-mgmtd runs again",
				 "bulkhead-mgmtd is being stopped");
	if (trigger == TRIGGER_START && undo_decided(vm) != UNDO_UNDECIDED)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
				 "\"bulkhead undo\" goes on; the events say why it is not over",
				 "the undo disks of %s are being %s, and are not yet", vm->def.name,
				 undo_decided(vm) == UNDO_COMMIT ? "committed" : "discarded");
	if (trigger == TRIGGER_START && vm->d->broker.fd < 0)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNAVAILABLE,
				 "start bulkhead-vmmcore", "no connection to the broker at %s: %s",
				 vm->d->settings.broker_socket, vm->d->broker.error);
	return 0;
}

int vm_request(struct vm *vm, enum vm_trigger trigger, struct job *job, const char *user,
	       struct fault *f)
{
	struct fault cancelled = {0};

	if (trigger == TRIGGER_OFF && vm->state == STATE_TURNING_OFF && !vm->off_job) {
		vm->off_job = job; /* it is under way already */
		return 0;
	}
	if (check_request(vm, trigger, f))
		return -1;
	if (trigger == TRIGGER_OFF) {
		fault_set(&cancelled, BULKHEAD__ERROR_CODE__ERROR_CANCELLED, NULL,
			  "%s was turned off by %s", vm->def.name, user);
		job_end(vm->d, vm->job, &cancelled);
		snprintf(vm->reason, sizeof(vm->reason), "turned off by %s", user);
	}
	if (trigger == TRIGGER_START) {
		vm->reason[0] = '\0';
		vm->fault.code = 0;
		vm->has_exit_value = false;
		vm->pending_event = 0;
		vm->crashes = 0;
		vm->crashed = false;
		for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++)
			console_new_run(&vm->console[i]);
	}
	vm->job = job;
	begin(vm, op_of(trigger), user);
	return 0;
}

void vm_begin(struct vm *vm, enum vm_op op, struct job *job, const char *user)
{
	vm->job = job;
	begin(vm, op, user);
}

void vm_turn_off(struct vm *vm, const char *reason)
{
	if (!state_is_live(vm->state) || vm->op == OP_OFF)
		return;
	snprintf(vm->reason, sizeof(vm->reason), "%s", reason);
	begin(vm, OP_OFF, NULL);
}

void vm_fail(struct vm *vm, const struct fault *f)
{
	if (!state_is_live(vm->state))
		return;
	event_add(vm->d, SEV_ERROR, "vm.failed", vm->def.name, NULL, "%s%s%s", f->what,
		  f->where[0] ? ": " : "", f->where);
	if (!vm->fault.code)
		vm->fault = *f;
	vm_turn_off(vm, f->what);
}

void vm_ended(struct vm *vm, const char *reason)
{
	struct job *job = vm->job, *off_job = vm->off_job;
	struct fault f = vm->fault;
	bool orderly = vm->op == OP_OFF && !f.code && !vm->crashed && !vm->d->stopping &&
		       vm->run.started_ms;

	if (!f.code && vm->op != OP_OFF && vm->op != OP_NONE)
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL, "%s", reason);
	if (reason != vm->reason)
		snprintf(vm->reason, sizeof(vm->reason), "%s", reason);
	vm_release(vm);
	vm_disk_forget(vm);
	vm->op = OP_NONE;
	vm->cookie = 0;
	vm->job = vm->off_job = NULL;
	vm->fault.code = 0;
	vm->pending_event = 0;
	arm(vm, 0);
	vm_move(vm, TRIGGER_ENDED);
	event_add(vm->d, SEV_INFO, "vm.off", vm->def.name, vm->op_user, "off: %s", vm->reason);
	vm->op_user[0] = '\0';
	job_end(vm->d, job, &f);
	job_end(vm->d, off_job, NULL);
	if (orderly)
		undo_session_ended(vm);
	stop_go_on(vm->d);
}
