/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs: operations that take a while, for those who wait for them, and the last ones that ended.
 */
#include "mgmtd/mgmtd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mgmtd/api.h"

/* Forgets the oldest ended job if there are too many. */
static void trim(struct jobs *jobs)
{
	struct job **link, *old;
	unsigned ended = 0;

	for (struct job *j = jobs->first; j; j = j->next)
		ended += j->state != JOB_IS_RUNNING;
	if (ended < JOBS_KEPT)
		return;
	for (link = &jobs->first; (*link)->state == JOB_IS_RUNNING; link = &(*link)->next)
		;
	old = *link;
	*link = old->next;
	free(old->notes);
	free(old);
}

struct job *job_new(struct daemon *d, const char *kind, const char *vm, const char *user)
{
	struct job *job = calloc(1, sizeof(*job)), **link;

	if (!job)
		return NULL;
	trim(&d->jobs);
	job->id = ++d->jobs.next_id;
	job->kind = kind;
	job->doing = "";
	snprintf(job->vm, sizeof(job->vm), "%s", vm);
	snprintf(job->user, sizeof(job->user), "%s", user ? user : "");
	job->started_ms = wall_ms();
	for (link = &d->jobs.first; *link; link = &(*link)->next)
		;
	*link = job;
	return job;
}

struct job *job_find(struct daemon *d, uint64_t id)
{
	for (struct job *j = d->jobs.first; j; j = j->next)
		if (j->id == id)
			return j;
	return NULL;
}

void job_end(struct daemon *d, struct job *job, const struct fault *fault)
{
	if (!job || job->state != JOB_IS_RUNNING)
		return;
	job->ended_ms = wall_ms();
	job->cancellable = false;
	job->doing = "";
	if (!fault || !fault->code) {
		job->state = JOB_IS_DONE;
		job->percent = 100;
	} else {
		job->state = fault->code == BULKHEAD__ERROR_CODE__ERROR_CANCELLED ? JOB_IS_CANCELLED
										  : JOB_IS_FAILED;
		job->fault = *fault;
		job->fault.job = job->id;
	}
	wait_wake(d, WAIT_JOB);
}

void job_drop(struct daemon *d, struct job *job)
{
	struct job **link;

	for (link = &d->jobs.first; *link != job; link = &(*link)->next)
		;
	*link = job->next;
	free(job->notes);
	free(job);
}

void jobs_free(struct daemon *d)
{
	struct job *next;

	for (struct job *j = d->jobs.first; j; j = next) {
		next = j->next;
		free(j->notes);
		free(j);
	}
	d->jobs.first = NULL;
}
