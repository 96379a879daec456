/* SPDX-License-Identifier: Apache-2.0
 *
 * start, pause, resume, reset, shutdown, off, delete; jobs.
 */
#include "mgmtd/cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_MS = 10000, ACTION_S = 180 };

int job_error(struct cli *c, const Bulkhead__Job *job)
{
	if (job->error)
		return fail_reply(c, job->error);
	return fail_with(c, EXIT_FAILED, NULL, "job %" PRIu64 " did not succeed", job->id);
}

int wait_job(struct cli *c, uint64_t id, Bulkhead__Reply **reply)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__JobGetRequest get = BULKHEAD__JOB_GET_REQUEST__INIT;
	time_t end = time(NULL) + (c->timeout_s ? c->timeout_s : ACTION_S);
	int status;

	get.job = id;
	get.wait_ms = WAIT_MS;
	r.body_case = BULKHEAD__REQUEST__BODY_JOB_GET;
	r.job_get = &get;
	*reply = NULL;
	for (;;) {
		status = call(c, &r, reply);
		if (status)
			return status;
		if ((*reply)->body_case != BULKHEAD__REPLY__BODY_JOB ||
		    (*reply)->job->state != BULKHEAD__JOB_STATE__JOB_RUNNING)
			return EXIT_OK;
		free_reply(*reply);
		*reply = NULL;
		if (time(NULL) >= end)
			return fail_with(c, EXIT_TIMEOUT, "it goes on; see \"bulkhead jobs\"",
					 "job %" PRIu64 " is not over yet", id);
	}
}

int end_job(struct cli *c, Bulkhead__Reply *reply)
{
	int status = EXIT_OK;

	if (reply->body_case == BULKHEAD__REPLY__BODY_JOB &&
	    reply->job->state == BULKHEAD__JOB_STATE__JOB_RUNNING) {
		uint64_t id = reply->job->id;

		free_reply(reply);
		status = wait_job(c, id, &reply);
		if (status)
			return status;
	}
	if (reply->body_case != BULKHEAD__REPLY__BODY_JOB)
		status = fail_with(c, EXIT_FAILED, NULL, "an unexpected answer");
	else if (reply->job->state != BULKHEAD__JOB_STATE__JOB_DONE)
		status = job_error(c, reply->job);
	else if (c->json)
		print_json(&reply->job->base);
	free_reply(reply);
	return status;
}

int call_job(struct cli *c, Bulkhead__Request *r, unsigned seconds)
{
	Bulkhead__Reply *reply;
	int status = call(c, r, &reply);

	if (status)
		return status;
	if (!c->timeout_s)
		c->timeout_s = seconds;
	return end_job(c, reply);
}

static int act_with(struct cli *c, const char *vm, Bulkhead__VmAction action, uint32_t timeout_s)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmActionRequest a = BULKHEAD__VM_ACTION_REQUEST__INIT;

	a.vm = (char *)vm;
	a.action = action;
	a.wait_ms = WAIT_MS;
	a.timeout_s = timeout_s;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_ACTION;
	r.vm_action = &a;
	return call_job(c, &r, 0);
}

static int act(struct cli *c, const char *vm, Bulkhead__VmAction action)
{
	return act_with(c, vm, action, 0);
}

int start_vm(struct cli *c, const char *vm)
{
	return act(c, vm, BULKHEAD__VM_ACTION__ACTION_START);
}

/* All of them, even if one fails; the first failure is the status. */
static int act_on_all(struct cli *c, int argc, char **argv, Bulkhead__VmAction action)
{
	int status = EXIT_OK;

	if (argc < 2)
		return fail_usage(c, "which virtual machine?");
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-')
			return fail_usage(c, "unknown option %s", argv[i]);
	for (int i = 1; i < argc; i++) {
		int rc = act(c, argv[i], action);

		if (!status)
			status = rc;
	}
	return status;
}

int cmd_pause(struct cli *c, int argc, char **argv)
{
	return act_on_all(c, argc, argv, BULKHEAD__VM_ACTION__ACTION_PAUSE);
}

int cmd_resume(struct cli *c, int argc, char **argv)
{
	return act_on_all(c, argc, argv, BULKHEAD__VM_ACTION__ACTION_RESUME);
}

int cmd_reset(struct cli *c, int argc, char **argv)
{
	return act_on_all(c, argc, argv, BULKHEAD__VM_ACTION__ACTION_RESET);
}

/* shutdown [--restart | --hibernate] VM... */
int cmd_shutdown(struct cli *c, int argc, char **argv)
{
	bool restart = argc > 1 && !strcmp(argv[1], "--restart");
	bool hibernate = argc > 1 && !strcmp(argv[1], "--hibernate");
	int options = restart || hibernate;

	return act_on_all(c, argc - options, argv + options,
			  restart     ? BULKHEAD__VM_ACTION__ACTION_RESTART
			  : hibernate ? BULKHEAD__VM_ACTION__ACTION_HIBERNATE
				      : BULKHEAD__VM_ACTION__ACTION_SHUTDOWN);
}

