/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a kernel file. Whatever they are, the loader ends, says a sentence when it refuses,
 * writes to guest memory only where it may, and hands over a state that lies in RAM.
 *
 * Input: a byte (RAM size and number of modules), then the file.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "workers/boot/boot.h"

enum { MAX_RAM = 32 << 20, MODULE_BYTES = 70000 };

static int ram_fd, gen_fd, kernel_fd, module_fd;
static struct guestmem gm;
static uint64_t loaded, refused;

/* All the RAM there will be is mapped once; what is beyond a smaller machine's RAM must stay
 * as it is. */
static void set_up(void)
{
	uint8_t page[4096];

	if (gm.map)
		return;
	fuzz_require(guestmem_create(MAX_RAM, &ram_fd, &gen_fd) == 0);
	fuzz_require(guestmem_map(&gm, ram_fd, gen_fd, MAX_RAM) == 0);
	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	module_fd = memfd_create("module", MFD_CLOEXEC);
	memset(page, 0x5a, sizeof(page));
	for (unsigned i = 0; i < MODULE_BYTES; i += sizeof(page))
		fuzz_require(pwrite(module_fd, page, sizeof(page), i) == sizeof(page));
	fuzz_require(ftruncate(module_fd, MODULE_BYTES) == 0);
}

static void clear_ram(void)
{
	fuzz_require(fallocate(ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, MAX_RAM) ==
		     0);
}

/* Nothing has been written behind the machine's RAM, nor to what has no owner below 1 MiB. */
static void check_untouched(uint64_t ram)
{
	off_t at = lseek(ram_fd, (off_t)ram, SEEK_DATA);

	fuzz_require(at < 0);
	for (uint64_t a = LOW_RAM_END; a < TABLES_BASE; a += 8)
		fuzz_require(*(uint64_t *)(gm.map + a) == 0);
}

static void check_state(const struct boot *b)
{
	const struct platform_boot *s = &b->state;

	fuzz_require(s->type == PLATFORM_BOOT);
	fuzz_require(guestmem_ptr(b->gm, s->rip, 1) != NULL);
	fuzz_require(s->rip >= BOOT_INFO_END && s->rflags == 2);
	for (unsigned i = 0; i < b->modules; i++) {
		struct boot_range r = b->module_at[i];

		fuzz_require(r.bytes == MODULE_BYTES && r.base >= TABLES_END);
		fuzz_require(*(uint8_t *)guestmem_ptr(b->gm, r.base, r.bytes) == 0x5a);
		fuzz_require(((uint8_t *)guestmem_ptr(b->gm, r.base, r.bytes))[r.bytes - 1] ==
			     0x5a);
	}
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint64_t choice = fuzz_take(&in, 1), ram = 4ull << 20 << (choice & 3);
	static struct boot b;
	static struct vm_config config;
	struct guestmem small;
	int err;

	set_up();
	small = gm;
	small.size = small.low_size = ram;
	config = (struct vm_config){.ram_bytes = ram, .vcpus = 1, .serials = 1, .cmdline = "quiet"};
	memset(&b, 0, sizeof(b));
	b.gm = &small;
	b.config = &config;
	b.modules = choice >> 2 & 3;
	fuzz_require(ftruncate(kernel_fd, 0) == 0);
	fuzz_require(pwrite(kernel_fd, in.data, in.size, 0) == (ssize_t)in.size);
	fuzz_require(boot_image_open(&b.kernel, kernel_fd, "kernel") == 0);
	for (unsigned i = 0; i < b.modules; i++)
		fuzz_require(boot_image_open(&b.module[i], module_fd, "module") == 0);
	err = boot_load(&b);
	fuzz_require(err <= 0 && err > -4096);
	fuzz_require(memchr(b.why, 0, sizeof(b.why)) != NULL);
	if (err) {
		fuzz_require(b.why[0] != '\0');
		refused++;
	} else {
		check_state(&b);
		loaded++;
	}
	check_untouched(ram);
	clear_ram();
	return 0;
}

void fuzz_report(void)
{
	printf("loader: %llu loaded, %llu refused\n", (unsigned long long)loaded,
	       (unsigned long long)refused);
}
