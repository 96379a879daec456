/* SPDX-License-Identifier: Apache-2.0
 *
 * PVH: an ELF kernel whose note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry point. EBX holds the
 * address of struct hvm_start_info (Xen, public/arch-x86/hvm/start_info.h).
 */
#include "workers/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

enum { NOTE_PHYS32_ENTRY = 18, START_MAGIC = 0x336ec578, START_VERSION = 1 };

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "start_info.h, version 1");
struct start_module {
	uint64_t address, bytes, cmdline, reserved;
};
struct start_memmap {
	uint64_t address, bytes;
	uint32_t type, reserved;
};

enum { LIST_MEMMAP = BOOT_LISTS, LIST_MODULES = BOOT_LISTS + 0x400 };
_Static_assert(MEMMAP_MAX * sizeof(struct start_memmap) <= 0x400, "lists do not overlap");
_Static_assert(CONTROL_MAX_MODULES * sizeof(struct start_module) <= 0xc00, "nor the page tables");

/* Looks for the note in size bytes of notes. Sizes in them are 32 bits and hostile; each note and
 * its name are padded to 4 bytes. */
static bool find_note(const uint8_t *notes, uint64_t size, uint32_t *entry)
{
	while (size >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;
		uint64_t name, desc;

		memcpy(&h, notes, sizeof(h));
		name = ((uint64_t)h.n_namesz + 3) & ~3ull;
		desc = ((uint64_t)h.n_descsz + 3) & ~3ull;
		notes += sizeof(h);
		size -= sizeof(h);
		if (name > size || desc > size - name)
			return false;
		if (h.n_type == NOTE_PHYS32_ENTRY && h.n_namesz == 4 && !memcmp(notes, "Xen", 4) &&
		    h.n_descsz >= 4) {
			memcpy(entry, notes + name, sizeof(*entry));
			return true;
		}
		notes += name + desc;
		size -= name + desc;
	}
	return false;
}

static int find_entry(struct boot *b, const struct elf_image *elf, uint32_t *entry)
{
	static uint8_t notes[ELF_NOTES_BYTES];

	for (unsigned i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];
		uint64_t bytes = s->file_bytes < sizeof(notes) ? s->file_bytes : sizeof(notes);
		int err;

		if (s->type != PT_NOTE)
			continue;
		err = boot_read(b, &b->kernel, s->offset, notes, bytes);
		if (err)
			return err;
		if (find_note(notes, bytes, entry))
			return 0;
	}
	return boot_fail(b, ENOEXEC,
			 "the ELF kernel has no PVH entry note; build Linux with "
			 "CONFIG_PVH=y, or use its bzImage");
}

static int put_start_info(struct boot *b)
{
	struct start_memmap map[MEMMAP_MAX] = {0};
	struct start_module modules[CONTROL_MAX_MODULES] = {0};
	struct start_info info = {
		.magic = START_MAGIC,
		.version = START_VERSION,
		.modules = b->modules,
		.module_list = b->modules ? LIST_MODULES : 0,
		.cmdline = BOOT_CMDLINE,
		.rsdp = b->rsdp,
		.memmap = LIST_MEMMAP,
		.memmap_entries = b->map.count,
	};
	int err;

	for (unsigned i = 0; i < b->map.count; i++)
		map[i] = (struct start_memmap){b->map.entry[i].base, b->map.entry[i].bytes,
					       b->map.entry[i].type, 0};
	for (unsigned i = 0; i < b->modules; i++)
		modules[i] =
			(struct start_module){b->module_at[i].base, b->module_at[i].bytes, 0, 0};
	err = boot_put(b, LIST_MEMMAP, map, sizeof(map));
	if (!err)
		err = boot_put(b, LIST_MODULES, modules, sizeof(modules));
	return err ? err : boot_put(b, BOOT_PARAMS, &info, sizeof(info));
}

int pvh_load(struct boot *b, const struct boot_head *head)
{
	static struct elf_image elf;
	uint64_t top = b->gm->low_size;
	uint32_t entry = 0;
	int err = elf_read(b, &elf, head);

	if (!err)
		err = find_entry(b, &elf, &entry);
	if (!err)
		err = elf_load_segments(b, &elf);
	if (!err && !elf_in_segment(&elf, entry))
		err = boot_fail(b, ENOEXEC,
				"the ELF kernel is damaged: its PVH entry %#x is in none "
				"of its segments",
				entry);
	for (unsigned i = 0; i < b->modules && !err; i++) {
		err = boot_put_module_high(b, i, elf.high, top);
		top = b->module_at[i].base;
	}
	if (!err)
		err = boot_put_cmdline(b);
	if (!err)
		err = put_start_info(b);
	if (!err)
		err = boot_cpu_flat32(b, entry);
	b->state.gpr[3] = BOOT_PARAMS; /* EBX */
	return err;
}