/* freeze [--for SECONDS] VM */
int cmd_freeze(struct cli *c, int argc, char **argv)
{
	unsigned long seconds = 0;
	char *end = NULL;

	if (argc == 4 && !strcmp(argv[1], "--for")) {
		seconds = strtoul(argv[2], &end, 10);
		if (!end || *end || seconds == 0 || seconds > 600)
			return fail_usage(c, "--for %s: 1 to 600 seconds are possible", argv[2]);
	} else if (argc != 2 || argv[1][0] == '-') {
		return fail_usage(c, "freeze [--for SECONDS] VM");
	}
	return act_with(c, argv[argc - 1], BULKHEAD__VM_ACTION__ACTION_FREEZE, (uint32_t)seconds);
}

int cmd_thaw(struct cli *c, int argc, char **argv)
{
	return act_on_all(c, argc, argv, BULKHEAD__VM_ACTION__ACTION_THAW);
}

int cmd_off(struct cli *c, int argc, char **argv)
{
	return act_on_all(c, argc, argv, BULKHEAD__VM_ACTION__ACTION_OFF);
}

int cmd_delete(struct cli *c, int argc, char **argv)
{
	return act_on_all(c, argc, argv, BULKHEAD__VM_ACTION__ACTION_DELETE);
}

/* Starts without waiting and shows the console from the first byte on. */
static int start_with_console(struct cli *c, const char *vm)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmActionRequest a = BULKHEAD__VM_ACTION_REQUEST__INIT;
	struct console_options o = {.vm = vm, .started = true};
	Bulkhead__Reply *reply;
	uint64_t job;
	int status;

	a.vm = (char *)vm;
	a.action = BULKHEAD__VM_ACTION__ACTION_START;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_ACTION;
	r.vm_action = &a;
	status = call(c, &r, &reply);
	if (status)
		return status;
	job = reply->body_case == BULKHEAD__REPLY__BODY_JOB ? reply->job->id : 0;
	free_reply(reply);
	status = console_run(c, &o);
	if (status)
		return status;
	status = wait_job(c, job, &reply);
	if (!status && reply->body_case == BULKHEAD__REPLY__BODY_JOB &&
	    reply->job->state != BULKHEAD__JOB_STATE__JOB_DONE)
		status = job_error(c, reply->job);
	free_reply(reply);
	return status;
}

int cmd_start(struct cli *c, int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[argc - 1], "--console")) {
		argv[argc - 1] = argv[1];
		argv[1] = (char *)"--console";
	}
	if (argc < 2 || strcmp(argv[1], "--console"))
		return act_on_all(c, argc, argv, BULKHEAD__VM_ACTION__ACTION_START);
	if (argc != 3)
		return fail_usage(c, "--console needs exactly one virtual machine");
	return start_with_console(c, argv[2]);
}

/* ---- jobs */

static void print_jobs(const Bulkhead__JobList *list)
{
	static const char *const states[] = {"running", "done", "failed", "cancelled"};
	struct table t;
	char when[32];

	if (table_begin(&t))
		return;
	fprintf(t.f, "ID\tSTARTED\tUSER\tVM\tWHAT\tSTATE\t\n");
	for (size_t i = 0; i < list->n_jobs; i++) {
		const Bulkhead__Job *j = list->jobs[i];

		fprintf(t.f, "%" PRIu64 "\t%s\t%s\t%s\t%s\t%s", j->id,
			text_time(j->started_ms, when, sizeof(when)), j->user, j->vm, j->kind,
			(unsigned)j->state < 4 ? states[j->state] : "?");
		if (j->state == BULKHEAD__JOB_STATE__JOB_RUNNING)
			fprintf(t.f, " %u%%\t%s\n", j->percent, j->doing);
		else
			fprintf(t.f, "\t%s\n", j->error ? j->error->what : "");
	}
	table_end(&t);
}

int cmd_jobs(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__JobListRequest list = BULKHEAD__JOB_LIST_REQUEST__INIT;
	Bulkhead__JobCancelRequest cancel = BULKHEAD__JOB_CANCEL_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	if (argc == 1) {
		r.body_case = BULKHEAD__REQUEST__BODY_JOB_LIST;
		r.job_list = &list;
	} else if (argc == 3 && !strcmp(argv[1], "cancel")) {
		r.body_case = BULKHEAD__REQUEST__BODY_JOB_CANCEL;
		r.job_cancel = &cancel;
		cancel.job = strtoull(argv[2], NULL, 10);
	} else {
		return fail_usage(c, "jobs, or jobs cancel ID");
	}
	status = call(c, &r, &reply);
	if (!status && reply->body_case == BULKHEAD__REPLY__BODY_JOB_LIST) {
		if (c->json)
			print_json(&reply->job_list->base);
		else
			print_jobs(reply->job_list);
	} else if (!status && c->json) {
		print_json(&reply->base);
	}
	free_reply(reply);
	return status;
}
