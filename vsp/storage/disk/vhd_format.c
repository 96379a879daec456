/* SPDX-License-Identifier: Apache-2.0 */
/* The structures of a VHD: sums, geometry, and what makes one acceptable. */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

/* One's complement of the sum of all bytes, the checksum field itself left out. */
static uint32_t byte_sum(const void *p, size_t size, const uint32_t *field)
{
	const uint8_t *b = p, *skip = (const uint8_t *)field;
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++)
		if (b + i < skip || b + i >= skip + 4)
			sum += b[i];
	return ~sum;
}

uint32_t vhd_footer_sum(const struct vhd_footer *f)
{
	return byte_sum(f, sizeof(*f), (const void *)((const char *)f + 64));
}

uint32_t vhd_header_sum(const struct vhd_header *h)
{
	return byte_sum(h, sizeof(*h), (const void *)((const char *)h + 36));
}

_Static_assert(offsetof(struct vhd_footer, checksum) == 64, "footer checksum");
_Static_assert(offsetof(struct vhd_header, checksum) == 36, "header checksum");

void vhd_footer_seal(struct vhd_footer *f)
{
	f->checksum = htobe32(vhd_footer_sum(f));
}

void vhd_header_seal(struct vhd_header *h)
{
	h->checksum = htobe32(vhd_header_sum(h));
}

bool vhd_footer_ok(const struct vhd_footer *f)
{
	uint32_t type = be32toh(f->type);
	uint64_t size = be64toh(f->size);

	return !memcmp(f->cookie, VHD_COOKIE, 8) && be32toh(f->checksum) == vhd_footer_sum(f) &&
	       be32toh(f->version) >> 16 == 1 && type >= VHD_FIXED && type <= VHD_DIFFERENCING &&
	       size % DISK_SECTOR == 0 && size <= INT64_MAX / 2;
}

int vhd_header_check(struct disk *d, const struct vhd_footer *f, const struct vhd_header *h,
		     uint64_t file_size)
{
	uint64_t size = be64toh(f->size), table = be64toh(h->table_offset), need;
	uint64_t head = be64toh(f->data_offset);
	uint32_t block = be32toh(h->block_size), entries = be32toh(h->entries);

	if (memcmp(h->cookie, VHD_SPARSE, 8) || be32toh(h->checksum) != vhd_header_sum(h))
		return disk_fail(d, -EUCLEAN, "its dynamic disk header is damaged");
	if (be32toh(h->version) >> 16 != 1)
		return disk_fail(d, -ENOTSUP, "its header has version %#x", be32toh(h->version));
	if (block < VHD_MIN_BLOCK || block > VHD_MAX_BLOCK || (block & (block - 1)))
		return disk_fail(d, -EUCLEAN, "its block size, %u, is not allowed", block);
	if (size > VHD_MAX_SIZE)
		return disk_fail(d, -EFBIG, "it is larger than 2040 GiB");
	need = (size + block - 1) / block;
	if (need > VHD_MAX_BAT)
		return disk_fail(d, -EFBIG, "it needs a table of %llu blocks",
				 (unsigned long long)need);
	if (need > entries)
		return disk_fail(d, -EUCLEAN, "its table has %u entries, its size needs %llu",
				 entries, (unsigned long long)need);
	if (table % DISK_SECTOR || !range_ok(table, need * 4, file_size))
		return disk_fail(d, -EUCLEAN, "its block table lies outside the file");
	/* A write to the one would spoil the other. */
	if (head < DISK_SECTOR || table < DISK_SECTOR ||
	    (table < head + sizeof(*h) && head < table + need * 4))
		return disk_fail(d, -EUCLEAN, "its footer, header and block table overlap");
	return 0;
}

/* The algorithm of the specification's appendix "CHS Calculation". */
struct disk_geometry vhd_geometry(uint64_t size)
{
	uint64_t total = size / DISK_SECTOR, cyl_heads;
	unsigned heads, spt;

	if (total > 65535ull * 16 * 255)
		total = 65535ull * 16 * 255;
	if (total >= 65535ull * 16 * 63) {
		spt = 255;
		heads = 16;
		cyl_heads = total / spt;
	} else {
		spt = 17;
		cyl_heads = total / spt;
		heads = (unsigned)((cyl_heads + 1023) / 1024);
		if (heads < 4)
			heads = 4;
		if (cyl_heads >= heads * 1024ull || heads > 16) {
			spt = 31;
			heads = 16;
			cyl_heads = total / spt;
		}
		if (cyl_heads >= heads * 1024ull) {
			spt = 63;
			heads = 16;
			cyl_heads = total / spt;
		}
	}
	return (struct disk_geometry){.cylinders = (uint16_t)(cyl_heads / heads),
				      .heads = (uint8_t)heads,
				      .sectors = (uint8_t)spt};
}

uint32_t vhd_now(void)
{
	return (uint32_t)(time(NULL) - VHD_EPOCH);
}

/* RFC 4122, version 4. */
void vhd_random_id(uint8_t id[16])
{
	if (getrandom(id, 16, 0) != 16)
		abort(); /* a kernel without random numbers: nothing safe can follow */
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

uint32_t vhd_bitmap_size(uint32_t block_size)
{
	return (uint32_t)round_up(block_size / DISK_SECTOR / 8, DISK_SECTOR);
}
