/* SPDX-License-Identifier: Apache-2.0
 *
 * Linux bzImage, boot protocol 2.06 and later, by its 64-bit entry where there is one (2.12), else
 * by the 32-bit one. The real-mode part of the file is not used.
 */
#include "workers/boot/boot.h"

#include <errno.h>
#include <string.h>

/* The setup header as it lies in the file and, at the same place, in the zero page. */
enum { SETUP_HEADER = 0x1f1, SETUP_HEADER_END = 0x290, SECTOR = 512 };
struct __attribute__((packed)) setup_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize; /* of the protected-mode part, in 16 bytes */
	uint16_t ram_size, vid_mode, root_dev, boot_flag;
	uint8_t jump, header_bytes; /* the header ends that far behind 202h */
	char magic[4];
	uint16_t version;
	uint32_t realmode_switch;
	uint16_t start_sys, kernel_version;
	uint8_t type_of_loader, loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	uint16_t heap_end;
	uint8_t ext_loader_version, ext_loader_type;
	uint32_t cmd_line, initrd_addr_max, kernel_alignment;
	uint8_t relocatable, min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size, hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset, payload_bytes;
	uint64_t setup_data, pref_address;
	uint32_t init_size, handover_offset, kernel_info;
};
_Static_assert(SETUP_HEADER + sizeof(struct setup_header) == 0x26c, "boot.rst, header fields");

enum { LOADED_HIGH = 1, XLF_KERNEL_64 = 1, LOADER_UNDEFINED = 0xff, ENTRY_64 = 0x200 };
enum { HEADER_BASE = 0x202, DEFAULT_START = 0x100000, DEFAULT_SETUP_SECTS = 4 };
enum { VERSION_OLDEST = 0x206, VERSION_PREF_ADDRESS = 0x20a, VERSION_64 = 0x20c };

enum { ZERO_RSDP = 0x70, ZERO_E820_COUNT = 0x1e8, ZERO_E820 = 0x2d0, ZERO_BYTES = 4096 };
struct __attribute__((packed)) e820_entry {
	uint64_t base, bytes;
	uint32_t type;
};

bool bzimage_is(const struct boot_head *head)
{
	return head->count >= 0x206 && head->bytes[0x1fe] == 0x55 && head->bytes[0x1ff] == 0xaa &&
	       !memcmp(head->bytes + HEADER_BASE, "HdrS", 4);
}

/* What is to be done with the file, worked out from its header and checked. */
struct plan {
	struct setup_header h; /* fields beyond the file's header are zero */
	size_t header_bytes;
	uint64_t payload, payload_bytes; /* in the file */
	uint64_t load, end;              /* in memory; end includes what it unpacks to */
	bool entry64;
};

static int check_header(struct boot *b, const struct boot_head *head, struct plan *p)
{
	unsigned bytes = HEADER_BASE + head->bytes[0x201] - SETUP_HEADER;

	if (head->count < SETUP_HEADER_END)
		return boot_fail(b, ENODATA,
				 "the kernel file is truncated: it ends inside the "
				 "bzImage header; copy it again");
	p->header_bytes =
		bytes < SETUP_HEADER_END - SETUP_HEADER ? bytes : SETUP_HEADER_END - SETUP_HEADER;
	memset(&p->h, 0, sizeof(p->h));
	memcpy(&p->h, head->bytes + SETUP_HEADER,
	       p->header_bytes < sizeof(p->h) ? p->header_bytes : sizeof(p->h));
	if (p->h.version < VERSION_OLDEST)
		return boot_fail(b, ENOTSUP,
				 "the kernel speaks boot protocol %u.%02u, too old: 2.06 (Linux "
				 "2.6.22) is the least; use a newer kernel",
				 p->h.version >> 8, p->h.version & 0xff);
	if (!(p->h.loadflags & LOADED_HIGH))
		return boot_fail(b, ENOTSUP,
				 "the kernel is a zImage, which loads below 1 MiB; "
				 "build it as a bzImage");
	return 0;
}

