/* SPDX-License-Identifier: Apache-2.0
 *
 * The beginning and the end of a run: files and message of VM_CREATE, the descriptors that come
 * back, and their release.
 */
#include "mgmtd/backup.h"
#include "mgmtd/copy.h"
#include "mgmtd/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "proto/api.pb-c.h"

enum { MAX_FILES = 1 + CONTROL_MAX_MODULES };

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

static int open_files(struct daemon *d, const struct vmc *def, struct files *files, struct fault *f)
{
	int rc = add_file(d, files, "kernel", def->kernel, f);

	if (!rc && def->initrd)
		rc = add_file(d, files, "initrd", def->initrd, f);
	for (unsigned i = 0; !rc && i < def->nmodules && files->n < MAX_FILES; i++)
		rc = add_file(d, files, "module", def->module[i], f);
	if (rc)
		close_files(files);
	return rc;
}

int vm_send_create(struct vm *vm, struct fault *f)
{
	struct files files = {.n = 0};
	struct first_disks first;
	struct msg_vm_create m;
	char why[CONTROL_TEXT_BYTES];
	int fds[MAX_FILES + CONTROL_FIRST_DISK_FDS], rc = 0;
	size_t ndisk_fds;

	if (open_files(vm->d, &vm->def, &files, f))
		return -1;
	vm_disks_first(vm, &first);
	memcpy(fds, files.fd, files.n * sizeof(fds[0]));
	memcpy(fds + files.n, first.fds, first.nfds * sizeof(fds[0]));
	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_VM_CREATE, vm->cookie);
	vm->run.id = ++vm->d->next_run;
	if (vmc_config(&vm->def, vm->run.id, &m.config, why, sizeof(why)))
		rc = fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, "correct the definition",
			       "%s", why);
	memcpy(m.disk, first.disk, sizeof(m.disk));
	m.config.disks = first.count;
	m.config.later_disks = first.later;
	m.config.restart = vm->d->settings.restarts > 0;
	vm->run.roles = 0;
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (vm_has_role(&m.config, i))
			vm->run.roles |= 1u << i;
	if (!rc && vm_disks_check(&m.config, m.disk, &ndisk_fds, why, sizeof(why)))
		rc = fault_set(f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL, "%s", why);
	if (!rc)
		rc = broker_send(&vm->d->broker, &m.h, fds, files.n + first.nfds, f);
	close_files(&files);
	vm_disks_given(vm);
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
		else if ((rc = sockets_open(vm)))
			rc = fault_set(f, fault_code(rc), "names that are too long for a socket's "
							  "path need <sockets>no</sockets>",
				       "cannot make its socket below %s/sockets: %s",
				       vm->d->settings.run_dir, strerror(-rc));
	}
	for (; taken < nfds; taken++)
		close(fds[taken]);
	return rc;
}

void vm_release(struct vm *vm)
{
	backup_gone(vm, "the machine was turned off");
	copy_gone(vm, "the machine was turned off");
	space_forget(vm);
	vm_disks_end(vm);
	sockets_close(vm);
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
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++)
		vm->run.counted[i].count = 0;
	vm->run.keep_asked = false;
	vm->run.lost = 0;
	memset(vm->run.restarts, 0, sizeof(vm->run.restarts));
	vm->run.id = 0;
	vm->run.creating = false;
	vm->run.guest_ns = 0;
	vm->run.started_ms = 0;
}
