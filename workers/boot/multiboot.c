/* SPDX-License-Identifier: Apache-2.0
 *
 * Multiboot 1: a 32-bit ELF kernel, or any file whose header names its load addresses (the
 * "a.out kludge").
 */
#include "workers/boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_MAGIC = 0x1badb002, BOOT_MAGIC = 0x2badb002, HEADER_BYTES = 12, ADDRESS_BYTES = 20 };
enum {
	FLAG_PAGE_ALIGN = 1,
	FLAG_MEMORY = 2,
	FLAG_VIDEO = 4,
	FLAG_ADDRESSES = 0x10000,
	/* Bits 0 to 15 are demands: what we do not know we must refuse. A video mode is a wish. */
	FLAGS_UNKNOWN = 0xffff & ~(FLAG_PAGE_ALIGN | FLAG_MEMORY | FLAG_VIDEO),
};
enum { INFO_MEMORY = 1, INFO_CMDLINE = 4, INFO_MODULES = 8, INFO_MEMMAP = 0x40, INFO_NAME = 0x200 };

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, modules, module_list,
		symbols[4], memmap_bytes, memmap, drives_bytes, drives, config, name, apm, vbe[4];
};
_Static_assert(sizeof(struct info) == 88, "specification, section 3.3");
struct module {
	uint32_t start, end, string, reserved;
};
struct __attribute__((packed)) mb_memmap {
	uint32_t bytes_after; /* this field itself not counted */
	uint64_t base, length;
	uint32_t type;
};

enum {
	LIST_MEMMAP = BOOT_LISTS,
	LIST_MODULES = BOOT_LISTS + 0x400,
	LIST_NAME = BOOT_LISTS + 0x800
};

struct addresses {
	uint32_t header, load, load_end, bss_end, entry;
};

/* Offset of the header, which is 4-byte aligned within the first 8 KiB; -1 if there is none. */
static int find_header(const struct boot_head *head, uint32_t *flags)
{
	for (uint32_t at = 0; at + HEADER_BYTES <= head->count; at += 4) {
		uint32_t word[3];

		memcpy(word, head->bytes + at, sizeof(word));
		if (word[0] == HEADER_MAGIC && word[0] + word[1] + word[2] == 0) {
			*flags = word[1];
			return (int)at;
		}
	}
	return -1;
}

bool multiboot_is(const struct boot_head *head)
{
	uint32_t flags;

	return find_header(head, &flags) >= 0;
}

static int load_by_addresses(struct boot *b, const struct boot_head *head, uint32_t at,
			     uint32_t *entry, uint64_t *end)
{
	struct addresses a;
	uint64_t offset, bytes;
	int err;

	if (head->count - at < HEADER_BYTES + ADDRESS_BYTES)
		return boot_fail(b, ENODATA,
				 "the kernel file is truncated: it ends inside the "
				 "multiboot header; copy it again");
	memcpy(&a, head->bytes + at + HEADER_BYTES, sizeof(a));
	if (a.load > a.header || a.header - a.load > at)
		return boot_fail(b, ENOEXEC,
				 "the multiboot header's addresses are wrong: the load "
				 "address %#x does not suit the header at %#x",
				 a.load, a.header);
	offset = at - (a.header - a.load);
	bytes = a.load_end ? (uint64_t)a.load_end - a.load : b->kernel.bytes - offset;
	if (a.load_end && a.load_end < a.load)
		return boot_fail(b, ENOEXEC,
				 "the multiboot header's load end lies before its start");
	*end = a.load + bytes;
	if (a.bss_end > *end)
		*end = a.bss_end;
	if (a.entry < a.load || a.entry >= a.load + bytes)
		return boot_fail(b, ENOEXEC,
				 "the multiboot header's entry %#x lies outside of what "
				 "is loaded",
				 a.entry);
	*entry = a.entry;
	err = boot_check_range(b, "the kernel", a.load, *end - a.load);
	return err ? err : boot_read_guest(b, &b->kernel, offset, a.load, bytes);
}

