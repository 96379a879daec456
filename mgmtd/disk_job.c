/* SPDX-License-Identifier: Apache-2.0
 *
 * One operation on an image, as a job of its own process. An output gets its name when it is complete
 * and durable; until then it is ".job-ID", which the next start of the daemon removes if we do not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "mgmtd/disks.h"

enum { NOTES_BYTES = 8192, TOLD_AFTER_MS = 10000, TOLD_PERCENT = 25 };

struct disk_job {
	struct disk_job *next;
	struct daemon *d;
	struct disk_wish wish; /* its strings are ours */
	struct job *job;
	char owner[IMAGE_OWNER_BYTES];
	struct chain chain; /* of the image */
	struct chain other; /* of its new parent */
	struct disk_process *process;
	int out_fd;         /* -1: none */
	char out_temp[32];  /* "": none */
	unsigned told;      /* per cent, in the last event */
	bool cancelled;
	disk_job_end *ended;
	void *arg;
};

static const char *const op_names[DISK_OPS] = {
	[DISK_OP_LOOK] = "look",       [DISK_OP_CREATE] = "create", [DISK_OP_COPY] = "convert",
	[DISK_OP_COMPACT] = "compact", [DISK_OP_MERGE] = "merge",   [DISK_OP_RESIZE] = "resize",
	[DISK_OP_CHECK] = "check",     [DISK_OP_SET_PARENT] = "set-parent",
	[DISK_OP_REBASE] = "rebase",
};

static const char *const op_doing[DISK_OPS] = {
	[DISK_OP_LOOK] = "looking at it",   [DISK_OP_CREATE] = "making it",
	[DISK_OP_COPY] = "copying",         [DISK_OP_COMPACT] = "compacting",
	[DISK_OP_MERGE] = "merging",        [DISK_OP_RESIZE] = "resizing",
	[DISK_OP_CHECK] = "checking",     [DISK_OP_SET_PARENT] = "naming its parent",
	[DISK_OP_REBASE] = "copying what differs",
};

const char *disk_op_name(unsigned op)
{
	return op < DISK_OPS && op_names[op] ? op_names[op] : "?";
}

static bool changes_image(const struct disk_wish *w)
{
	return w->op == DISK_OP_COMPACT || w->op == DISK_OP_MERGE || w->op == DISK_OP_RESIZE ||
	       w->op == DISK_OP_SET_PARENT || w->op == DISK_OP_REBASE ||
	       (w->op == DISK_OP_CHECK && w->flags & DISK_JOB_REPAIR);
}

static const char *subject(const struct disk_job *j)
{
	return j->wish.output ? j->wish.output : j->wish.image;
}

static void forget(struct disk_job *j)
{
	struct disk_job **link;

	for (link = &j->d->disk_jobs; *link && *link != j; link = &(*link)->next)
		;
	if (*link)
		*link = j->next;
	disk_process_end(j->process);
	chain_close(&j->chain);
	chain_close(&j->other);
	if (j->out_fd >= 0)
		close(j->out_fd);
	if (j->out_temp[0])
		unlinkat(j->wish.output_dir, j->out_temp, 0);
	free(j->wish.image);
	free(j->wish.parent);
	free(j->wish.output);
	free(j->wish.output_path);
	free(j);
}

/* ---- the output */

static int open_output(struct disk_job *j, struct fault *f)
{
	struct disk_wish *w = &j->wish;
	struct stat st;

	if (!w->output)
		return 0;
	if (!fstatat(w->output_dir, w->output, &st, AT_SYMLINK_NOFOLLOW) && !w->replace)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_EXISTS,
				 "choose another name, or --force", "%s exists", w->output);
	snprintf(j->out_temp, sizeof(j->out_temp), ".job-%" PRIu64, ++j->d->next_output);
	unlinkat(w->output_dir, j->out_temp, 0);
	j->out_fd = openat(w->output_dir, j->out_temp,
			   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (j->out_fd >= 0)
		return 0;
	j->out_temp[0] = '\0';
	return fault_set(f, fault_code(errno),
			 "is there room and write permission in the state folder?",
			 "cannot make %s: %s", w->output, strerror(errno));
}

