/* SPDX-License-Identifier: Apache-2.0
 *
 * The beginning and the end of a run: files and message of VM_CREATE, the descriptors that come
 * back, and their release.
 */
#include "mgmtd/backup.h"
#include "mgmtd/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "proto/api.pb-c.h"

enum { MAX_FILES = 1 + CONTROL_MAX_MODULES + CONTROL_MAX_DISKS };

struct files {
	int fd[MAX_FILES];
	unsigned n;
};

static void close_files(struct files *files)
{
	for (unsigned i = 0; i < files->n; i++)
		close(files->fd[i]);
	files->n = 0;
}

static const char *hint_open(int error, char *buf, size_t size)
{
	if (error == EACCES)
		snprintf(buf, size, "bulkhead-mgmtd runs as uid %u and must be able to read it",
			 (unsigned)geteuid());
	else
		snprintf(buf, size, "correct the path in the definition");
	return buf;
}

/* Our own secrets are readable to us, and must not become a guest's initrd. */
static bool is_our_secret(const struct daemon *d, int fd)
{
	char link[32], path[4096], keys[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return true;
	path[n] = '\0';
	snprintf(link, sizeof(link), "/proc/self/fd/%d", d->state_fd);
	n = readlink(link, keys, sizeof(keys) - 8);
	if (n < 0)
		return true;
	strcpy(keys + n, "/keys/");
	return !strncmp(path, keys, strlen(keys));
}

static int add_file(struct daemon *d, struct files *files, const char *what, const char *path,
		    struct fault *f)
{
	char hint[CONTROL_TEXT_BYTES];
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		fault_set(f, fault_code(errno), hint_open(errno, hint, sizeof(hint)),
			  "cannot open the %s: %s", what, strerror(errno));
	} else if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
			  "correct the path in the definition", "the %s is not a regular file",
			  what);
	} else if (st.st_size == 0) {
		fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
			  "correct the path in the definition", "the %s is an empty file", what);
	} else if (is_our_secret(d, fd)) {
		fault_set(f, BULKHEAD__ERROR_CODE__ERROR_DENIED, "choose another file",
			  "the %s lies among the keys of this server", what);
	} else {
		files->fd[files->n++] = fd;
		return 0;
	}
	snprintf(f->where, sizeof(f->where), "%s", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Images are opened, never read, here: their bytes are a guest's. */
static int add_disk(struct daemon *d, struct files *files, const struct vmc_disk *disk,
		    struct fault *f)
{
	char hint[CONTROL_TEXT_BYTES];
	struct stat st;
	int mode = disk->read_only ? O_RDONLY : O_RDWR;
	int fd = open(disk->path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	snprintf(f->where, sizeof(f->where), "%s", disk->path);
	if (fd < 0)
		return fault_set(f, fault_code(errno), hint_open(errno, hint, sizeof(hint)),
				 "cannot open the image of disk %u:%u: %s", disk->controller,
				 disk->lun, strerror(errno));
	if (fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) ||
	    is_our_secret(d, fd)) {
		close(fd);
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "correct the path in the definition",
				 "the image of disk %u:%u is neither a file nor a block device",
				 disk->controller, disk->lun);
	}
	f->where[0] = '\0';
	files->fd[files->n++] = fd;
	return 0;
}

static int open_files(struct daemon *d, const struct vmc *def, struct files *files, struct fault *f)
{
	int rc = add_file(d, files, "kernel", def->kernel, f);

	if (!rc && def->initrd)
		rc = add_file(d, files, "initrd", def->initrd, f);
	for (unsigned i = 0; !rc && i < def->nmodules && files->n < MAX_FILES; i++)
		rc = add_file(d, files, "module", def->module[i], f);
	for (unsigned i = 0; !rc && i < def->ndisks; i++)
		rc = add_disk(d, files, &def->disk[i], f);
	if (rc)
		close_files(files);
	return rc;
}

/* A shared disk has the same serial number in every machine: by its path (FNV-1a, 64 bits). */
static void fill_serial(const struct vmc_disk *d, struct vm_disk *m)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (const char *c = d->path; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
	snprintf(m->serial, sizeof(m->serial), "shared-%016llx", (unsigned long long)hash);
}

