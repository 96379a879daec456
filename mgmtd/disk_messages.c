/* SPDX-License-Identifier: Apache-2.0
 *
 * What a storage process gets of its machine's disks. The message that has it started, VM_CREATE or
 * VM_RESTART, takes as many as it and a message's descriptors have room for; the others follow one by
 * one before the process runs, by the message that also attaches a disk: so the broker, which holds
 * all privileges, has one message of fixed size to check and keeps nothing between two of them, and
 * start and restart are alike.
 */
#include "mgmtd/vm_disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "proto/api.pb-c.h"

uint64_t path_hash(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (const char *c = path; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
	return hash;
}

/* A shared disk has the same serial number in every machine: by its path. */
static void fill_serial(const struct vmc_disk *d, struct vm_disk *m)
{
	snprintf(m->serial, sizeof(m->serial), "shared-%016llx",
		 (unsigned long long)path_hash(d->path));
}

static void describe(const struct vm *vm, const struct slot *s, struct vm_disk *disk)
{
	*disk = (struct vm_disk){
		.controller = s->disk.controller,
		.lun = s->disk.lun,
		.kind = s->disk.kind,
		.read_only = s->disk.read_only,
		.format = s->disk.format,
		.chain = (uint8_t)s->chain.count,
		.shared = s->disk.shared,
		.low_space = (uint16_t)vm->d->settings.low_space_mib,
		.iops = s->disk.iops,
		.bytes_per_s = s->disk.bytes_per_s,
	};
	if (s->disk.shared)
		fill_serial(&s->disk, disk);
}

static unsigned fds_of(const struct slot *s, int *fds)
{
	for (unsigned n = 0; n < s->chain.count; n++)
		fds[n] = s->chain.image[n]->fd;
	return s->chain.count;
}

/* Those that are shared or not, as long as there is room. */
static void take(struct vm *vm, bool shared, unsigned *memory, struct first_disks *first)
{
	for (unsigned i = 0; i < CONTROL_MAX_DISKS && first->count < CONTROL_FIRST_DISKS; i++) {
		struct slot *s = &vm->disks->slot[i];

		if (!s->used || s->disk.shared != shared ||
		    first->nfds + *memory + s->chain.count + shared > CONTROL_FIRST_DISK_FDS)
			continue;
		s->sent = true;
		describe(vm, s, &first->disk[first->count++]);
		first->nfds += fds_of(s, first->fds + first->nfds);
		*memory += shared;
	}
}

void vm_disks_first(struct vm *vm, struct first_disks *first)
{
	unsigned memory = 0;

	memset(first, 0, sizeof(*first));
	if (!vm->disks)
		return;
	take(vm, true, &memory, first); /* the broker adds the memory of their reservations */
	take(vm, false, &memory, first);
	first->later = vm_disks_left(vm);
}

unsigned vm_disks_left(const struct vm *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; vm->disks && i < CONTROL_MAX_DISKS; i++)
		n += vm->disks->slot[i].used && !vm->disks->slot[i].sent;
	return n;
}

int vm_disks_send_next(struct vm *vm, struct fault *f)
{
	int fd[CONTROL_MAX_CHAIN], unit = vm->run.unit[ROLE_STORAGE].fd, rc;
	struct msg_unit_disk m = {.action = DISK_PRESENT};
	struct slot *s = vm->disks->slot;
	unsigned n;

	while (!s->used || s->sent) /* vm_disks_left() has said that there is one */
		s++;
	describe(vm, s, &m.disk);
	n = fds_of(s, fd);
	s->sent = true;
	control_header(&m.h, MSG_UNIT_DISK, vm->cookie);
	rc = unit < 0 ? -EPIPE : msgsock_send(unit, &m.h, fd, n);
	vm_disks_given(vm);
	if (rc)
		return fault_set(f, fault_code(rc), NULL, "the storage of %s takes no messages: %s",
				 vm->def.name, strerror(-rc));
	return 0;
}

unsigned vm_disks_one(const struct vm *vm, unsigned controller, unsigned lun, struct vm_disk *disk,
		      int *fds)
{
	struct slot *s = vm_disks_find(vm, controller, lun);

	if (!s)
		return 0;
	s->sent = true;
	describe(vm, s, disk);
	return fds_of(s, fds);
}

void vm_disks_given(struct vm *vm)
{
	for (unsigned i = 0; vm->disks && i < CONTROL_MAX_DISKS; i++) {
		const struct slot *s = &vm->disks->slot[i];

		for (unsigned k = 0; s->sent && k < s->chain.count; k++)
			image_give_away(s->chain.image[k]);
	}
}