static int name_output(struct disk_job *j, struct fault *f)
{
	struct disk_wish *w = &j->wish;
	const struct image *user;
	struct stat st;
	int rc = 0;

	if (!w->output)
		return 0;
	if (w->replace && !fstatat(w->output_dir, w->output, &st, AT_SYMLINK_NOFOLLOW)) {
		user = image_conflict(j->d, st.st_dev, st.st_ino, IMAGE_WRITE);
		if (user)
			return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
					 "%s is in use by %s", w->output, user->owner);
	}
	if (fsync(j->out_fd))
		rc = -1;
	else if (w->replace)
		rc = renameat(w->output_dir, j->out_temp, w->output_dir, w->output);
	else
		rc = renameat2(w->output_dir, j->out_temp, w->output_dir, w->output,
			       RENAME_NOREPLACE);
	if (rc)
		return fault_set(f, fault_code(errno), NULL, "cannot finish %s: %s", w->output,
				 strerror(errno));
	j->out_temp[0] = '\0';
	fsync(w->output_dir);
	return 0;
}

static int is_left_over(const struct dirent *e)
{
	return !strncmp(e->d_name, ".job-", 5);
}

void disk_outputs_clean(int dir_fd)
{
	struct dirent **list;
	int n = scandirat(dir_fd, ".", &list, is_left_over, NULL);

	for (int i = 0; i < n; i++) {
		unlinkat(dir_fd, list[i]->d_name, 0);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

/* ---- results */

static const char *size_text(uint64_t n, char buf[32])
{
	snprintf(buf, 32, n < 10u << 20 ? "%" PRIu64 " KiB" : "%" PRIu64 " MiB",
		 n < 10u << 20 ? n >> 10 : n >> 20);
	return buf;
}

static void say_result(struct disk_job *j, const struct msg_disk_done *m)
{
	char a[32], b[32], *to = j->job->result;
	size_t size = sizeof(j->job->result);

	switch (j->wish.op) {
	case DISK_OP_COMPACT:
		snprintf(to, size, "on the host %s, was %s",
			 size_text(m->value[VALUE_COMPACT_USED_AFTER], a),
			 size_text(m->value[VALUE_COMPACT_USED_BEFORE], b));
		break;
	case DISK_OP_MERGE:
		snprintf(to, size, "merged %s", size_text(m->value[VALUE_MERGE_COPIED], a));
		break;
	case DISK_OP_RESIZE:
	case DISK_OP_CREATE:
	case DISK_OP_COPY:
		snprintf(to, size, "a disk of %" PRIu64 " bytes", m->value[VALUE_RESIZE_SIZE]);
		break;
	case DISK_OP_CHECK:
		if (m->value[VALUE_CHECK_REPAIRED])
			snprintf(to, size, "repaired %" PRIu64 " findings",
				 m->value[VALUE_CHECK_REPAIRED]);
		else
			snprintf(to, size, "%s",
				 m->value[VALUE_CHECK_ERRORS] ? "damaged; repair it"
				 : m->value[VALUE_CHECK_OTHER] ? "usable; a repair tidies it"
							      : "clean");
		break;
	case DISK_OP_SET_PARENT:
	case DISK_OP_REBASE:
		snprintf(to, size, "its parent is %s", j->other.image[0]->path);
		break;
	default:
		break;
	}
}

static void finish(struct disk_job *j, struct fault *f, const struct msg_disk_done *m)
{
	disk_job_end *ended = j->ended;
	void *arg = j->arg;

	if (!f->code)
		name_output(j, f);
	if (!f->code && m)
		say_result(j, m);
	if (j->wish.loud)
		event_add(j->d, f->code ? SEV_ERROR : SEV_INFO, f->code ? "disk.failed" : "disk.done",
			  j->job->vm[0] ? j->job->vm : NULL, j->job->user, "%s of %s: %s",
			  disk_op_name(j->wish.op), subject(j), f->code ? f->what : j->job->result);
	forget(j);
	ended(arg, f, m);
}

/* ---- the process's messages */

static void fill_names(const struct disk_job *j, struct msg_disk_job *m)
{
	bool child = j->wish.op == DISK_OP_CREATE && j->chain.count;
	const char *parent = j->other.count ? j->other.image[0]->path
			     : child	    ? j->chain.image[0]->path
					    : NULL;

	if (!parent)
		return;
	chain_relative(child ? j->wish.output_path : j->chain.image[0]->path, parent, m->relative,
		       sizeof(m->relative));
	if (strlen(parent) < sizeof(m->absolute))
		strcpy(m->absolute, parent);
}

static void on_ready(void *arg)
{
	struct disk_job *j = arg;
	const struct disk_wish *w = &j->wish;
	struct msg_disk_job m;
	struct fault f = {0};
	int fds[2], rc;
	unsigned n = 0;

	if (j->cancelled) {
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_CANCELLED, NULL, "cancelled");
		finish(j, &f, NULL);
		return;
	}
	memset(&m, 0, sizeof(m));
	m.h.cookie = 1;
	m.op = w->op;
	m.flags = w->flags;
	m.format = w->format;
	m.out_format = w->out_format;
	m.out_type = w->out_type;
	m.block_bytes = w->block_bytes;
	m.sector_bytes = w->sector_bytes;
	m.relative_size = w->relative_size;
	m.size = w->size;
	fill_names(j, &m);
	if (j->chain.count)
		fds[n++] = j->chain.image[0]->fd;
	if (j->other.count)
		fds[n++] = j->other.image[0]->fd;
	if (j->out_fd >= 0)
		fds[n++] = j->out_fd;
	j->job->doing = op_doing[w->op];
	rc = disk_process_send(j->process, &m.h, MSG_DISK_JOB, fds, n);
	if (!rc)
		return;
	fault_set(&f, fault_code(rc), NULL, "the disk job takes no messages: %s", strerror(-rc));
	finish(j, &f, NULL);
}

static void on_progress(struct disk_job *j, const struct msg_disk_progress *m)
{
	unsigned percent = m->total ? (unsigned)((double)m->done * 100 / (double)m->total) : 0;

	j->job->percent = percent > 100 ? 100 : percent;
	if (!j->wish.loud || wall_ms() - j->job->started_ms < TOLD_AFTER_MS ||
	    percent < j->told + TOLD_PERCENT)
		return;
	j->told = percent - percent % TOLD_PERCENT;
	event_add(j->d, SEV_INFO, "disk.progress", j->job->vm[0] ? j->job->vm : NULL, j->job->user,
		  "%s of %s: %u%%", disk_op_name(j->wish.op), subject(j), j->told);
}

static void on_note(struct disk_job *j, const char *text)
{
	char line[DISK_JOB_TEXT_BYTES];
	size_t used = j->job->notes ? strlen(j->job->notes) : 0;

	log_printable(line, sizeof(line), text, strlen(text));
	if (!j->job->notes)
		j->job->notes = calloc(1, NOTES_BYTES);
	if (j->job->notes && used + strlen(line) + 2 < NOTES_BYTES)
		sprintf(j->job->notes + used, "%s%s", used ? "\n" : "", line);
}

static void on_wants(struct disk_job *j, const struct msg_disk_wants *w)
{
	struct msg_disk_parent m;
	int fd;

	chain_answer(j->d, w->other ? &j->other : &j->chain, j->owner, w, &m, &fd);
	m.h.cookie = w->h.cookie;
	disk_process_send(j->process, &m.h, MSG_DISK_PARENT, &fd, fd >= 0);
}

static void on_done(struct disk_job *j, const struct msg_disk_done *m)
{
	struct msg_disk_done copy = *m;
	struct fault f = {0};

	if (m->error == ECANCELED)
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_CANCELLED, NULL, "cancelled");
	else if (m->error)
		chain_fault(m->other ? &j->other : &j->chain, m,
			    m->other && j->wish.parent ? j->wish.parent : subject(j), &f);
	finish(j, &f, &copy);
}