static int check_sizes(struct boot *b, struct plan *p)
{
	unsigned sects = p->h.setup_sects ? p->h.setup_sects : DEFAULT_SETUP_SECTS;
	uint64_t said = (uint64_t)p->h.syssize * 16;

	p->payload = (sects + 1) * SECTOR;
	if (b->kernel.bytes <= p->payload || b->kernel.bytes - p->payload < said)
		return boot_fail(b, ENODATA,
				 "the kernel file is truncated: its header announces %llu bytes, "
				 "it has %llu; copy it again",
				 (unsigned long long)(p->payload + said),
				 (unsigned long long)b->kernel.bytes);
	/* Behind it there may be a signature, which is not for us. */
	p->payload_bytes = said ? said : b->kernel.bytes - p->payload;
	if (strnlen(b->config->cmdline, sizeof(b->config->cmdline)) > p->h.cmdline_size)
		return boot_fail(b, E2BIG,
				 "the kernel takes a command line of at most %u bytes; shorten it",
				 p->h.cmdline_size);
	return 0;
}

static int choose_place(struct boot *b, struct plan *p)
{
	uint64_t need = p->payload_bytes;

	p->load = DEFAULT_START;
	if (p->h.version >= VERSION_PREF_ADDRESS) {
		p->load = p->h.pref_address;
		if (p->h.init_size > need)
			need = p->h.init_size;
	}
	if (p->load < TABLES_END)
		return boot_fail(b, EINVAL,
				 "the kernel's header asks for load address %#llx, "
				 "below 1 MiB; the file is damaged",
				 (unsigned long long)p->load);
	p->end = p->load + need;
	p->entry64 = p->h.version >= VERSION_64 && p->h.xloadflags & XLF_KERNEL_64;
	if (p->entry64 && p->payload_bytes <= ENTRY_64)
		return boot_fail(b, EINVAL,
				 "the kernel's header announces a 64-bit entry beyond "
				 "its end; the file is damaged");
	return boot_check_range(b, "the kernel", p->load, need);
}

static int put_zero_page(struct boot *b, const struct plan *p)
{
	static uint8_t zero[ZERO_BYTES];
	struct setup_header *h = (void *)(zero + SETUP_HEADER);
	uint64_t rsdp = b->rsdp;

	memset(zero, 0, sizeof(zero));
	memcpy(h, &p->h, sizeof(*h) < p->header_bytes ? sizeof(*h) : p->header_bytes);
	h->type_of_loader = LOADER_UNDEFINED;
	h->code32_start = (uint32_t)p->load;
	h->cmd_line = BOOT_CMDLINE;
	h->ramdisk_image = (uint32_t)b->module_at[0].base;
	h->ramdisk_size = (uint32_t)b->module_at[0].bytes;
	memcpy(zero + ZERO_RSDP, &rsdp, sizeof(rsdp));
	zero[ZERO_E820_COUNT] = b->map.count;
	for (unsigned i = 0; i < b->map.count; i++) {
		const struct memmap_entry *m = &b->map.entry[i];
		struct e820_entry e = {m->base, m->bytes, m->type};

		memcpy(zero + ZERO_E820 + i * sizeof(e), &e, sizeof(e));
	}
	return boot_put(b, BOOT_PARAMS, zero, sizeof(zero));
}

int bzimage_load(struct boot *b, const struct boot_head *head)
{
	struct plan p;
	int err = check_header(b, head, &p);

	if (!err)
		err = check_sizes(b, &p);
	if (!err)
		err = choose_place(b, &p);
	if (!err && b->modules > 1)
		err = boot_fail(b, EINVAL,
				"a Linux bzImage takes one module, the initrd, and the VM "
				"has %u; join them into one file",
				b->modules);
	if (!err && b->modules)
		err = boot_put_module_high(b, 0, p.end, (uint64_t)p.h.initrd_addr_max + 1);
	if (!err)
		err = boot_read_guest(b, &b->kernel, p.payload, p.load, p.payload_bytes);
	if (!err)
		err = boot_put_cmdline(b);
	if (!err)
		err = put_zero_page(b, &p);
	if (!err)
		err = p.entry64 ? boot_cpu_long(b, p.load + ENTRY_64)
				: boot_cpu_flat32(b, (uint32_t)p.load);
	b->state.gpr[6] = BOOT_PARAMS; /* RSI */
	return err;
}
