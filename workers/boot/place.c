/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/boot/boot.h"

#include <errno.h>
#include <string.h>

#define PAGE_MASK 4095ull

/* Mebibytes, rounded up. */
static unsigned long long mib(uint64_t bytes)
{
	return (bytes >> 20) + !!(bytes & ((1u << 20) - 1));
}

int boot_put(struct boot *b, uint64_t gpa, const void *buf, size_t len)
{
	if (guestmem_write(b->gm, gpa, buf, len) < 0)
		return boot_fail(b, EFAULT, "there is no RAM at %#llx for the boot information",
				 (unsigned long long)gpa);
	return 0;
}

int boot_put_cmdline(struct boot *b)
{
	return boot_put(b, BOOT_CMDLINE, b->config->cmdline,
			strnlen(b->config->cmdline, sizeof(b->config->cmdline) - 1) + 1);
}

static bool overlaps(uint64_t base, uint64_t bytes, uint64_t from, uint64_t to)
{
	return bytes && base < to && base + bytes > from;
}

int boot_check_range(struct boot *b, const char *who, uint64_t base, uint64_t bytes)
{
	uint64_t ram = b->gm->low_size;

	if (base > ram || bytes > ram - base)
		return boot_fail(b, ENOMEM,
				 "%s needs %llu MiB at address %#llx, but the VM's RAM below 4 GiB "
				 "ends at %llu MiB; give it more memory",
				 who, mib(bytes), (unsigned long long)base, mib(ram));
	if (overlaps(base, bytes, 0, 0x1000) ||
	    overlaps(base, bytes, BOOT_INFO_BASE, BOOT_INFO_END) ||
	    overlaps(base, bytes, EBDA_BASE, TABLES_END))
		return boot_fail(
			b, EINVAL,
			"%s wants address %#llx, where boot information or firmware tables "
			"lie; link it at 1 MiB or higher",
			who, (unsigned long long)base);
	return 0;
}

static int no_room(struct boot *b, unsigned n, uint64_t bottom, uint64_t top)
{
	const struct boot_image *m = &b->module[n];

	return boot_fail(b, ENOMEM,
			 "the %s of %llu MiB does not fit between the kernel's end at %llu MiB and "
			 "%llu MiB; give the VM more memory or a smaller %s",
			 m->what, mib(m->bytes), mib(bottom), mib(top), m->what);
}

static int put_module(struct boot *b, unsigned n, uint64_t at)
{
	b->module_at[n] = (struct boot_range){at, b->module[n].bytes};
	return boot_read_guest(b, &b->module[n], 0, at, b->module[n].bytes);
}

int boot_put_module_high(struct boot *b, unsigned n, uint64_t bottom, uint64_t top)
{
	uint64_t bytes = b->module[n].bytes, at;

	if (top > b->gm->low_size)
		top = b->gm->low_size;
	if (bytes > top)
		return no_room(b, n, bottom, top);
	at = (top - bytes) & ~PAGE_MASK;
	return at < bottom ? no_room(b, n, bottom, top) : put_module(b, n, at);
}

int boot_put_module_low(struct boot *b, unsigned n, uint64_t bottom, uint64_t top)
{
	uint64_t bytes = b->module[n].bytes, at = (bottom + PAGE_MASK) & ~PAGE_MASK;

	if (top > b->gm->low_size)
		top = b->gm->low_size;
	if (at > top || bytes > top - at)
		return no_room(b, n, bottom, top);
	return put_module(b, n, at);
}