static void on_message(void *arg, const struct msg_header *h)
{
	struct disk_job *j = arg;

	if (h->type == MSG_DISK_WANTS)
		on_wants(j, (const struct msg_disk_wants *)h);
	else if (h->type == MSG_DISK_PROGRESS)
		on_progress(j, (const struct msg_disk_progress *)h);
	else if (h->type == MSG_DISK_NOTE)
		on_note(j, ((const struct msg_disk_note *)h)->text);
	else
		on_done(j, (const struct msg_disk_done *)h);
}

static void on_gone(void *arg, const struct fault *why)
{
	struct disk_job *j = arg;
	struct fault f = *why;

	j->process = NULL;
	snprintf(f.hint, sizeof(f.hint), "%s",
		 changes_image(&j->wish) ? "the image is intact; run it again" : "run it again");
	finish(j, &f, NULL);
}

static const struct disk_process_ops ops = {on_ready, on_message, on_gone};

/* ---- begin, cancel */

static int open_image(struct disk_job *j, struct fault *f)
{
	unsigned flags = IMAGE_DEVICE | (changes_image(&j->wish) ? IMAGE_WRITE : 0);

	if (!j->wish.image)
		return 0;
	j->chain.image[0] =
		image_open(j->d, j->wish.image, flags, j->wish.image, j->owner, f);
	j->chain.count = j->chain.image[0] != NULL;
	if (!j->chain.count || !j->wish.parent)
		return j->chain.count ? 0 : -1;
	j->other.image[0] = image_open(j->d, j->wish.parent, 0, j->wish.parent, j->owner, f);
	j->other.count = j->other.image[0] != NULL;
	return j->other.count ? 0 : -1;
}

