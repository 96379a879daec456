/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest-physical memory as the back ends see it (vm_memory in vcpu.h): one reserved range in which
 * RAM lies at its guest-physical address, with a hole below 4 GiB that faults.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bus/guestmem.h"
#include "vmmcore/partition/partition.h"

static uint64_t range_bytes(const struct vm_memory *mem)
{
	return mem->high_size ? GPA_HIGH_BASE + mem->high_size : mem->low_size;
}

static uint64_t gen_bytes(const struct vm_memory *mem)
{
	uint64_t bytes = ((mem->low_size + mem->high_size) >> 12) * sizeof(uint32_t);

	return (bytes + 4095) & ~4095ull;
}

/* A memfd that could shrink under us would turn guest accesses into SIGBUS. */
static int check_memfd(int fd, uint64_t bytes)
{
	const int need = F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || fstat(fd, &st) < 0)
		return -errno;
	return (seals & need) == need && (uint64_t)st.st_size >= bytes ? 0 : -EINVAL;
}

static int map_ram(struct vm_memory *mem, uint64_t gpa, uint64_t bytes, int fd, uint64_t offset)
{
	if (!bytes)
		return 0;
	if (mmap(mem->base + gpa, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 (off_t)offset) == MAP_FAILED)
		return -errno;
	return 0;
}

int memory_map(struct vm_memory *mem, int ram_fd, int gen_fd, uint64_t size)
{
	void *gen;
	int r;

	*mem = (struct vm_memory){.low_size = size};
	if (size > GUESTMEM_LOW_MAX) {
		mem->low_size = GUESTMEM_LOW_MAX;
		mem->high_size = size - GUESTMEM_LOW_MAX;
	}
	r = check_memfd(ram_fd, size);
	if (!r)
		r = check_memfd(gen_fd, gen_bytes(mem));
	if (r)
		return r;
	mem->base = mmap(NULL, range_bytes(mem), PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem->base == MAP_FAILED) {
		mem->base = NULL;
		return -errno;
	}
	r = map_ram(mem, 0, mem->low_size, ram_fd, 0);
	if (!r)
		r = map_ram(mem, GPA_HIGH_BASE, mem->high_size, ram_fd, mem->low_size);
	if (!r) {
		gen = mmap(NULL, gen_bytes(mem), PROT_READ | PROT_WRITE, MAP_SHARED, gen_fd, 0);
		if (gen == MAP_FAILED)
			r = -errno;
		else
			mem->page_gen = gen;
	}
	if (r)
		memory_unmap(mem);
	return r;
}

void memory_unmap(struct vm_memory *mem)
{
	if (mem->page_gen)
		munmap(mem->page_gen, gen_bytes(mem));
	if (mem->base)
		munmap(mem->base, range_bytes(mem));
	*mem = (struct vm_memory){0};
}