static struct vm_disk fill_disk(const struct vmc_disk *d)
{
	struct vm_disk m = {
		.controller = d->controller,
		.lun = d->lun,
		.kind = d->kind,
		.read_only = d->read_only,
		.format = d->format,
		.chain = 1,
		.shared = d->shared,
	};

	if (d->shared)
		fill_serial(d, &m);
	return m;
}

int vm_open_disk(struct daemon *d, const struct vmc_disk *disk, struct vm_disk *m, int *fd,
		 unsigned max, unsigned *n, struct fault *f)
{
	struct files files = {.n = 0};

	*m = fill_disk(disk);
	if (m->chain > max)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL,
				 "disk %u:%u has too many parents", disk->controller, disk->lun);
	if (add_disk(d, &files, disk, f))
		return -1;
	memcpy(fd, files.fd, files.n * sizeof(*fd));
	*n = files.n;
	return 0;
}

int vm_send_create(struct vm *vm, struct fault *f)
{
	struct files files = {.n = 0};
	struct msg_vm_create m;
	char why[CONTROL_TEXT_BYTES];
	int rc = 0;

	if (open_files(vm->d, &vm->def, &files, f))
		return -1;
	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_VM_CREATE, vm->cookie);
	vm->run.id = ++vm->d->next_run;
	if (vmc_config(&vm->def, vm->run.id, &m.config, why, sizeof(why)))
		rc = fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, "correct the definition",
			       "%s", why);
	for (unsigned i = 0; i < vm->def.ndisks && !rc; i++)
		m.disk[i] = fill_disk(&vm->def.disk[i]);
	vm->run.roles = 0;
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (vm_has_role(&m.config, i))
			vm->run.roles |= 1u << i;
	if (!rc)
		rc = broker_send(&vm->d->broker, &m.h, files.fd, files.n, f);
	close_files(&files);
	if (rc)
		vm->run.id = 0;
	else
		vm->run.creating = true;
	return rc;
}

int vm_created(struct vm *vm, const struct msg_vm_created *m, int *fds, size_t nfds,
	       struct fault *f)
{
	size_t taken = 0, count = (unsigned)__builtin_popcount(vm->run.roles) + vm->def.nserial;
	int rc = 0;

	if (m->roles != vm->run.roles || nfds != count) {
		rc = fault_set(f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL,
			       "the broker passed %zu descriptors instead of %zu", nfds, count);
	} else {
		vm->run.backend = m->backend;
		log_printable(vm->run.backend_reason, sizeof(vm->run.backend_reason),
			      m->backend_reason, strlen(m->backend_reason));
		memcpy(vm->run.process, m->process, sizeof(vm->run.process));
		for (unsigned i = 0; i < ROLE_COUNT && !rc; i++)
			if (m->roles & 1u << i)
				rc = unit_open(vm, i, fds[taken++]);
		for (unsigned i = 0; i < vm->def.nserial && !rc; i++)
			rc = console_open(&vm->console[i], fds[taken++]);
		if (rc)
			rc = fault_set(f, fault_code(rc), NULL, "cannot watch its sockets: %s",
				       strerror(-rc));
	}
	for (; taken < nfds; taken++)
		close(fds[taken]);
	return rc;
}

void vm_release(struct vm *vm)
{
	backup_gone(vm);
	copy_gone(vm);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		unit_close(&vm->run.unit[i]);
	for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++)
		console_close(&vm->console[i]);
	if (vm->gone_timer)
		loop_remove(vm->gone_timer);
	vm->gone_timer = NULL;
	memset(vm->run.process, 0, sizeof(vm->run.process));
	vm->run.heartbeat = HEARTBEAT_NONE;
	vm->run.heartbeat_ms = 0;
	vm->run.services = 0;
	vm->run.told = TOLD_NOT;
	vm->run.frozen = false;
	vm->run.memory = (struct msg_event_memory){0};
	vm->run.memory_target = 0;
	vm->run.nvalues = 0;
	vm->run.id = 0;
	vm->run.creating = false;
	vm->run.guest_ns = 0;
	vm->run.started_ms = 0;
}
