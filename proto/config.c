/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine's configuration and its disks: checked here, for every message that has them.
 */
#include <errno.h>
#include <string.h>

#include "proto/control_internal.h"

/* The name is also that of the VM's folder. */
static bool name_ok(const char *name, const struct why *why)
{
	if (!text_ok("name", name, CONTROL_NAME_BYTES, why))
		return false;
	size_t len = strlen(name);
	if (!len)
		return bad(why, "the name is empty");
	if (name[0] == '.' || name[0] == '-' || name[0] == ' ' || name[len - 1] == ' ')
		return bad(why, "the name may not begin with '.', '-' or a space, "
				"nor end with a space");
	if (strchr(name, '/'))
		return bad(why, "the name may not have a '/' in it");
	return true;
}

bool control_config_ok(const struct vm_config *c, const struct why *why)
{
	if (c->id == 0)
		return bad(why, "id is 0");
	if (!in_range("memory (bytes)", c->ram_bytes, CONTROL_MIN_RAM, CONTROL_MAX_RAM, why))
		return false;
	if (c->ram_bytes % (1u << 20))
		return bad(why, "memory is not a multiple of 1 MiB");
	if (c->later_bytes % (1u << 20))
		return bad(why, "memory that is added later is not a multiple of 1 MiB");
	return in_range("memory that is added later (bytes)", c->later_bytes, 0,
			c->ram_bytes - CONTROL_MIN_RAM, why) &&
	       in_range("processors", c->vcpus, 1, CONTROL_MAX_VCPUS, why) &&
	       in_range("backend", c->backend, BACKEND_AUTO, BACKEND_EMU, why) &&
	       in_range("boot modules", c->modules, 0, CONTROL_MAX_MODULES, why) &&
	       in_range("job", c->job, 0, 1, why) &&
	       in_range("serial ports", c->serials, !c->job, c->job ? 0 : CONTROL_MAX_SERIAL,
			why) &&
	       in_range("exit device", c->exit_device, 0, 1, why) &&
	       in_range("disks", c->disks, 0, CONTROL_FIRST_DISKS, why) &&
	       in_range("disks that come later", c->later_disks, 0,
			c->disks ? CONTROL_MAX_DISKS - c->disks : 0, why) &&
	       in_range("controllers", c->controllers, 0, CONTROL_CONTROLLERS, why) &&
	       in_range("integration", c->integration, 0, 1, why) &&
	       in_range("sockets", c->sockets, 0, 1, why) &&
	       in_range("hibernation", c->hibernation, 0, 1, why) &&
	       in_range("restart", c->restart, 0, 1, why) && name_ok(c->name, why) &&
	       text_ok("kernel command line", c->cmdline, sizeof(c->cmdline), why);
}

int vm_config_check(const struct vm_config *c, char *why, size_t why_size)
{
	return config_ok(c, &(struct why){why, why_size}) ? 0 : -EPROTO;
}

bool control_disk_ok(const struct vm_disk *d, const struct why *why)
{
	if (!in_range("controller", d->controller, 0, CONTROL_CONTROLLERS - 1, why) ||
	    !in_range("LUN", d->lun, 0, CONTROL_LUNS - 1, why) ||
	    !in_range("disk kind", d->kind, VM_DISK, VM_DVD, why) ||
	    !in_range("read-only", d->read_only, 0, 1, why) ||
	    !in_range("disk format", d->format, VM_FORMAT_RAW, VM_FORMAT_VHDX, why) ||
	    !in_range("length of the disk's chain", d->chain, d->kind != VM_DVD, CONTROL_MAX_CHAIN,
		      why) ||
	    !text_ok("serial number", d->serial, sizeof(d->serial), why))
		return false;
	if (!in_range("shared", d->shared, 0, 1, why) ||
	    (d->bytes_per_s &&
	     !in_range("bytes a second", d->bytes_per_s, CONTROL_MIN_RATE, INT64_MAX, why)))
		return false;
	if (d->shared &&
	    (d->kind != VM_DISK || d->read_only || d->format != VM_FORMAT_RAW || d->chain != 1))
		return bad(why, "a shared disk that is not a raw image, for writing");
	if (d->kind == VM_DVD && !d->read_only)
		return bad(why, "a DVD that is not read-only");
	return true;
}

bool control_disks_ok(const struct vm_config *c, const struct vm_disk *disk, size_t *nfds,
		     const struct why *why)
{
	uint64_t taken[CONTROL_CONTROLLERS] = {0};
	size_t memory = 0; /* of reservations */
	*nfds = 0;
	for (unsigned i = 0; i < c->disks; i++) {
		const struct vm_disk *d = &disk[i];
		if (!disk_ok(d, why))
			return false;
		if (taken[d->controller] & 1ull << d->lun)
			return bad(why, "two disks at controller %u, LUN %u", d->controller,
				   d->lun);
		taken[d->controller] |= 1ull << d->lun;
		*nfds += d->chain;
		memory += d->shared;
	}
	return *nfds + memory <= CONTROL_FIRST_DISK_FDS ||
	       bad(why, "the first disks and their parents are %zu files; at most %u are possible",
		   *nfds, CONTROL_FIRST_DISK_FDS);
}

int vm_disks_check(const struct vm_config *c, const struct vm_disk *disk, size_t *nfds, char *why,
		   size_t why_size)
{
	const struct why w = {why, why_size};
	return config_ok(c, &w) && disks_ok(c, disk, nfds, &w) ? 0 : -EPROTO;
}
