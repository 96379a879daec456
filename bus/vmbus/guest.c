/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bus/vmbus/guest.h"
#include "bus/vmbus/protocol.h"

#define PAGE 4096u

/* Offset of a guest page in the RAM memfd, or false. */
static bool page_offset(const struct guestmem *gm, uint64_t page, uint64_t *offset)
{
	const uint8_t *p = page <= UINT64_MAX / PAGE ? guestmem_ptr(gm, page * PAGE, PAGE) : NULL;

	if (!p)
		return false;
	*offset = p - gm->map;
	return true;
}

/* Maps pages[i..n) at `at`, one mmap for each run of pages that follow each other in RAM. */
static int map_pages(uint8_t *at, const struct guestmem *gm, int ram_fd, const uint64_t *pages,
		     uint32_t n)
{
	for (uint32_t i = 0; i < n;) {
		uint64_t offset, next;
		uint32_t run = 1;

		if (!page_offset(gm, pages[i], &offset))
			return -EFAULT;
		while (i + run < n && page_offset(gm, pages[i + run], &next) &&
		       next == offset + (uint64_t)run * PAGE)
			run++;
		if (mmap(at + (size_t)i * PAGE, (size_t)run * PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, ram_fd, (off_t)offset) == MAP_FAILED)
			return -errno;
		i += run;
	}
	return 0;
}

static int map_rings(struct guest_ring *r, const struct guestmem *gm, int ram_fd,
		     const uint64_t *pages, uint32_t page_count, uint32_t downstream_page, bool adopt)
{
	size_t first = (size_t)downstream_page * PAGE;
	uint8_t *map;
	int rc;

	*r = (struct guest_ring){0};
	if (page_count > GUEST_RING_PAGES_MAX || downstream_page >= page_count)
		return -EINVAL;
	r->map_bytes = (size_t)page_count * PAGE;
	/* With a page on either side that cannot be touched. */
	map = mmap(NULL, r->map_bytes + 2 * PAGE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		*r = (struct guest_ring){0};
		return -errno;
	}
	r->map = map + PAGE;
	rc = map_pages(r->map, gm, ram_fd, pages, page_count);
	if (rc == 0)
		rc = (adopt ? ring_reader_adopt : ring_reader_init)(&r->in, r->map, first);
	if (rc == 0)
		rc = (adopt ? ring_writer_adopt : ring_writer_init)(
			&r->out, (uint8_t *)r->map + first, r->map_bytes - first);
	if (rc)
		guest_ring_unmap(r);
	return rc;
}

int guest_ring_map(struct guest_ring *r, const struct guestmem *gm, int ram_fd,
		   const uint64_t *pages, uint32_t page_count, uint32_t downstream_page)
{
	return map_rings(r, gm, ram_fd, pages, page_count, downstream_page, false);
}

int guest_ring_adopt(struct guest_ring *r, const struct guestmem *gm, int ram_fd,
		     const uint64_t *pages, uint32_t page_count, uint32_t downstream_page)
{
	return map_rings(r, gm, ram_fd, pages, page_count, downstream_page, true);
}

void guest_ring_unmap(struct guest_ring *r)
{
	if (r->map)
		munmap((uint8_t *)r->map - PAGE, r->map_bytes + 2 * PAGE);
	*r = (struct guest_ring){0};
}

/* Adds bytes at a host address, joined to the last iovec where it goes on there. RAM below and
 * above the hole is adjacent in our mapping, but not to the guest: never joined. */
static int add(const struct guestmem *gm, struct iovec *iov, int n, int max, uint8_t *base,
	       size_t bytes)
{
	if (n && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == base &&
	    base != gm->map + gm->low_size) {
		iov[n - 1].iov_len += bytes;
		return n;
	}
	if (n == max)
		return -E2BIG;
	iov[n] = (struct iovec){base, bytes};
	return n + 1;
}

/* One range: its pages begin at p, of which left bytes remain. *used: bytes of them taken. */
static int add_range(const struct guestmem *gm, const struct vmbus_gpa_range *range,
		     const uint8_t *p, size_t left, size_t *used, struct iovec *iov, int n, int max)
{
	uint64_t pages = ((uint64_t)range->byte_offset + range->byte_count + PAGE - 1) / PAGE;
	uint32_t offset = range->byte_offset, bytes = range->byte_count;

	if (offset >= PAGE || pages > left / sizeof(uint64_t))
		return -EPROTO;
	*used = pages * sizeof(uint64_t);
	for (uint64_t i = 0; i < pages && n >= 0; i++, offset = 0) {
		uint32_t here = PAGE - offset < bytes ? PAGE - offset : bytes;
		uint64_t page;
		uint8_t *host;

		memcpy(&page, p + i * sizeof(page), sizeof(page));
		host = page <= UINT64_MAX / PAGE ? guestmem_ptr(gm, page * PAGE, PAGE) : NULL;
		if (!host)
			return -EFAULT;
		if (here)
			n = add(gm, iov, n, max, host + offset, here);
		bytes -= here;
	}
	return n;
}

int guest_ranges(const struct guestmem *gm, const void *header, size_t header_bytes,
		 struct iovec *iov, int max, uint64_t *total)
{
	const uint8_t *p = header;
	uint32_t count;
	int n = 0;

	*total = 0;
	if (header_bytes < 8)
		return -EPROTO;
	memcpy(&count, p + 4, sizeof(count)); /* after u32 reserved */
	p += 8;
	header_bytes -= 8;
	while (count--) {
		struct vmbus_gpa_range range;
		size_t used;

		if (header_bytes < sizeof(range))
			return -EPROTO;
		memcpy(&range, p, sizeof(range));
		p += sizeof(range);
		header_bytes -= sizeof(range);
		n = add_range(gm, &range, p, header_bytes, &used, iov, n, max);
		if (n < 0)
			return n;
		p += used;
		header_bytes -= used;
		*total += range.byte_count;
	}
	return n;
}

void guest_ranges_wrote(const struct guestmem *gm, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t offset = (uint8_t *)iov[i].iov_base - gm->map;
		uint64_t gpa = offset < gm->low_size ? offset
						     : GUESTMEM_HIGH_BASE + (offset - gm->low_size);

		guestmem_wrote(gm, gpa, iov[i].iov_len);
	}
}
