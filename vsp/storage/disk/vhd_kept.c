/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on with a VHD where another process died: the file has what that had flushed, and perhaps
 * part of a flush; the rest is in the memory that it left (kept.h).
 */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

static void identify(const struct vhd *v, uint8_t identity[KEPT_IDENTITY])
{
	memcpy(identity, v->footer.id, 16);
	memcpy(identity + 16, &v->footer.timestamp, 4);
}

void vhd_bind(struct disk *d)
{
	struct vhd *v = d->priv;
	uint8_t identity[KEPT_IDENTITY];

	v->stamped = true;
	identify(v, identity);
	kept_bind(d, identity);
}

static int replay_block(struct disk *d, uint32_t block, uint64_t sector)
{
	struct vhd *v = d->priv;
	struct vhd_bitmap **slot = vhd_map_slot(v, block);

	if (!slot)
		return -ENOMEM;
	if (*slot != BITMAP_UNKNOWN) /* it was there, and has not gone */
		return -EUCLEAN;
	vhd_place(d, block, slot, (uint32_t)sector);
	return 0;
}

static int replay_gone(struct disk *d, uint32_t block, uint64_t sector)
{
	struct vhd *v = d->priv;

	v->bat[block] = (uint32_t)sector;
	vhd_release(d, block);
	return 0;
}

static int replay_bits(struct disk *d, uint32_t block, uint64_t value)
{
	uint64_t first = value >> 32, n = value & UINT32_MAX, sectors = d->block_size / DISK_SECTOR;
	struct vhd *v = d->priv;

	if (!n || !range_ok(first, n, sectors))
		return -EUCLEAN;
	if (v->bat[block] == VHD_UNUSED) /* a flush got as far as the table, where it has gone */
		return 0;
	return vhd_claim(d, block, (uint32_t)first, (uint32_t)n);
}

/* The file's table may be newer than the record, if a flush got that far: what comes last counts, and
 * is checked as a whole. */
static int replay(struct disk *d, const struct kept_record *r)
{
	struct vhd *v = d->priv;

	if (r->index >= v->entries)
		return -EUCLEAN;
	if (r->type == VHD_KEPT_BITS)
		return replay_bits(d, r->index, r->value);
	if (!r->value || r->value >= VHD_UNUSED)
		return -EUCLEAN;
	if (r->type == VHD_KEPT_BLOCK)
		return replay_block(d, r->index, r->value);
	return r->type == VHD_KEPT_GONE ? replay_gone(d, r->index, r->value) : -EUCLEAN;
}

/* New blocks lie where nothing was ever written: past the file's end and what was freed there. */
static uint64_t end_of(const struct disk *d)
{
	const struct vhd *v = d->priv;
	uint64_t end = max_u64(vhd_data_end(v), round_up(v->file_end, DISK_SECTOR));

	for (uint32_t i = 0; i < v->gone.n; i++)
		end = max_u64(end, (uint64_t)v->gone.sector[i] * DISK_SECTOR + v->bitmap_size +
					   d->block_size);
	return end;
}

int vhd_go_on(struct disk *d)
{
	struct vhd *v = d->priv;
	uint8_t identity[KEPT_IDENTITY];
	int err;

	identify(v, identity);
	err = kept_goes_on(d, identity);
	if (err <= 0)
		return err;
	v->stamped = true;
	if (d->type == DISK_TYPE_FIXED)
		return 0;
	err = kept_replay(d, replay);
	if (!err)
		err = vhd_check_table(d);
	if (err)
		return err;
	if (!v->footer_at_end || v->meta_dirty) {
		v->data_end = end_of(d);
		v->grown = true;
		v->footer_at_end = false;
	}
	return 0;
}
