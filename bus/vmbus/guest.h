/* SPDX-License-Identifier: Apache-2.0
 *
 * What a provider needs to work with a guest's own pages: its rings, mapped so that bus/ring.h can
 * use them, and the page lists of GPA-direct packets, turned into iovecs.
 *
 * The guest shares these pages and may write them at any time. Page numbers are checked against
 * RAM here; nothing outside this VM's RAM is ever mapped or pointed to.
 *
 * Errors: 0 (or a count) or a negative errno.
 */
#ifndef BULKHEAD_BUS_VMBUS_GUEST_H
#define BULKHEAD_BUS_VMBUS_GUEST_H

#include "bus/guestmem.h"
#include "bus/ring.h"

#define GUEST_RING_PAGES_MAX 16384u /* both directions: 64 MiB */

/* A guest's ring pair. map is owned. */
struct guest_ring {
	struct ring_reader in;  /* guest to host */
	struct ring_writer out; /* host to guest */
	void *map;
	size_t map_bytes;
};

/* Maps the pages of a ring GPADL one after the other: pages [0, downstream) are the guest-to-host
 * ring, the rest the other. ram_fd stays the caller's. -EFAULT: a page is not RAM; -EINVAL: sizes.
 */
int guest_ring_map(struct guest_ring *r, const struct guestmem *gm, int ram_fd,
		   const uint64_t *pages, uint32_t page_count, uint32_t downstream_page);
/* The same for rings in use, that another process of ours had mapped; also -EPROTO. */
int guest_ring_adopt(struct guest_ring *r, const struct guestmem *gm, int ram_fd,
		     const uint64_t *pages, uint32_t page_count, uint32_t downstream_page);
void guest_ring_unmap(struct guest_ring *r);

/* Host iovecs of the ranges in a GPA-direct packet's header (as ring_read() returns it: what lies
 * between the 16-byte descriptor and the payload, already in private memory). Adjacent pages are
 * joined. *total: bytes described. Returns the number of iovecs; -EPROTO: no such header; -EFAULT:
 * a page is not RAM; -E2BIG: more than max. */
int guest_ranges(const struct guestmem *gm, const void *header, size_t header_bytes,
		 struct iovec *iov, int max, uint64_t *total);

/* The host wrote through these iovecs: decoded code of those pages is stale. */
void guest_ranges_wrote(const struct guestmem *gm, const struct iovec *iov, int n);

#endif
