/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/guestmem.h"
#include "bus/internal.h"

#define PAGE 4096u

static uint64_t gen_bytes(uint64_t size)
{
	uint64_t bytes = size / PAGE * sizeof(uint32_t);
	return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static bool size_ok(uint64_t size)
{
	return size && size % PAGE == 0 && size <= 1ull << 46;
}

int guestmem_create(uint64_t size, int *ram_fd, int *gen_fd)
{
	*ram_fd = *gen_fd = -1;
	if (!size_ok(size))
		return -EINVAL;
	int ram = memfd_sealed("ram", size);
	if (ram < 0)
		return ram;
	int gen = memfd_sealed("ram-generations", gen_bytes(size));
	if (gen < 0) {
		close(ram);
		return gen;
	}
	*ram_fd = ram;
	*gen_fd = gen;
	return 0;
}

/* Reserves no memory: what the guest never touches costs nothing. A page on either side cannot be
 * touched: who computes a wrong address in there finds a fault, not another mapping. */
static int map_shared(int fd, uint64_t size, void **map)
{
	int rc = memfd_check(fd, size, size, NULL);
	if (rc < 0)
		return rc;
	uint8_t *p = mmap(NULL, size + 2 * PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (mmap(p + PAGE, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd,
		 0) == MAP_FAILED) {
		rc = -errno;
		munmap(p, size + 2 * PAGE);
		return rc;
	}
	*map = p + PAGE;
	return 0;
}

static void unmap_shared(void *map, uint64_t size)
{
	munmap((uint8_t *)map - PAGE, size + 2 * PAGE);
}

int guestmem_map(struct guestmem *gm, int ram_fd, int gen_fd, uint64_t size)
{
	void *ram, *gen;
	*gm = (struct guestmem){0};
	if (!size_ok(size))
		return -EINVAL;
	int rc = map_shared(ram_fd, size, &ram);
	if (rc < 0)
		return rc;
	rc = map_shared(gen_fd, gen_bytes(size), &gen);
	if (rc < 0) {
		unmap_shared(ram, size);
		return rc;
	}
	gm->map = ram;
	gm->page_gen = gen;
	gm->size = size;
	gm->low_size = size < GUESTMEM_LOW_MAX ? size : GUESTMEM_LOW_MAX;
	return 0;
}

void guestmem_unmap(struct guestmem *gm)
{
	if (gm->map)
		unmap_shared(gm->map, gm->size);
	if (gm->page_gen)
		unmap_shared((void *)gm->page_gen, gen_bytes(gm->size));
	*gm = (struct guestmem){0};
}

/* Offset in the memfd of [gpa, gpa+len), or false. No range is in both parts: the hole between
 * them is longer than nothing, and would be in it. */
static bool ram_offset(const struct guestmem *gm, uint64_t gpa, uint64_t len, uint64_t *offset)
{
	uint64_t begin = 0, bytes = gm->low_size, at = 0;
	if (gpa >= GUESTMEM_HIGH_BASE) {
		begin = GUESTMEM_HIGH_BASE;
		bytes = gm->size - gm->low_size;
		at = gm->low_size;
	}
	uint64_t from = gpa - begin;
	if (from >= bytes || len > bytes - from)
		return false;
	*offset = at + from;
	return true;
}

void *guestmem_ptr(const struct guestmem *gm, uint64_t gpa, uint64_t len)
{
	uint64_t offset;
	return ram_offset(gm, gpa, len, &offset) ? gm->map + offset : NULL;
}

/* The counter moves after the bytes: who sees the old counter may run old code once more, who
 * sees the new one sees the new bytes. */
static void mark(const struct guestmem *gm, uint64_t offset, uint64_t len)
{
	for (uint64_t page = offset / PAGE; page <= (offset + len - 1) / PAGE; page++)
		__atomic_fetch_add((uint32_t *)&gm->page_gen[page], 1, __ATOMIC_RELEASE);
}

void guestmem_wrote(const struct guestmem *gm, uint64_t gpa, uint64_t len)
{
	uint64_t offset;
	if (len && ram_offset(gm, gpa, len, &offset))
		mark(gm, offset, len);
}

int guestmem_read(const struct guestmem *gm, uint64_t gpa, void *buf, size_t len)
{
	if (!len)
		return 0;
	const void *src = guestmem_ptr(gm, gpa, len);
	if (!src)
		return -EFAULT;
	memcpy(buf, src, len);
	copied(buf);
	return 0;
}

int guestmem_write(const struct guestmem *gm, uint64_t gpa, const void *buf, size_t len)
{
	uint64_t offset;
	if (!len)
		return 0;
	if (!ram_offset(gm, gpa, len, &offset))
		return -EFAULT;
	memcpy(gm->map + offset, buf, len);
	mark(gm, offset, len);
	return 0;
}

int guestmem_zero(const struct guestmem *gm, uint64_t gpa, uint64_t len)
{
	uint64_t offset;
	if (!len)
		return 0;
	if (!ram_offset(gm, gpa, len, &offset))
		return -EFAULT;
	memset(gm->map + offset, 0, len);
	mark(gm, offset, len);
	return 0;
}
