/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent reservations that survive power loss (APTPL): a file for each shared image, below
 * reservations/ in the state folder. It is written before the guest that caused it is answered, and
 * read when a machine gets the image; the storage process knows whether it still counts.
 *
 * A file is named by what its image is (inode and time of birth), so that another image in its place
 * does not inherit it. What has no time of birth, and devices, are named by their path.
 *
 * Guests can cause writes as often as they like: they are done one at a time, so many in a second, and
 * the machines take turns.
 */
#include "mgmtd/vm_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bus/log.h"
#include "mgmtd/files.h"
#include "proto/api.pb-c.h"

#define FOLDER   "reservations"
#define EVERY_NS 50000000ull /* a write, at most */
enum { FILE_MAX_BYTES = 16384 };

static int folder(const struct daemon *d, bool make)
{
	int fd;

	if (make && mkdirat(d->state_fd, FOLDER, 0750) && errno != EEXIST)
		return -errno;
	fd = openat(d->state_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void name_it(struct slot *s)
{
	const struct image *i = s->chain.image[0];
	struct statx x;

	if (!statx(i->fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_INO | STATX_TYPE, &x) &&
	    S_ISREG(x.stx_mode) && x.stx_mask & STATX_BTIME)
		snprintf(s->keep_name, sizeof(s->keep_name), "inode-%" PRIx64 "-%" PRIx64 ".%09" PRIu32,
			 (uint64_t)x.stx_ino, (uint64_t)x.stx_btime.tv_sec, x.stx_btime.tv_nsec);
	else
		snprintf(s->keep_name, sizeof(s->keep_name), "path-%016" PRIx64,
			 path_hash(i->path));
}

static int parse(const char *text, struct kept_reservations *k)
{
	char uuid[VMC_UUID_TEXT], why[CONTROL_TEXT_BYTES];
	unsigned type, holder, seat;
	unsigned long long key;
	int n = 0;

	if (sscanf(text, "bulkhead-reservations 1 type %u holder %u%n", &type, &holder, &n) != 2 ||
	    type > UINT8_MAX || holder > UINT8_MAX)
		return -EBADMSG;
	*k = (struct kept_reservations){.type = (uint8_t)type, .holder = (uint8_t)holder};
	while (sscanf(text += n, " seat %u %36s %llx%n", &seat, uuid, &key, &n) == 3) {
		if (seat >= CONTROL_SEATS || !key || vmc_parse_uuid(uuid, k->seat[seat].owner))
			return -EBADMSG;
		k->seat[seat].key = key;
	}
	if (strncmp(text, "\nimage ", 7) || kept_reservations_check(k, why, sizeof(why)))
		return -EBADMSG;
	return 0;
}

/* malloc'd */
static char *format(const struct kept_reservations *k, const char *path, size_t *bytes)
{
	char *text = NULL, uuid[VMC_UUID_TEXT];
	FILE *f = open_memstream(&text, bytes);

	if (!f)
		return NULL;
	fprintf(f, "bulkhead-reservations 1\ntype %u holder %u\n", k->type, k->holder);
	for (unsigned i = 0; i < CONTROL_SEATS; i++)
		if (k->seat[i].key)
			fprintf(f, "seat %u %s %016" PRIx64 "\n", i,
				vmc_format_uuid(k->seat[i].owner, uuid), k->seat[i].key);
	fprintf(f, "image %s\n", path); /* for people */
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}

int reservations_read(struct daemon *d, struct slot *s, struct fault *f)
{
	int dir = folder(d, false), rc = dir;
	char *text = NULL;
	size_t bytes;

	name_it(s);
	if (dir >= 0) {
		rc = file_read(dir, s->keep_name, FILE_MAX_BYTES, &text, &bytes);
		close(dir);
	}
	if (rc == -ENOENT)
		return 0;
	s->kept = rc ? NULL : malloc(sizeof(*s->kept));
	if (!rc)
		rc = s->kept ? parse(text, s->kept) : -ENOMEM;
	free(text);
	if (!rc)
		return 0;
	free(s->kept);
	s->kept = NULL;
	fault_set(f, fault_code(rc == -EBADMSG ? EINVAL : -rc),
		  "remove it if no machine is to be kept out by what it said",
		  "the persistent reservations of disk %u:%u cannot be read: %s", s->disk.controller,
		  s->disk.lun, rc == -EBADMSG ? "not in the format" : strerror(-rc));
	snprintf(f->where, sizeof(f->where), FOLDER "/%s", s->keep_name);
	return -1;
}

static int send_one(const struct vm *vm, struct slot *s)
{
	struct msg_reservations m = {
		.controller = s->disk.controller, .lun = s->disk.lun, .keep = 1, .state = *s->kept};

	free(s->kept);
	s->kept = NULL;
	control_header(&m.h, MSG_UNIT_RESERVATIONS, 0);
	return msgsock_send(vm->run.unit[ROLE_STORAGE].fd, &m.h, NULL, 0);
}

int reservations_send(struct vm *vm)
{
	int rc = 0;

	for (unsigned i = 0; vm->disks && i < CONTROL_MAX_DISKS && !rc; i++)
		if (vm->disks->slot[i].used && vm->disks->slot[i].kept)
			rc = send_one(vm, &vm->disks->slot[i]);
	return rc;
}

/* ---- what guests want kept */

static int keep(const struct vm *vm, const struct slot *s, const struct msg_reservations *m)
{
	int dir = folder(vm->d, true), rc = dir < 0 ? dir : 0;
	size_t bytes;
	char *text;

	if (rc)
		return rc;
	if (m->keep) {
		text = format(&m->state, s->chain.image[0]->path, &bytes);
		rc = text ? file_write(dir, s->keep_name, text, bytes, 0640) : -ENOMEM;
		free(text);
	} else if (unlinkat(dir, s->keep_name, 0) && errno != ENOENT) {
		rc = -errno;
	}
	if (!rc && fsync(dir)) /* of a name that has gone, too */
		rc = -errno;
	if (!rc && fsync(vm->d->state_fd))
		rc = -errno;
	close(dir);
	return rc;
}

static void keep_for(struct vm *vm)
{
	const struct msg_reservations *m = &vm->run.keep;
	const struct slot *s = vm_disks_find(vm, m->controller, m->lun);
	struct msg_unit_kept answer = {.error = ENOENT};

	if (s && s->disk.shared && s->chain.count)
		answer.error = -keep(vm, s, m);
	if (answer.error && guest_may_log(vm))
		event_add(vm->d, SEV_ERROR, "vm.reservations-not-kept", vm->def.name, NULL,
			  "the reservations of disk %u:%u, which its guest wants to survive power loss, "
			  "cannot be written: %s",
			  m->controller, m->lun, strerror(answer.error));
	control_header(&answer.h, MSG_UNIT_KEPT, m->h.cookie);
	vm->run.keep_asked = false;
	vm->run.kept_ns = vm->d->kept_ns = monotonic_ns();
	if (msgsock_send(vm->run.unit[ROLE_STORAGE].fd, &answer.h, NULL, 0))
		log_warn("%s: its storage takes no messages", vm->def.name);
}

/* Whose turn it is: of those that wait, the one that was served longest ago. */
static struct vm *next_one(struct daemon *d)
{
	struct vm *first = NULL;

	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (vm->run.keep_asked && (!first || vm->run.kept_ns < first->run.kept_ns))
			first = vm;
	return first;
}

static void arm(struct daemon *d)
{
	if (d->keep_timer && next_one(d))
		loop_timer_set(d->keep_timer, d->kept_ns + EVERY_NS);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;
	struct vm *vm = next_one(d);

	if (vm)
		keep_for(vm);
	arm(d);
}

void reservations_event(struct vm *vm, const struct msg_reservations *m)
{
	struct daemon *d = vm->d;

	if (!d->keep_timer)
		d->keep_timer = loop_add_timer(d->loop, on_timer, d);
	vm->run.keep = *m;
	vm->run.keep_asked = true;
	arm(d);
}
