/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHD on disk and in memory. Source: "Virtual Hard Disk Image Format Specification", Microsoft,
 * version 1.0, 11 October 2006. Everything is big-endian; sectors are 512 bytes.
 *
 *   vhd_format.c  checksums, geometry, checked readers of footer and header
 *   vhd_open.c    open, match, info, close
 *   vhd_map.c     BAT and bitmaps in memory: map, prepare, commit, discard
 *   vhd_flush.c   the order in which metadata reaches the disk
 *   vhd_kept.c    going on where another process died
 *   vhd_fixed.c   fixed disks
 *   vhd_change.c  header changes by pointer switch: set parent, merge marks
 *   vhd_resize.c  larger and smaller
 *   vhd_compact.c moving blocks towards the front
 *   vhd_create.c  new images
 *   vhd_locator.c parent locators, read and written
 *   vhd_check.c   check and repair
 *
 * Layout of what we write (4 KiB alignment of data is allowed by the format: the table holds
 * sector numbers, and gaps are legal):
 *
 *   0      footer copy (dynamic, differencing)      512 bytes
 *   512    dynamic header                           1024 bytes
 *   1536   BAT, then parent locators
 *   ...    blocks: bitmap in the last sector(s) before a 4 KiB boundary, data from the boundary on
 *   end    footer, in the gap before the next block's bitmap, so that growing the file never
 *          writes a bitmap or data over the footer that is still valid
 */
#ifndef DISK_VHD_H
#define DISK_VHD_H

#include "vsp/storage/disk/internal.h"

#include <endian.h>

#define VHD_COOKIE      "conectix"
#define VHD_SPARSE      "cxsparse"
#define VHD_FEATURES    2u /* reserved bit, always set */
#define VHD_VERSION     0x00010000u
#define VHD_NO_OFFSET   UINT64_MAX
#define VHD_UNUSED      UINT32_MAX /* BAT: no block */
#define VHD_EPOCH       946684800  /* 2000-01-01 00:00:00 UTC in Unix time */
#define VHD_MAX_SIZE    (2040ull << 30)
#define VHD_MAX_BAT     (16u << 20) /* entries: 2040 GiB in 128 KiB blocks */
#define VHD_MIN_BLOCK   4096u
#define VHD_MAX_BLOCK   (256u << 20)
#define VHD_LOCATORS    8
#define VHD_MARK_MERGE  "BkMg"
#define VHD_MARK_RESIZE "BkRz"

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

struct vhd_footer {
	char cookie[8];
	uint32_t features;
	uint32_t version;
	uint64_t data_offset; /* of the dynamic header */
	uint32_t timestamp;
	char creator[4];
	uint32_t creator_version;
	char creator_os[4];
	uint64_t original_size;
	uint64_t size;
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
	uint32_t type;
	uint32_t checksum;
	uint8_t id[16];
	uint8_t saved_state;
	uint8_t reserved[419];
	/*
	 * Ours, in the reserved part's last eight bytes, both 0 unless a change is under way:
	 * VHD_MARK_MERGE: a child being merged also accepts a parent with this time stamp.
	 * VHD_MARK_RESIZE: a fixed disk being resized; this sector holds a footer, read it as zero.
	 */
	char mark[4];
	uint32_t mark_value;
} __attribute__((packed));
_Static_assert(sizeof(struct vhd_footer) == 512, "VHD footer is 512 bytes");

struct vhd_locator {
	char code[4];
	uint32_t space; /* the specification says sectors; Virtual PC and later write bytes */
	uint32_t length;
	uint32_t reserved;
	uint64_t offset;
} __attribute__((packed));
_Static_assert(sizeof(struct vhd_locator) == 24, "VHD locator entry is 24 bytes");

struct vhd_header {
	char cookie[8];
	uint64_t data_offset; /* unused, all ones */
	uint64_t table_offset;
	uint32_t version;
	uint32_t entries;
	uint32_t block_size;
	uint32_t checksum;
	uint8_t parent_id[16];
	uint32_t parent_timestamp;
	uint32_t reserved1;
	uint8_t parent_name[512]; /* UTF-16BE */
	struct vhd_locator locator[VHD_LOCATORS];
	uint8_t reserved2[256];
} __attribute__((packed));
_Static_assert(sizeof(struct vhd_header) == 1024, "VHD dynamic header is 1024 bytes");

struct vhd_bitmap {
	bool dirty;
	uint8_t bits[]; /* vhd->bitmap_size bytes, most significant bit first */
};
/* Most bitmaps are full or empty: no memory for those. */
#define BITMAP_UNKNOWN ((struct vhd_bitmap *)0)
#define BITMAP_FULL    ((struct vhd_bitmap *)1)
#define BITMAP_EMPTY   ((struct vhd_bitmap *)2)