static int load_elf(struct boot *b, const struct boot_head *head, uint32_t *entry, uint64_t *end)
{
	static struct elf_image elf;
	int err;

	if (!elf_is(head))
		return boot_fail(b, ENOEXEC,
				 "the multiboot kernel is no ELF file and its header "
				 "names no load addresses");
	err = elf_read(b, &elf, head);
	if (!err && elf.bits != 32)
		err = boot_fail(b, ENOEXEC,
				"the multiboot kernel is a 64-bit ELF file; multiboot 1 "
				"defines only 32-bit ones");
	if (!err)
		err = elf_load_segments(b, &elf);
	if (!err && !elf_in_segment(&elf, elf.entry))
		err = boot_fail(b, ENOEXEC,
				"the multiboot kernel's entry %#llx is in none of its "
				"segments",
				(unsigned long long)elf.entry);
	*entry = (uint32_t)elf.entry;
	*end = elf.high;
	return err;
}

static int put_info(struct boot *b)
{
	static const char name[] = "Bulkhead";
	struct mb_memmap map[MEMMAP_MAX] = {0};
	struct module modules[CONTROL_MAX_MODULES] = {0};
	struct info info = {
		.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MEMMAP | INFO_NAME,
		.mem_lower = EBDA_BASE >> 10,
		.mem_upper = (uint32_t)((b->gm->low_size - TABLES_END) >> 10),
		.cmdline = BOOT_CMDLINE,
		.modules = b->modules,
		.module_list = LIST_MODULES,
		.memmap_bytes = b->map.count * sizeof(map[0]),
		.memmap = LIST_MEMMAP,
		.name = LIST_NAME,
	};
	int err;

	for (unsigned i = 0; i < b->map.count; i++)
		map[i] = (struct mb_memmap){sizeof(map[0]) - 4, b->map.entry[i].base,
					    b->map.entry[i].bytes, b->map.entry[i].type};
	for (unsigned i = 0; i < b->modules; i++) {
		uint32_t start = (uint32_t)b->module_at[i].base;

		/* The string, here empty, is the name's final NUL. */
		modules[i] = (struct module){start, start + (uint32_t)b->module_at[i].bytes,
					     LIST_NAME + sizeof(name) - 1, 0};
	}
	err = boot_put(b, LIST_MEMMAP, map, sizeof(map));
	if (!err)
		err = boot_put(b, LIST_MODULES, modules, sizeof(modules));
	if (!err)
		err = boot_put(b, LIST_NAME, name, sizeof(name));
	return err ? err : boot_put(b, BOOT_PARAMS, &info, sizeof(info));
}

int multiboot_load(struct boot *b, const struct boot_head *head)
{
	uint32_t flags = 0, entry = 0;
	uint64_t end = 0;
	int at = find_header(head, &flags), err;

	if (flags & FLAGS_UNKNOWN)
		return boot_fail(b, ENOTSUP,
				 "the multiboot kernel demands features %#x, which this "
				 "loader does not have",
				 flags & FLAGS_UNKNOWN);
	err = flags & FLAG_ADDRESSES ? load_by_addresses(b, head, (uint32_t)at, &entry, &end)
				     : load_elf(b, head, &entry, &end);
	if (end < TABLES_END)
		end = TABLES_END;
	for (unsigned i = 0; i < b->modules && !err; i++) {
		err = boot_put_module_low(b, i, end, b->gm->low_size);
		end = b->module_at[i].base + b->module_at[i].bytes;
	}
	if (!err)
		err = boot_put_cmdline(b);
	if (!err)
		err = put_info(b);
	if (!err)
		err = boot_cpu_flat32(b, entry);
	b->state.gpr[0] = BOOT_MAGIC;  /* EAX */
	b->state.gpr[3] = BOOT_PARAMS; /* EBX */
	return err;
}
