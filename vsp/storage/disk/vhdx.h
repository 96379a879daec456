/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX on disk and in memory. Source: [MS-VHDX], Virtual Hard Disk v2 File Format. Little-endian;
 * everything from the first MiB on is aligned to 1 MiB.
 *
 *   vhdx_format.c   headers, region tables and metadata: checked readers, sums
 *   vhdx_open.c     open, match, info, close, header updates
 *   vhdx_log.c      replay on open, and writing entries
 *   vhdx_pages.c    the BAT and the sector bitmaps as cached 4 KiB pages
 *   vhdx_map.c      map, prepare, commit, discard
 *   vhdx_flush.c    the order in which metadata reaches the disk
 *   vhdx_kept.c     going on where another process died
 *   vhdx_locator.c  the parent locator, read and written
 *   vhdx_change.c   resize, set parent, merge marks
 *   vhdx_compact.c  moving blocks towards the front
 *   vhdx_create.c   new images
 *   vhdx_check.c    check and repair
 */
#ifndef DISK_VHDX_H
#define DISK_VHDX_H

#include "vsp/storage/disk/internal.h"
#include "vsp/storage/disk/op_move.h"

#include <endian.h>

#define VHDX_MIB         (1ull << 20)
#define VHDX_HEADER_AT   65536u /* and at twice that */
#define VHDX_REGION_AT   196608u
#define VHDX_REGION_SIZE 65536u
#define VHDX_MAX_SIZE    (64ull << 40)
#define VHDX_MAX_LOG     (256u << 20)
#define VHDX_MAX_META    (64u << 20)
#define VHDX_PAGE        4096u
#define VHDX_NAMES       8

enum vhdx_state {
	VHDX_NOT_PRESENT = 0,
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_FULL = 6, /* also: a sector bitmap block that is present */
	VHDX_PARTIAL = 7,
};

struct vhdx_header {
	char signature[4]; /* "head" */
	uint32_t checksum;
	uint64_t sequence;
	uint8_t file_write_guid[16];
	uint8_t data_write_guid[16];
	uint8_t log_guid[16]; /* zero: the log is empty */
	uint16_t log_version;
	uint16_t version;
	uint32_t log_length;
	uint64_t log_offset;
	uint8_t reserved[4016];
} __attribute__((packed));
_Static_assert(sizeof(struct vhdx_header) == 4096, "VHDX header is 4 KiB");

struct vhdx_region {
	uint8_t guid[16];
	uint64_t offset;
	uint32_t length;
	uint32_t required;
} __attribute__((packed));

struct vhdx_regions {
	char signature[4]; /* "regi" */
	uint32_t checksum; /* over all 64 KiB */
	uint32_t count;
	uint32_t reserved;
	struct vhdx_region region[2047];
	uint8_t pad[16];
} __attribute__((packed));
_Static_assert(sizeof(struct vhdx_regions) == VHDX_REGION_SIZE, "VHDX region table is 64 KiB");

struct vhdx_meta_entry {
	uint8_t guid[16];
	uint32_t offset; /* from the region's start */
	uint32_t length;
	uint32_t flags;
	uint32_t reserved;
} __attribute__((packed));

struct vhdx_meta_table {
	char signature[8]; /* "metadata" */
	uint16_t reserved;
	uint16_t count;
	uint8_t reserved2[20];
	struct vhdx_meta_entry entry[2047];
} __attribute__((packed));
_Static_assert(sizeof(struct vhdx_meta_table) == 65536, "VHDX metadata table is 64 KiB");

struct vhdx_log_header {
	char signature[4]; /* "loge" */
	uint32_t checksum; /* over the whole entry */
	uint32_t length;
	uint32_t tail;
	uint64_t sequence;
	uint32_t count;
	uint32_t reserved;
	uint8_t guid[16];
	uint64_t flushed_size; /* the file was at least this long, durably */
	uint64_t last_size;
} __attribute__((packed));
_Static_assert(sizeof(struct vhdx_log_header) == 64, "VHDX log entry header is 64 bytes");