struct vhd {
	struct vhd_footer footer; /* as on disk */
	struct vhd_header header; /* as on disk; dynamic and differencing only */
	uint64_t file_end;        /* length of the file as we left it */
	uint64_t data_end;        /* end of the last structure or block: where the footer belongs */
	bool footer_at_end;       /* the file ends in a good footer at data_end */
	_Atomic bool stamped;     /* the time stamp was moved on since opening */
	bool grown;               /* blocks were added since the footer was written at the end */

	uint32_t *bat;             /* host order */
	uint32_t entries;          /* that the disk's size needs; the header may claim more */
	uint32_t bitmap_size;      /* bytes, whole sectors */
	struct vhd_bitmap ***maps; /* [entry / MAPS_LEAF][entry % MAPS_LEAF] */
	uint32_t loaded, dirty;    /* bitmaps in memory, and of those not written */
	uint8_t *fresh;            /* one bit an entry: allocated since the last flush */
	uint8_t *bat_dirty;        /* one byte a BAT sector (128 entries) */
	bool meta_dirty;
	struct {
		uint32_t *sector; /* starts of freed blocks */
		uint32_t n, room;
	} gone, reuse; /* freed since the last flush; punched and free to use */
};
#define MAPS_LEAF 1024u

/* vhd_format.c */
uint32_t vhd_footer_sum(const struct vhd_footer *f);
uint32_t vhd_header_sum(const struct vhd_header *h);
void vhd_footer_seal(struct vhd_footer *f);
void vhd_header_seal(struct vhd_header *h);
bool vhd_footer_ok(const struct vhd_footer *f);
/* 0, or -EUCLEAN/-EFBIG with a sentence in d->why. `f` is a good footer. */
int vhd_header_check(struct disk *d, const struct vhd_footer *f, const struct vhd_header *h,
		     uint64_t file_size);
struct disk_geometry vhd_geometry(uint64_t size);
uint32_t vhd_now(void);
void vhd_random_id(uint8_t id[16]);
uint32_t vhd_bitmap_size(uint32_t block_size);
static inline uint64_t vhd_bat_bytes(uint64_t entries)
{
	return round_up(entries * 4, 512);
}

/* vhd_open.c */
/* Reads both footers. Either may be bad; which ones are good is in *front and *end. */
int vhd_read_footers(int fd, uint64_t file_size, struct vhd_footer *front_footer, bool *front,
		     struct vhd_footer *end_footer, bool *end);
/* No two blocks, in use or freed and not punched yet, share bytes with each other or the tables. */
int vhd_check_table(struct disk *d);
/* First byte past everything the header and the BAT refer to. */
uint64_t vhd_data_end(const struct vhd *v);

/* vhd_map.c */
extern const struct disk_ops vhd_ops, vhd_fixed_ops;
int vhd_bitmap_get(struct disk *d, uint32_t block, struct vhd_bitmap **map);
void vhd_maps_free(struct vhd *v);
int vhd_allocate(struct disk *d, uint32_t block);
void vhd_place(struct disk *d, uint32_t block, struct vhd_bitmap **slot, uint32_t sector);
void vhd_release(struct disk *d, uint32_t block);
/* The bits of [first, first + n), sectors of the block, become set, in memory. */
int vhd_claim(struct disk *d, uint32_t block, uint32_t first, uint32_t n);
struct vhd_bitmap **vhd_map_slot(struct vhd *v, uint32_t block);

/* vhd_kept.c: after opening, before the first write: 0 or a negative errno */
int vhd_go_on(struct disk *d);
void vhd_bind(struct disk *d); /* after stamping */
/* Of `struct kept_record`. BLOCK: it is at sector `value`. GONE: it was there. BITS: of [value >> 32,
 * + the rest of value) are set. */
enum vhd_kept { VHD_KEPT_BLOCK = 1, VHD_KEPT_GONE, VHD_KEPT_BITS };

/* vhd_flush.c; the lock is held */
int vhd_flush_locked(struct disk *d);
int vhd_stamp(struct disk *d);         /* before the first change after opening */
int vhd_write_footers(struct disk *d); /* v->footer, sealed, to both places, then sync */
int vhd_write_end_footer(struct disk *d);

/* vhd_change.c */
int vhd_switch_header(struct disk *d, const struct vhd_footer *f, const struct vhd_header *h);
int vhd_set_parent(struct disk *d, struct disk *parent, const char *relative, const char *absolute);
int vhd_merge_begin(struct disk *child, struct disk *parent);

/* vhd_resize.c */
int vhd_resize(struct disk *d, uint64_t size);
int vhd_fixed_resize(struct disk *d, uint64_t size);
int vhd_fixed_finish_resize(struct disk *d);

/* vhd_compact.c */
int vhd_compact_tail(struct disk *d, const struct disk_progress *progress, uint64_t *moved);

/* vhd_locator.c */
void vhd_read_locators(struct disk *d, const struct vhd_header *h, uint64_t file_size);
/* Fills h's name and locators and writes their data at `at`; *end is where it stopped. */
int vhd_write_locators(int fd, const struct disk_io *io, struct vhd_header *h, uint64_t at,
		       const char *relative, const char *absolute, uint64_t *end);

#endif
