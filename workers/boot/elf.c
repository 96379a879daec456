/* SPDX-License-Identifier: Apache-2.0
 *
 * ELF headers and segments. All checks are made on the private copy of the program headers, and
 * before the first byte goes to guest memory.
 */
#include "workers/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

bool elf_is(const struct boot_head *head)
{
	return head->count >= EI_NIDENT && !memcmp(head->bytes, ELFMAG, SELFMAG);
}

static int bad(struct boot *b, const char *what)
{
	return boot_fail(b, ENOEXEC, "the ELF kernel is damaged or not for a PC: %s", what);
}

static int read_phdrs(struct boot *b, struct elf_image *elf, uint64_t offset, unsigned entry_bytes,
		      unsigned count)
{
	union {
		Elf32_Phdr p32[ELF_MAX_SEGMENTS];
		Elf64_Phdr p64[ELF_MAX_SEGMENTS];
	} u;
	size_t one = elf->bits == 64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	int err;

	if (entry_bytes != one)
		return bad(b, "its program headers have an unknown size");
	if (!count || count > ELF_MAX_SEGMENTS)
		return bad(b, "it has no program headers, or more than 64");
	err = boot_read(b, &b->kernel, offset, &u, one * count);
	if (err)
		return err;
	elf->count = count;
	for (unsigned i = 0; i < count; i++) {
		if (elf->bits == 64)
			elf->segment[i] = (struct elf_segment){u.p64[i].p_type, u.p64[i].p_offset,
							       u.p64[i].p_paddr, u.p64[i].p_filesz,
							       u.p64[i].p_memsz};
		else
			elf->segment[i] = (struct elf_segment){u.p32[i].p_type, u.p32[i].p_offset,
							       u.p32[i].p_paddr, u.p32[i].p_filesz,
							       u.p32[i].p_memsz};
	}
	return 0;
}

int elf_read(struct boot *b, struct elf_image *elf, const struct boot_head *head)
{
	Elf64_Ehdr h64;
	Elf32_Ehdr h32;

	memset(elf, 0, sizeof(*elf));
	if (head->bytes[EI_DATA] != ELFDATA2LSB || head->bytes[EI_VERSION] != EV_CURRENT)
		return bad(b, "its byte order or version is not that of x86");
	if (head->bytes[EI_CLASS] == ELFCLASS64) {
		if (head->count < sizeof(h64))
			return bad(b, "it ends inside its header");
		memcpy(&h64, head->bytes, sizeof(h64));
		if (h64.e_machine != EM_X86_64 || h64.e_type != ET_EXEC)
			return bad(b, "it is no x86-64 executable");
		elf->bits = 64;
		elf->entry = h64.e_entry;
		return read_phdrs(b, elf, h64.e_phoff, h64.e_phentsize, h64.e_phnum);
	}
	if (head->bytes[EI_CLASS] != ELFCLASS32)
		return bad(b, "it is neither 32-bit nor 64-bit");
	if (head->count < sizeof(h32))
		return bad(b, "it ends inside its header");
	memcpy(&h32, head->bytes, sizeof(h32));
	if (h32.e_machine != EM_386 || h32.e_type != ET_EXEC)
		return bad(b, "it is no x86 executable");
	elf->bits = 32;
	elf->entry = h32.e_entry;
	return read_phdrs(b, elf, h32.e_phoff, h32.e_phentsize, h32.e_phnum);
}

static bool loadable(const struct elf_segment *s)
{
	return s->type == PT_LOAD && s->memory_bytes;
}

static int check_segment(struct boot *b, const struct elf_image *elf, unsigned n)
{
	const struct elf_segment *s = &elf->segment[n];
	int err;

	if (s->file_bytes > s->memory_bytes)
		return bad(b, "a segment has more bytes in the file than in memory");
	if (s->offset > b->kernel.bytes || s->file_bytes > b->kernel.bytes - s->offset)
		return boot_fail(
			b, ENODATA,
			"the kernel file is truncated: a segment ends beyond its %llu bytes; "
			"copy it again",
			(unsigned long long)b->kernel.bytes);
	err = boot_check_range(b, "the kernel", s->address, s->memory_bytes);
	if (err)
		return err;
	for (unsigned i = 0; i < n; i++) {
		const struct elf_segment *o = &elf->segment[i];

		if (loadable(o) && s->address < o->address + o->memory_bytes &&
		    o->address < s->address + s->memory_bytes)
			return bad(b, "two of its segments overlap in memory");
	}
	return 0;
}

int elf_load_segments(struct boot *b, struct elf_image *elf)
{
	int err = 0;

	for (unsigned i = 0; i < elf->count && !err; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (!loadable(s))
			continue;
		err = check_segment(b, elf, i);
		if (!err && s->address + s->memory_bytes > elf->high)
			elf->high = s->address + s->memory_bytes;
	}
	if (!err && !elf->high)
		return bad(b, "it has no segment to load");
	/* RAM is zero where the file has no bytes for it. */
	for (unsigned i = 0; i < elf->count && !err; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (loadable(s) && s->file_bytes)
			err = boot_read_guest(b, &b->kernel, s->offset, s->address, s->file_bytes);
	}
	return err;
}

bool elf_in_segment(const struct elf_image *elf, uint64_t address)
{
	for (unsigned i = 0; i < elf->count; i++)
		if (loadable(&elf->segment[i]) && address >= elf->segment[i].address &&
		    address - elf->segment[i].address < elf->segment[i].memory_bytes)
			return true;
	return false;
}
