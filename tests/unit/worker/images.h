/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel files made by the tests, and a machine to load them into.
 */
#ifndef BULKHEAD_TESTS_WORKER_IMAGES_H
#define BULKHEAD_TESTS_WORKER_IMAGES_H

#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "workers/boot/boot.h"

#define MIB (1ull << 20)

struct machine {
	struct guestmem gm;
	struct vm_config config;
	struct boot b;
};

static inline int file_of(const void *bytes, size_t count)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, count, 0), count);
	return fd;
}

static inline void machine_init(struct machine *m, uint64_t ram)
{
	int ram_fd, gen_fd;

	memset(m, 0, sizeof(*m));
	ck_assert_int_eq(guestmem_create(ram, &ram_fd, &gen_fd), 0);
	ck_assert_int_eq(guestmem_map(&m->gm, ram_fd, gen_fd, ram), 0);
	close(ram_fd);
	close(gen_fd);
	m->config = (struct vm_config){.id = 1,
				       .ram_bytes = ram,
				       .vcpus = 2,
				       .serials = 1,
				       .name = "test",
				       .cmdline = "a=1 b"};
	m->b.gm = &m->gm;
	m->b.config = &m->config;
	m->b.kernel.fd = -1;
}

static inline void machine_free(struct machine *m)
{
	if (m->b.kernel.fd >= 0)
		close(m->b.kernel.fd);
	for (unsigned i = 0; i < m->b.modules; i++)
		close(m->b.module[i].fd);
	guestmem_unmap(&m->gm);
}

static inline void machine_kernel(struct machine *m, const void *bytes, size_t count)
{
	if (m->b.kernel.fd >= 0)
		close(m->b.kernel.fd);
	ck_assert_int_eq(boot_image_open(&m->b.kernel, file_of(bytes, count), "kernel"), 0);
}

static inline void machine_module(struct machine *m, const void *bytes, size_t count)
{
	unsigned n = m->b.modules++;

	ck_assert_int_eq(
		boot_image_open(&m->b.module[n], file_of(bytes, count), n ? "module" : "initrd"),
		0);
}

/* Guest memory, which must be RAM. */
static inline void *at(struct machine *m, uint64_t gpa, uint64_t len)
{
	void *p = guestmem_ptr(&m->gm, gpa, len);

	ck_assert_msg(p != NULL, "%#llx is no RAM", (unsigned long long)gpa);
	return p;
}

static inline void loads(struct machine *m)
{
	int err = boot_load(&m->b);

	ck_assert_msg(err == 0, "%d: %s", err, m->b.why);
}

/* Refused, with that error and a sentence that has these words. */
static inline void refused(struct machine *m, int error, const char *words)
{
	int err = boot_load(&m->b);

	ck_assert_msg(err == -error, "%d instead of %d: %s", err, -error, m->b.why);
	ck_assert_msg(strstr(m->b.why, words) != NULL, "no \"%s\" in: %s", words, m->b.why);
}

/* A small Linux bzImage: what boot.rst says of header fields, then a payload of counting bytes. */
enum { BZ_SECTS = 3, BZ_PAYLOAD = 8192, BZ_BYTES = (BZ_SECTS + 1) * 512 + BZ_PAYLOAD };

static inline void put(uint8_t *image, unsigned offset, unsigned bytes, uint64_t value)
{
	memcpy(image + offset, &value, bytes);
}

static inline void bz_make(uint8_t *k)
{
	memset(k, 0, BZ_BYTES);
	put(k, 0x1f1, 1, BZ_SECTS);
	put(k, 0x1f4, 4, BZ_PAYLOAD / 16);
	put(k, 0x1fe, 2, 0xaa55);
	put(k, 0x200, 2, 0x6aeb); /* jmp +6a: the header ends at 26c */
	memcpy(k + 0x202, "HdrS", 4);
	put(k, 0x206, 2, 0x20f);
	put(k, 0x211, 1, 0x01); /* LOADED_HIGH */
	put(k, 0x214, 4, 0x100000);
	put(k, 0x22c, 4, 0x7fffffff); /* initrd_addr_max */
	put(k, 0x230, 4, 0x200000);
	put(k, 0x234, 1, 1);
	put(k, 0x236, 2, 0x3f); /* XLF_KERNEL_64 and friends */
	put(k, 0x238, 4, 2047);
	put(k, 0x258, 8, 0x1000000); /* pref_address 16 MiB */
	put(k, 0x260, 4, 0x400000);  /* init_size 4 MiB */
	for (unsigned i = 0; i < BZ_PAYLOAD; i++)
		k[(BZ_SECTS + 1) * 512 + i] = (uint8_t)(i * 7 + 1);
}

