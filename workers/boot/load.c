/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/boot/boot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int boot_fail(struct boot *b, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->why, sizeof(b->why), fmt, ap);
	va_end(ap);
	return -error;
}

static int load_kernel(struct boot *b, const struct boot_head *head)
{
	if (bzimage_is(head)) {
		strcpy(b->kind, "Linux bzImage");
		return bzimage_load(b, head);
	}
	if (multiboot_is(head)) {
		strcpy(b->kind, "multiboot kernel");
		return multiboot_load(b, head);
	}
	if (elf_is(head)) {
		strcpy(b->kind, "ELF kernel (PVH)");
		return pvh_load(b, head);
	}
	return boot_fail(
		b, ENOEXEC,
		"the kernel file is none: neither a Linux bzImage, nor an ELF kernel with a "
		"PVH note, nor a multiboot kernel; check the path in the machine's definition");
}

int boot_load(struct boot *b)
{
	static struct boot_head head;
	int err;

	memset(b->module_at, 0, sizeof(b->module_at));
	memset(&b->state, 0, sizeof(b->state));
	b->why[0] = b->kind[0] = '\0';
	head.count = b->kernel.bytes < sizeof(head.bytes) ? (uint32_t)b->kernel.bytes
							  : sizeof(head.bytes);
	err = boot_read(b, &b->kernel, 0, head.bytes, head.count);
	if (err)
		return err;
	memmap_build(&b->map, b->gm);
	err = tables_build(b->gm, b->config, &b->rsdp);
	if (err)
		return boot_fail(b, -err, "the firmware tables do not fit their place");
	return load_kernel(b, &head);
}