int disk_job_start(struct daemon *d, const struct disk_wish *wish, struct job *job,
		   disk_job_end *ended, void *arg, struct fault *f)
{
	struct disk_job *j = calloc(1, sizeof(*j));

	if (!j)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
	j->d = d;
	j->wish = *wish;
	j->wish.image = wish->image ? strdup(wish->image) : NULL;
	j->wish.parent = wish->parent ? strdup(wish->parent) : NULL;
	j->wish.output = wish->output ? strdup(wish->output) : NULL;
	j->wish.output_path = wish->output_path ? strdup(wish->output_path) : NULL;
	j->job = job;
	j->out_fd = -1;
	j->ended = ended;
	j->arg = arg;
	snprintf(j->owner, sizeof(j->owner), "job %" PRIu64 " (%s)", job->id,
		 disk_op_name(wish->op));
	if ((wish->image && !j->wish.image) || (wish->parent && !j->wish.parent) || (wish->output && !j->wish.output) ||
	    (wish->output && !j->wish.output_path))
		fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
	else if (!open_image(j, f) && !open_output(j, f))
		j->process = disk_process_start(d, "job", &ops, j, f);
	if (!j->process) {
		forget(j);
		return -1;
	}
	j->next = d->disk_jobs;
	d->disk_jobs = j;
	return 0;
}

bool disk_job_cancel(struct daemon *d, const struct job *job)
{
	struct msg_plain m;

	for (struct disk_job *j = d->disk_jobs; j; j = j->next) {
		if (j->job != job)
			continue;
		j->cancelled = true;
		memset(&m, 0, sizeof(m));
		m.h.cookie = 1;
		disk_process_send(j->process, &m.h, MSG_DISK_CANCEL, NULL, 0);
		return true;
	}
	return false;
}

void disk_jobs_free(struct daemon *d)
{
	while (d->disk_jobs)
		forget(d->disk_jobs);
}