/* A small ELF64 kernel: a note with the PVH entry, text at 2 MiB, data with bss at 3 MiB. */
struct pvh_image {
	Elf64_Ehdr h;
	Elf64_Phdr p[3];
	Elf64_Nhdr n;
	char name[4];
	uint64_t entry;
	uint8_t text[256], data[256];
};
enum { PVH_TEXT = 0x200000, PVH_DATA = 0x300000, PVH_BSS = 0x5000, PVH_ENTRY = PVH_TEXT + 16 };

static inline void pvh_make(struct pvh_image *k)
{
	*k = (struct pvh_image){.h = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
						  ELFDATA2LSB, EV_CURRENT},
				      .e_type = ET_EXEC,
				      .e_machine = EM_X86_64,
				      .e_version = EV_CURRENT,
				      .e_entry = 0xffffffff81000000,
				      .e_phoff = offsetof(struct pvh_image, p),
				      .e_ehsize = sizeof(Elf64_Ehdr),
				      .e_phentsize = sizeof(Elf64_Phdr),
				      .e_phnum = 3},
				.p = {{.p_type = PT_NOTE,
				       .p_offset = offsetof(struct pvh_image, n),
				       .p_filesz = 12 + 4 + 8,
				       .p_memsz = 24},
				      {.p_type = PT_LOAD,
				       .p_offset = offsetof(struct pvh_image, text),
				       .p_vaddr = 0xffffffff81000000,
				       .p_paddr = PVH_TEXT,
				       .p_filesz = 256,
				       .p_memsz = 256},
				      {.p_type = PT_LOAD,
				       .p_offset = offsetof(struct pvh_image, data),
				       .p_paddr = PVH_DATA,
				       .p_filesz = 256,
				       .p_memsz = PVH_BSS}},
				.n = {4, 8, 18},
				.name = "Xen",
				.entry = PVH_ENTRY};
	memset(k->text, 0x90, sizeof(k->text));
	memset(k->data, 0xdd, sizeof(k->data));
}

/* A small multiboot kernel as ELF32, its header in the text. */
struct mb_image {
	Elf32_Ehdr h;
	Elf32_Phdr p[2];
	uint32_t magic, flags, checksum, header_addr, load_addr, load_end, bss_end, entry;
	uint8_t text[256], data[64];
};
enum { MB_TEXT = 0x100000, MB_DATA = 0x180000, MB_BSS = 0x1234 };

static inline void mb_flags(struct mb_image *k, uint32_t flags)
{
	k->flags = flags;
	k->checksum = -(k->magic + flags);
}

static inline void mb_make(struct mb_image *k)
{
	*k = (struct mb_image){.h = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32,
						 ELFDATA2LSB, EV_CURRENT},
				     .e_type = ET_EXEC,
				     .e_machine = EM_386,
				     .e_version = EV_CURRENT,
				     .e_entry = MB_TEXT + 8,
				     .e_phoff = offsetof(struct mb_image, p),
				     .e_ehsize = sizeof(Elf32_Ehdr),
				     .e_phentsize = sizeof(Elf32_Phdr),
				     .e_phnum = 2},
			       .p = {{.p_type = PT_LOAD,
				      .p_offset = offsetof(struct mb_image, text),
				      .p_paddr = MB_TEXT,
				      .p_filesz = 256,
				      .p_memsz = 256},
				     {.p_type = PT_LOAD,
				      .p_offset = offsetof(struct mb_image, data),
				      .p_paddr = MB_DATA,
				      .p_filesz = 64,
				      .p_memsz = MB_BSS}},
			       .magic = 0x1badb002};
	mb_flags(k, 3);
	memset(k->text, 0x77, sizeof(k->text));
	memset(k->data, 0xdd, sizeof(k->data));
}

#endif
