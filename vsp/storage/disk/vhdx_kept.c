/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on with a VHDX where another process died: the file, with its log, has what that had flushed;
 * the rest is in the memory that it left (kept.h).
 */
#include "vsp/storage/disk/vhdx.h"

#define MAX_PLACE (2 * VHDX_MAX_SIZE) /* blocks, with gaps */

static void identify(const struct vhdx *v, uint8_t identity[KEPT_IDENTITY])
{
	memset(identity, 0, KEPT_IDENTITY);
	memcpy(identity, v->header.data_write_guid, 16);
}

void vhdx_bind(struct disk *d)
{
	struct vhdx *v = d->priv;
	uint8_t identity[KEPT_IDENTITY];

	v->stamped = true;
	identify(v, identity);
	kept_bind(d, identity);
}

static int replay_bits(struct disk *d, const struct kept_record *r)
{
	uint64_t first = r->value >> 32, n = r->value & UINT32_MAX;
	struct vhdx *v = d->priv;
	struct vhdx_page *page;
	uint32_t at, max;
	int err;

	if (!d->has_parent || r->index >= v->blocks || !n ||
	    !range_ok(first, n, d->block_size / d->sector_size))
		return -EUCLEAN;
	err = vhdx_page_of(d, r->index, (uint32_t)first, &page, &at, &max);
	if (err)
		return err;
	if (!page || n > max || (r->type == VHDX_KEPT_NO_BITS && (at | n) % 8))
		return -EUCLEAN;
	if (r->type == VHDX_KEPT_BITS)
		vhdx_set_bits(page->data, at, (uint32_t)n);
	else
		memset(page->data + at / 8, 0, n / 8);
	vhdx_page_dirty(d, page);
	return 0;
}

/* What comes last counts; the table as a whole is checked afterwards. */
static int replay(struct disk *d, const struct kept_record *r)
{
	struct vhdx *v = d->priv;

	switch (r->type) {
	case VHDX_KEPT_ENTRY:
		if (r->index >= v->entries || r->value > MAX_PLACE)
			return -EUCLEAN;
		/* Where bitmaps and blocks are read before that: any place is as good as another. */
		v->data_end = max_u64(v->data_end, (r->value >> 20 << 20) + VHDX_MIB);
		return vhdx_bat_set(d, r->index, r->value);
	case VHDX_KEPT_GONE:
		if (r->value < VHDX_MIB || r->value % VHDX_MIB || r->value > MAX_PLACE)
			return -EUCLEAN;
		vhdx_gone(v, r->value);
		return 0;
	case VHDX_KEPT_BITS:
	case VHDX_KEPT_NO_BITS:
		return replay_bits(d, r);
	default:
		return -EUCLEAN;
	}
}

/* New blocks lie where nothing was ever written: past the file's end and what was freed there. */
static uint64_t end_of(const struct disk *d)
{
	const struct vhdx *v = d->priv;
	uint64_t end = max_u64(v->data_end, round_up(v->file_end, VHDX_MIB));

	for (uint32_t i = 0; i < v->gone.n; i++)
		end = max_u64(end, v->gone.at[i] + d->block_size);
	return end;
}

int vhdx_go_on(struct disk *d)
{
	struct vhdx *v = d->priv;
	uint8_t identity[KEPT_IDENTITY];
	int err;

	identify(v, identity);
	err = kept_goes_on(d, identity);
	if (err <= 0)
		return err;
	v->stamped = true;
	v->ahead = true;
	err = kept_replay(d, replay);
	if (!err)
		err = vhdx_find_end(d);
	if (err)
		return err;
	v->data_end = end_of(d);
	v->grown = true;
	return 0;
}