struct vhdx_log_desc {
	char signature[4]; /* "desc" or "zero" */
	uint32_t trailing; /* data: the page's last 4 bytes */
	uint64_t leading;  /* data: its first 8; zero: how many bytes */
	uint64_t offset;
	uint64_t sequence;
} __attribute__((packed));
_Static_assert(sizeof(struct vhdx_log_desc) == 32, "VHDX log descriptor is 32 bytes");

struct vhdx_log_data {
	char signature[4]; /* "data" */
	uint32_t sequence_high;
	uint8_t data[4084];
	uint32_t sequence_low;
} __attribute__((packed));
_Static_assert(sizeof(struct vhdx_log_data) == 4096, "VHDX log data sector is 4 KiB");

struct vhdx_page {
	bool dirty;
	uint8_t data[VHDX_PAGE];
};

/* What a dirty log says about a file that was opened read-only. */
struct vhdx_overlay {
	uint64_t offset, zeros; /* zeros: length of a run of zeros; 0: `data` is one page */
	uint8_t *data;
};

struct vhdx {
	struct vhdx_header header; /* the current one, as on disk */
	int which;                 /* 0 or 1: where it is */
	uint64_t bat_at, bat_length, meta_at, meta_length;
	struct {
		uint32_t at, length; /* in the metadata region; length 0: not there */
	} item[6];                   /* enum vhdx_item */
	uint8_t disk_id[16];
	bool fixed;               /* LeaveBlockAllocated */
	uint32_t ratio;           /* payload blocks in a chunk */
	uint64_t blocks, entries; /* payload blocks; entries of the BAT, bitmaps counted */
	uint64_t data_end;        /* end of the last thing in the file, multiple of 1 MiB */
	uint64_t file_end;
	bool stamped, grown, was_dirty;
	bool ahead; /* the table in memory knows blocks past the file's end: another process's */

	struct vhdx_page **bat;    /* one per 512 entries */
	struct vhdx_page **bitmap; /* 256 per chunk; children only */
	uint64_t bat_pages, bitmap_pages, loaded, dirty;
	bool meta_dirty;

	uint64_t log_at, log_sequence; /* next entry: offset in the log, number */
	bool log_active;
	struct vhdx_overlay *overlay;
	size_t overlays;

	uint8_t linkage[2][16]; /* a child's parent_linkage and parent_linkage2 */
	bool has_linkage2;
	struct {
		uint64_t *at;
		uint32_t n, room;
	} gone, reuse;
};

enum vhdx_item {
	ITEM_PARAMETERS,
	ITEM_SIZE,
	ITEM_ID,
	ITEM_LOGICAL,
	ITEM_PHYSICAL,
	ITEM_LOCATOR,
};

extern const uint8_t vhdx_region_bat[16], vhdx_region_meta[16], vhdx_item_guid[6][16];
extern const uint8_t vhdx_locator_type[16];
extern const struct disk_ops vhdx_ops;

/* vhdx_format.c */
bool vhdx_header_ok(const struct vhdx_header *h);
void vhdx_header_seal(struct vhdx_header *h);
bool vhdx_regions_ok(const struct vhdx_regions *r);
void vhdx_regions_seal(struct vhdx_regions *r);
/* The newest good header: 0 and *which, or -EUCLEAN. */
int vhdx_pick_header(int fd, struct vhdx_header *h, int *which, bool ok[2]);
int vhdx_read_regions(struct disk *d, uint64_t file_size, bool ok[2]);
int vhdx_read_metadata(struct disk *d);
bool vhdx_is_vhdx(int fd);
void vhdx_layout(struct disk *d); /* ratio, blocks, entries from size and block size */
uint64_t vhdx_entries(uint64_t blocks, uint32_t ratio, bool child);

/* vhdx_open.c */
int vhdx_write_header(struct disk *d); /* v->header with the next number, to the other place */
int vhdx_stamp(struct disk *d);
int vhdx_stamp_as(struct disk *d, const uint8_t data_write_guid[16]);
/* Calls f for each entry of the BAT that is not 0. */
int vhdx_visit_entries(struct disk *d, int (*f)(void *arg, uint64_t index, uint64_t entry),
		       void *arg);
