/* SPDX-License-Identifier: Apache-2.0
 *
 * One folder a virtual machine below vms/, with machine.vmc in it. Folders appear and go by one
 * rename each, so that a crash leaves a machine whole or not at all; what a crash did leave is
 * named ".new..." or ".del..." and removed at the next start.
 */
#include "mgmtd/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/files.h"
#include "proto/api.pb-c.h"

static const char *const hint_disk = "is there room and write permission in the state folder?";

/* ---- reading at start */

static void load_one(struct daemon *d, const char *name)
{
	char path[CONTROL_NAME_BYTES + 16], source[CONTROL_NAME_BYTES + 24],
		where[CONTROL_TEXT_BYTES];
	struct vmc_error err = {0};
	struct vmc def;
	struct vm *twin = NULL;
	size_t bytes;
	char *text;
	int rc;

	snprintf(path, sizeof(path), "%.63s/machine.vmc", name); /* the name is checked */
	snprintf(source, sizeof(source), "vms/%s", path);
	rc = file_read(d->vms_fd, path, VMC_MAX_BYTES, &text, &bytes);
	if (rc) {
		event_add(d, SEV_ERROR, "inventory.unreadable", name, NULL, "%s: %s", source,
			  strerror(-rc));
		return;
	}
	rc = vmc_read(text, bytes, &def, &err);
	free(text);
	if (rc) {
		event_add(d, SEV_ERROR, "inventory.invalid", name, NULL, "%s: %s; %s",
			  vmc_where(&err, source, where, sizeof(where)), err.what, err.hint);
		return;
	}
	if (strcmp(def.name, name) || !def.has_uuid) {
		event_add(d, SEV_ERROR, "inventory.invalid", name, NULL,
			  "%s: the definition in folder %s is %s; correct it and restart", source,
			  name, def.has_uuid ? "of another name" : "without a uuid");
	} else {
		char uuid[VMC_UUID_TEXT];

		twin = vm_find(d, vmc_format_uuid(def.uuid, uuid));
		if (twin)
			event_add(d, SEV_ERROR, "inventory.invalid", name, NULL,
				  "%s: its uuid is that of %s; correct it and restart", source,
				  twin->def.name);
		else if (!vm_add(d, &def))
			log_error("%s: out of memory", name);
	}
	vmc_clear(&def);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int inventory_open(struct daemon *d)
{
	struct dirent **list;
	char why[CONTROL_TEXT_BYTES];
	int n;

	if (mkdirat(d->state_fd, "vms", 0750) && errno != EEXIST)
		return -errno;
	d->vms_fd = openat(d->state_fd, "vms", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->vms_fd < 0)
		return -errno;
	n = scandirat(d->vms_fd, ".", &list, NULL, by_name);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;

		if (!strncmp(name, ".new", 4) || !strncmp(name, ".del", 4))
			tree_remove(d->vms_fd, name);
		else if (!vmc_check_name(name, why, sizeof(why)))
			load_one(d, name);
		free(list[i]);
	}
	free(list);
	return 0;
}

/* ---- changes */

static int write_definition(int folder_fd, const struct vmc *def, struct fault *f)
{
	size_t bytes;
	char *text = vmc_write(def, &bytes);
	int rc;

	if (!text)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
	rc = file_write(folder_fd, "machine.vmc", text, bytes, 0640);
	free(text);
	if (rc)
		return fault_set(f, fault_code(rc), hint_disk,
				 "cannot write the definition of %s: %s", def->name, strerror(-rc));
	return 0;
}

