/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaders: from the kernel and module files to guest memory and the boot vCPU's state. The files
 * are hostile: a size or offset in them is used only after it has been checked against the file and
 * RAM. The files can also change while we read: headers are read once, into private memory.
 *
 *   load.c       which kind of kernel it is; the whole of UNIT_LOAD
 *   image.c      checked reads of a file, into private or guest memory
 *   cpu.c        GDT, page tables and register state
 *   place.c      where modules and the command line go
 *   bzimage.c    Linux boot protocol 2.06 and later (Documentation/arch/x86/boot.rst)
 *   elf.c        ELF segments
 *   pvh.c        the PVH entry of an ELF kernel (Xen docs/misc/pvh.pandoc)
 *   multiboot.c  Multiboot Specification 0.6.96
 *
 * Boot information in guest memory, below what kernels load to:
 */
#ifndef BULKHEAD_WORKERS_BOOT_BOOT_H
#define BULKHEAD_WORKERS_BOOT_BOOT_H

#include "bus/guestmem.h"
#include "proto/control.h"
#include "proto/intercept.h"
#include "workers/tables/tables.h"

#define BOOT_INFO_BASE   0x6000u
#define BOOT_GDT         0x6000u
#define BOOT_STACK_TOP   0x7000u /* grows down towards the GDT; for kernels that use one */
#define BOOT_PARAMS      0x7000u /* zero page, hvm_start_info or multiboot information */
#define BOOT_LISTS       0x8000u /* module list and memory map beside it */
#define BOOT_PAGE_TABLES 0x9000u /* PML4, PDPT, four page directories */
#define BOOT_CMDLINE     0x20000u
#define BOOT_INFO_END    0x30000u

struct boot_image {
	int fd;         /* borrowed */
	uint64_t bytes; /* of the file when it was handed over */
	char what[16];  /* "kernel", "initrd", "module 2": for messages */
};

struct boot_range {
	uint64_t base, bytes;
};

struct boot {
	const struct guestmem *gm;      /* borrowed */
	const struct vm_config *config; /* borrowed */
	struct boot_image kernel, module[CONTROL_MAX_MODULES];
	unsigned modules;

	struct boot_range module_at[CONTROL_MAX_MODULES];
	struct memmap map;
	uint32_t rsdp;
	struct platform_boot state;
	char kind[32];                /* of kernel, for the log */
	char why[CONTROL_TEXT_BYTES]; /* sentence after a failure */
};

/* load.c. gm's RAM must be all zeroes. 0, or -errno with b->why. */
int boot_load(struct boot *b);
/* Fills b->why; returns -error. */
int boot_fail(struct boot *b, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* image.c */
int boot_image_open(struct boot_image *img, int fd, const char *what);
/* Exactly len bytes, or -ENODATA (the file ends before) with b->why. */
int boot_read(struct boot *b, const struct boot_image *img, uint64_t offset, void *buf, size_t len);
/* The same, into guest RAM; -EFAULT if that is no RAM. */
int boot_read_guest(struct boot *b, const struct boot_image *img, uint64_t offset, uint64_t gpa,
		    uint64_t len);

/* cpu.c */
int boot_cpu_flat32(struct boot *b, uint32_t entry); /* protected mode, no paging */
int boot_cpu_long(struct boot *b, uint64_t entry);   /* long mode, low 4 GiB mapped to itself */

/* place.c */
/* Copies the command line to BOOT_CMDLINE. */
int boot_put_cmdline(struct boot *b);
/* Loads a module at or above "bottom", below "top" (both guest-physical, below 4 GiB): as high as
 * it goes, or as low. Page-aligned. */
int boot_put_module_high(struct boot *b, unsigned n, uint64_t bottom, uint64_t top);
int boot_put_module_low(struct boot *b, unsigned n, uint64_t bottom, uint64_t top);
/* That [base, base+bytes) is RAM below 4 GiB that a kernel may be loaded to. who: for the message
 */
int boot_check_range(struct boot *b, const char *who, uint64_t base, uint64_t bytes);
/* Writes to guest memory that the layout above reserves. */
int boot_put(struct boot *b, uint64_t gpa, const void *buf, size_t len);

/* The kinds of kernel. *_is: whether this file is one, from its first bytes. */
enum { BOOT_HEAD_BYTES = 8192 };
struct boot_head {
	uint8_t bytes[BOOT_HEAD_BYTES];
	uint32_t count; /* fewer if the file is shorter */
};
bool bzimage_is(const struct boot_head *head);
int bzimage_load(struct boot *b, const struct boot_head *head);
bool multiboot_is(const struct boot_head *head);
int multiboot_load(struct boot *b, const struct boot_head *head);
bool elf_is(const struct boot_head *head);
int pvh_load(struct boot *b, const struct boot_head *head);

/* elf.c */
enum { ELF_MAX_SEGMENTS = 64, ELF_NOTES_BYTES = 16384 };
struct elf_segment {
	uint32_t type;
	uint64_t offset, address, file_bytes, memory_bytes; /* address is physical */
};
struct elf_image {
	unsigned bits; /* 32 or 64 */
	uint64_t entry;
	unsigned count;
	struct elf_segment segment[ELF_MAX_SEGMENTS];
	uint64_t high; /* end of what was loaded */
};
/* Reads and checks the headers. */
int elf_read(struct boot *b, struct elf_image *elf, const struct boot_head *head);
/* Checks all PT_LOAD segments, then loads them. */
int elf_load_segments(struct boot *b, struct elf_image *elf);
bool elf_in_segment(const struct elf_image *elf, uint64_t address);

#endif