bool vhdx_has_place(uint64_t entry);
bool vhdx_is_bitmap_index(const struct vhdx *v, uint64_t index);
int vhdx_find_end(struct disk *d);
bool vhdx_is_zero_guid(const uint8_t guid[16]);
void vhdx_guid_text(const uint8_t guid[16], char text[40]);

/* vhdx_log.c */
int vhdx_log_replay(struct disk *d, uint64_t file_size);
struct vhdx_write { /* one page to go through the log */
	uint64_t offset;
	const uint8_t *data;
};
int vhdx_log_write(struct disk *d, const struct vhdx_write *writes, uint32_t n);
int vhdx_meta_read(struct disk *d, void *buf, size_t length, uint64_t offset);

/* vhdx_pages.c; the lock is held */
int vhdx_bat_get(struct disk *d, uint64_t index, uint64_t *entry);
int vhdx_bat_set(struct disk *d, uint64_t index, uint64_t entry);
int vhdx_bitmap_page(struct disk *d, uint64_t block, struct vhdx_page **page, uint32_t *bit);
void vhdx_page_dirty(struct disk *d, struct vhdx_page *page);
void vhdx_pages_free(struct vhdx *v);
uint64_t vhdx_page_place(struct disk *d, uint64_t page, bool bitmap);

static inline uint64_t vhdx_bat_index(const struct vhdx *v, uint64_t block)
{
	return block + block / v->ratio;
}

static inline uint64_t vhdx_bitmap_index(const struct vhdx *v, uint64_t chunk)
{
	return chunk * (v->ratio + 1ull) + v->ratio;
}

/* vhdx_map.c */
int vhdx_map(struct disk *d, uint64_t offset, uint64_t *length, enum layer_kind *kind,
	     uint64_t *file_offset);
int vhdx_prepare(struct disk *d, uint64_t offset, uint64_t *length, uint64_t *file_offset);
int vhdx_commit(struct disk *d, uint64_t offset, uint64_t length);
int vhdx_discard(struct disk *d, uint64_t offset, uint64_t *length, bool zero);
int vhdx_drop_block(struct disk *d, uint64_t offset, uint64_t *freed);
int vhdx_set_state(struct disk *d, uint64_t block, enum vhdx_state state, uint64_t at);
int vhdx_release(struct disk *d, uint64_t block, enum vhdx_state state);

/* The bitmap page for a sector inside a block, and its bit there; *max: sectors left in that page.
 * NULL: the chunk has no bitmap yet. */
int vhdx_page_of(struct disk *d, uint64_t block, uint32_t sector, struct vhdx_page **page, uint32_t *at,
		 uint32_t *max);
void vhdx_gone(struct vhdx *v, uint64_t at); /* a block's place is free with the next flush */
void vhdx_set_bits(uint8_t *bits, uint32_t first, uint32_t n);

/* vhdx_kept.c: after opening, before the first write: 0 or a negative errno */
int vhdx_go_on(struct disk *d);
void vhdx_bind(struct disk *d); /* after stamping */
/* Of `struct kept_record`. ENTRY: of the BAT. GONE: a block (no index) was at `value`. BITS, NO_BITS:
 * of a block, [value >> 32, + the rest of value) are set or clear; within one page. */
enum vhdx_kept { VHDX_KEPT_ENTRY = 1, VHDX_KEPT_GONE, VHDX_KEPT_BITS, VHDX_KEPT_NO_BITS };

/* vhdx_flush.c */
int vhdx_flush_locked(struct disk *d);

/* vhdx_locator.c */
int vhdx_read_locator(struct disk *d);
/* Builds the item into buf; returns its length, or 0 when it does not fit. */
size_t vhdx_build_locator(uint8_t *buf, size_t size, const uint8_t linkage[16],
			  const uint8_t *linkage2, const char *relative, const char *absolute);

/* vhdx_change.c */
int vhdx_resize(struct disk *d, uint64_t size);
int vhdx_set_parent(struct disk *d, struct disk *parent, const char *relative,
		    const char *absolute);
int vhdx_merge_begin(struct disk *child, struct disk *parent);

/* vhdx_compact.c */
int vhdx_compact_tail(struct disk *d, const struct disk_progress *progress, uint64_t *moved);

#endif