/* Makes ".newNAME" with the definition in it and gives it its name. */
static int make_folder(struct daemon *d, const struct vmc *def, struct fault *f)
{
	char temp[CONTROL_NAME_BYTES + 8];
	int fd, rc;

	snprintf(temp, sizeof(temp), ".new%s", def->name);
	tree_remove(d->vms_fd, temp);
	if (mkdirat(d->vms_fd, temp, 0750))
		return fault_set(f, fault_code(errno), hint_disk,
				 "cannot make the folder of %s: %s", def->name, strerror(errno));
	fd = openat(d->vms_fd, temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 ? -1 : write_definition(fd, def, f);
	if (fd >= 0)
		close(fd);
	if (!rc && renameat2(d->vms_fd, temp, d->vms_fd, def->name, RENAME_NOREPLACE))
		rc = errno == EEXIST ? fault_set(f, BULKHEAD__ERROR_CODE__ERROR_EXISTS,
						 "choose another name, or remove the folder",
						 "there is already a folder vms/%s, which was not "
						 "usable when "
						 "the daemon started; see the events",
						 def->name)
				     : fault_set(f, fault_code(errno), hint_disk,
						 "cannot make the folder of %s: %s", def->name,
						 strerror(errno));
	if (rc)
		tree_remove(d->vms_fd, temp);
	else
		fsync(d->vms_fd);
	return rc;
}

int inventory_create(struct daemon *d, struct vmc *def, const char *user, struct fault *f)
{
	char uuid[VMC_UUID_TEXT], name[CONTROL_NAME_BYTES];
	struct vm *other = vm_find(d, def->name);

	if (other)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_EXISTS,
				 "choose another name, or delete that one first",
				 "there is already a virtual machine %s", def->name);
	if (!def->has_uuid)
		vmc_random_uuid(def->uuid);
	def->has_uuid = true;
	other = vm_find(d, vmc_format_uuid(def->uuid, uuid));
	if (other)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_EXISTS,
				 "leave <uuid> out and one will be made",
				 "the virtual machine %s already has the uuid %s", other->def.name,
				 uuid);
	if (make_folder(d, def, f))
		return -1;
	snprintf(name, sizeof(name), "%s", def->name);
	if (!vm_add(d, def)) {
		tree_remove(d->vms_fd, name);
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
	}
	event_add(d, SEV_INFO, "vm.created", name, user, "created");
	return 0;
}

static int rewrite(struct daemon *d, const struct vmc *def, struct fault *f)
{
	int fd = openat(d->vms_fd, def->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return fault_set(f, fault_code(errno), hint_disk, "the folder of %s: %s", def->name,
				 strerror(errno));
	rc = write_definition(fd, def, f);
	close(fd);
	return rc;
}

int inventory_save(struct daemon *d, const struct vm *vm, struct fault *f)
{
	return rewrite(d, &vm->def, f);
}

int inventory_define(struct daemon *d, struct vmc *def, const char *user, struct fault *f)
{
	struct vm *vm = vm_find(d, def->name);

	if (!vm)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
				 "use create for a new one", "there is no virtual machine %s",
				 def->name);
	if (vm->state != STATE_OFF || vm->op != OP_NONE)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, "turn it off first",
				 "%s is %s; its definition can be changed only while it is Off",
				 def->name, state_name(vm->state));
	if (undo_check_change(vm, "changed", f))
		return -1;
	if (def->has_uuid && memcmp(def->uuid, vm->def.uuid, sizeof(def->uuid)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "leave <uuid> out to keep the one it has",
				 "the uuid of %s cannot be changed", def->name);
	memcpy(def->uuid, vm->def.uuid, sizeof(def->uuid));
	def->has_uuid = true;
	if (rewrite(d, def, f))
		return -1;
	vmc_clear(&vm->def);
	vm->def = *def;
	vmc_init(def);
	event_add(d, SEV_INFO, "vm.defined", vm->def.name, user, "definition changed");
	return 0;
}

int inventory_delete(struct daemon *d, struct vm *vm, const char *user, struct fault *f)
{
	char name[CONTROL_NAME_BYTES], temp[CONTROL_NAME_BYTES + 8];

	snprintf(name, sizeof(name), "%s", vm->def.name);
	snprintf(temp, sizeof(temp), ".del%s", name);
	tree_remove(d->vms_fd, temp);
	if (renameat(d->vms_fd, name, d->vms_fd, temp) && errno != ENOENT)
		return fault_set(f, fault_code(errno), hint_disk,
				 "cannot delete the folder of %s: %s", name, strerror(errno));
	fsync(d->vms_fd);
	tree_remove(d->vms_fd, temp);
	vm_forget(vm);
	event_add(d, SEV_INFO, "vm.deleted", name, user, "deleted");
	return 0;
}
