/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests about the disks of a virtual machine.
 */
#include <stdlib.h>
#include <string.h>
#include "mgmtd/api.h"

static const struct {
	enum vm_disk_action action;
	const char *kind;
} actions[] = {
	[BULKHEAD__DISK_ACTION__DISK_ATTACH] = {DISK_ADD, "attach"},
	[BULKHEAD__DISK_ACTION__DISK_DETACH] = {DISK_REMOVE, "detach"},
	[BULKHEAD__DISK_ACTION__DISK_RESIZE] = {DISK_RESIZE, "resize"},
	[BULKHEAD__DISK_ACTION__DISK_LIMIT] = {DISK_LIMIT, "limit"},
	[BULKHEAD__DISK_ACTION__DISK_INSERT] = {DISK_INSERT, "insert"},
	[BULKHEAD__DISK_ACTION__DISK_EJECT] = {DISK_EJECT, "eject"},
};

static int wrong(struct api_ctx *ctx, const char *hint, const char *what)
{
	return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID, hint, "%s", what);
}

static int read_place(struct api_ctx *ctx, const Bulkhead__VmDisk *m, struct vmc_disk *d)
{
	if (m->controller >= CONTROL_CONTROLLERS || (m->has_lun && m->lun >= CONTROL_LUNS))
		return wrong(ctx, "controllers are 0 to 3, LUNs 0 to 63",
			     "no such place for a disk");
	d->controller = (uint8_t)m->controller;
	d->lun = (uint8_t)m->lun;
	d->has_lun = m->has_lun;
	return 0;
}

static int read_path(struct api_ctx *ctx, const Bulkhead__VmDisk *m, struct vmc_disk *d)
{
	bool empty = !m->path[0] && d->kind == VM_DVD;

	if ((!empty && m->path[0] != '/') || strlen(m->path) >= VMC_PATH_MAX ||
	    strpbrk(m->path, "\r\n"))
		return wrong(ctx, "write the absolute path of an image", "not a path of an image");
	d->path = strdup(m->path);
	return d->path ? 0 : wrong(ctx, NULL, "out of memory");
}

static int read_disk(struct api_ctx *ctx, const Bulkhead__VmDisk *m, struct vmc_disk *d)
{
	if (m->kind[0] && vmc_parse_disk_kind(m->kind, &d->kind))
		return wrong(ctx, NULL, "the kind is neither disk nor dvd");
	if (m->format[0] && vmc_parse_disk_format(m->format, &d->format))
		return wrong(ctx, NULL, "the format is not raw, vhd or vhdx");
	d->has_format = m->format[0];
	d->read_only = m->read_only;
	d->shared = m->shared;
	return read_path(ctx, m, d);
}

static int read_change(struct api_ctx *ctx, struct disk_change *c)
{
	const Bulkhead__VmDiskRequest *r = ctx->request->vm_disk;
	const Bulkhead__VmDisk *m = r->disk;

	if (!m)
		return wrong(ctx, NULL, "which disk?");
	if (read_place(ctx, m, &c->disk))
		return -1;
	c->disk.iops = m->iops;
	c->disk.bytes_per_s = m->bytes_per_s;
	c->set_iops = r->set_iops;
	c->set_rate = r->set_bytes_per_s;
	c->force = r->force;
	if (c->action == DISK_ADD)
		return read_disk(ctx, m, &c->disk);
	if (c->action == DISK_RESIZE)
		c->bytes = r->bytes;
	if (c->action == DISK_RESIZE && (c->bytes < 512 || c->bytes > INT64_MAX))
		return wrong(ctx, NULL, "not a possible size");
	if (!m->has_lun)
		return wrong(ctx, NULL, "which LUN?");
	return c->action == DISK_INSERT ? read_path(ctx, m, &c->disk) : 0;
}

enum verdict on_vm_disk(struct api_ctx *ctx)
{
	const Bulkhead__VmDiskRequest *r = ctx->request->vm_disk;
	struct vm *vm = api_find_vm(ctx, r->vm);
	unsigned action = (unsigned)r->action;
	struct disk_change c = {0};
	struct job *job;

	if (!vm)
		return FAIL;
	if (action >= sizeof(actions) / sizeof(actions[0]) || !actions[action].kind)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
				 "an action that this server does not know"),
		       FAIL;
	c.action = actions[action].action;
	if (read_change(ctx, &c))
		return FAIL;
	job = job_new(ctx->d, actions[action].kind, vm->def.name, ctx->who->user);
	if (!job) {
		free(c.disk.path);
		return wrong(ctx, NULL, "out of memory"), FAIL;
	}
	if (vm_disk_change(vm, &c, job, ctx->who->user, &ctx->fault)) {
		job_drop(ctx->d, job);
		return FAIL;
	}
	return api_wait_for_job(ctx, job, r->wait_ms);
}
