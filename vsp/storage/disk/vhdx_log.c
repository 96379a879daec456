/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a VHDX. Replay follows [MS-VHDX] 2.3.3: of the entries in the ring, the chain with the
 * highest number that is whole from its tail to its head. Writing keeps chains one entry long: an
 * entry is written only after what the one before it described is durable in its place, and
 * never over that one, so there is always one good entry.
 */
#include "vsp/storage/disk/crc32c.h"
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>
#include <sys/random.h>

#define MAX_REPLAY_GROWTH (1ull << 30) /* a log may lengthen the file by that much */

struct entry {
	uint32_t at, length, tail, count;
	uint64_t sequence, flushed, last;
};

struct ring {
	struct disk *d;
	uint64_t base, file_size;
	uint32_t length;
	struct entry *entry; /* good ones, by place */
	size_t n, room;
	uint64_t budget; /* bytes to checksum: hostile entries may all overlap */
};

static int ring_read(const struct ring *r, void *buf, uint32_t length, uint32_t at)
{
	uint32_t first = (uint32_t)min_u64(length, r->length - at);
	int err = io_read(r->d->fd, buf, first, r->base + at);

	if (!err && length > first)
		err = io_read(r->d->fd, (char *)buf + first, length - first, r->base);
	return err;
}

/* Checksums the entry in pieces, without holding it in memory. */
static int entry_sum(const struct ring *r, uint32_t at, uint32_t length, uint32_t *sum)
{
	uint8_t page[VHDX_PAGE];
	uint32_t crc = ~0u;

	for (uint32_t done = 0; done < length; done += VHDX_PAGE) {
		int err = ring_read(r, page, VHDX_PAGE,
				    (uint32_t)((at + (uint64_t)done) % r->length));

		if (err)
			return err;
		if (!done)
			memset(page + 4, 0, 4);
		crc = crc32c(crc, page, VHDX_PAGE);
	}
	*sum = ~crc;
	return 0;
}

static int try_entry(struct ring *r, uint32_t at, const uint8_t guid[16])
{
	struct vhdx_log_header h;
	uint32_t length, sum, count;
	int err = ring_read(r, &h, sizeof(h), at);

	if (err || memcmp(h.signature, "loge", 4) || memcmp(h.guid, guid, 16))
		return err;
	length = le32toh(h.length);
	count = le32toh(h.count);
	if (!length || length % VHDX_PAGE || length > r->length || le32toh(h.tail) >= r->length ||
	    le32toh(h.tail) % VHDX_PAGE || count > length / 32 || !le64toh(h.sequence))
		return 0;
	if (length > r->budget)
		return disk_fail(r->d, -EUCLEAN, "its log is damaged");
	r->budget -= length;
	err = entry_sum(r, at, length, &sum);
	if (err || sum != le32toh(h.checksum))
		return err;
	if (r->n == r->room) {
		size_t room = r->room ? r->room * 2 : 64;
		struct entry *grown = realloc(r->entry, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->entry = grown;
		r->room = room;
	}
	r->entry[r->n++] = (struct entry){at,
					  length,
					  le32toh(h.tail),
					  count,
					  le64toh(h.sequence),
					  le64toh(h.flushed_size),
					  le64toh(h.last_size)};
	return 0;
}

static const struct entry *entry_at(const struct ring *r, uint32_t at)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (r->entry[mid].at < at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < r->n && r->entry[lo].at == at ? &r->entry[lo] : NULL;
}

/* Whether the chain that ends in `head` is whole; *first is where it starts. */
static bool chain_ok(const struct ring *r, const struct entry *head, const struct entry **first)
{
	const struct entry *e = entry_at(r, head->tail);
	uint64_t total = 0;

	*first = e;
	while (e) {
		const struct entry *next;

		total += e->length;
		if (e == head)
			return total <= r->length;
		next = entry_at(r, (uint32_t)((e->at + (uint64_t)e->length) % r->length));
		if (!next || next->sequence != e->sequence + 1 || total > r->length)
			return false;
		e = next;
	}
	return false;
}

static const struct entry *find_head(const struct ring *r, const struct entry **first)
{
	uint64_t below = UINT64_MAX;

	for (int tries = 0; tries < 64; tries++) {
		const struct entry *best = NULL;

		for (size_t i = 0; i < r->n; i++)
			if (r->entry[i].sequence < below &&
			    (!best || r->entry[i].sequence > best->sequence))
				best = &r->entry[i];
		if (!best)
			return NULL;
		if (chain_ok(r, best, first))
			return best;
		below = best->sequence;
	}
	return NULL;
}

/* To the file when it is writable, else into memory, where vhdx_meta_read() finds it. */
static int apply(struct disk *d, uint64_t offset, const uint8_t *data, uint64_t zeros)
{
	struct vhdx *v = d->priv;
	struct vhdx_overlay *grown, *o;

	if (d->flags & DISK_RDWR)
		return zeros ? d->io->punch(d->fd, offset, zeros)
			     : io_write(d->io, d->fd, data, VHDX_PAGE, offset);
	grown = realloc(v->overlay, (v->overlays + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	v->overlay = grown;
	o = &grown[v->overlays];
	*o = (struct vhdx_overlay){offset, zeros, NULL};
	if (!zeros) {
		o->data = malloc(VHDX_PAGE);
		if (!o->data)
			return -ENOMEM;
		memcpy(o->data, data, VHDX_PAGE);
	}
	v->overlays++;
	return 0;
}

static int replay_desc(struct ring *r, const struct entry *e, const struct vhdx_log_desc *desc,
		       uint32_t *data_at)
{
	uint64_t offset = le64toh(desc->offset), zeros = le64toh(desc->leading);
	struct vhdx_log_data sector;
	uint8_t page[VHDX_PAGE];
	bool is_data = !memcmp(desc->signature, "desc", 4);
	int err;

	if (le64toh(desc->sequence) != e->sequence || offset % VHDX_PAGE || offset < VHDX_MIB ||
	    (!is_data && memcmp(desc->signature, "zero", 4)))
		return disk_fail(r->d, -EUCLEAN, "its log is damaged");
	/* Nothing is written behind what the log itself says the file's length is. */
	if (!range_ok(offset, is_data ? VHDX_PAGE : zeros, max_u64(e->last, r->file_size)))
		return disk_fail(r->d, -EUCLEAN, "its log writes outside the file");
	if (!is_data)
		return zeros && zeros % VHDX_PAGE == 0 ? apply(r->d, offset, NULL, zeros) : 0;
	if (*data_at + VHDX_PAGE > e->length)
		return disk_fail(r->d, -EUCLEAN, "its log is damaged");
	err = ring_read(r, &sector, sizeof(sector),
			(uint32_t)((e->at + (uint64_t)*data_at) % r->length));
	*data_at += VHDX_PAGE;
	if (err)
		return err;
	if (memcmp(sector.signature, "data", 4) || ((uint64_t)le32toh(sector.sequence_high) << 32 |
						    le32toh(sector.sequence_low)) != e->sequence)
		return disk_fail(r->d, -EUCLEAN, "its log is damaged");
	memcpy(page, &desc->leading, 8);
	memcpy(page + 8, sector.data, 4084);
	memcpy(page + 4092, &desc->trailing, 4);
	return apply(r->d, offset, page, 0);
}

static int replay_entry(struct ring *r, const struct entry *e)
{
	uint32_t data_at = (uint32_t)round_up(64 + e->count * 32ull, VHDX_PAGE);
	int err = 0;

	if (data_at > e->length)
		return disk_fail(r->d, -EUCLEAN, "its log is damaged");
	for (uint32_t i = 0; i < e->count && !err; i++) {
		struct vhdx_log_desc desc;

		err = ring_read(r, &desc, sizeof(desc),
				(uint32_t)((e->at + 64 + i * 32ull) % r->length));
		if (!err)
			err = replay_desc(r, e, &desc, &data_at);
	}
	return err;
}

static int replay_chain(struct ring *r, const struct entry *first, const struct entry *head)
{
	struct disk *d = r->d;
	struct vhdx *v = d->priv;
	int err = 0;

	if (head->flushed > r->file_size)
		return disk_fail(d, -EUCLEAN, "its file was cut short");
	if (head->last > r->file_size + MAX_REPLAY_GROWTH)
		return disk_fail(d, -EUCLEAN, "its log is damaged");
	for (const struct entry *e = first; !err;
	     e = entry_at(r, (uint32_t)((e->at + (uint64_t)e->length) % r->length))) {
		err = replay_entry(r, e);
		if (e == head)
			break;
	}
	if (!err && (d->flags & DISK_RDWR) && head->last > r->file_size)
		err = d->io->truncate(d->fd, round_up(head->last, VHDX_MIB));
	else if (!err) /* a reader takes the file for as long as a writer would make it */
		v->file_end = max_u64(r->file_size, round_up(head->last, VHDX_MIB));
	return err;
}

int vhdx_log_replay(struct disk *d, uint64_t file_size)
{
	struct vhdx *v = d->priv;
	struct ring r = {.d = d,
			 .base = le64toh(v->header.log_offset),
			 .length = le32toh(v->header.log_length),
			 .file_size = file_size};
	const struct entry *first, *head;
	int err = 0;

	if (vhdx_is_zero_guid(v->header.log_guid))
		return 0;
	if (le16toh(v->header.log_version))
		return disk_fail(d, -ENOTSUP, "its log has version %u",
				 le16toh(v->header.log_version));
	r.budget = 4ull * r.length + VHDX_MIB;
	for (uint32_t at = 0; at < r.length && !err; at += VHDX_PAGE)
		err = try_entry(&r, at, v->header.log_guid);
	head = err ? NULL : find_head(&r, &first);
	v->was_dirty = true;
	if (head)
		err = replay_chain(&r, first, head);
	free(r.entry);
	if (err || !(d->flags & DISK_RDWR))
		return err;
	err = d->io->sync(d->fd);
	memset(v->header.log_guid, 0, 16);
	return err ? err : vhdx_write_header(d);
}

int vhdx_meta_read(struct disk *d, void *buf, size_t length, uint64_t offset)
{
	struct vhdx *v = d->priv;
	int err = io_read(d->fd, buf, length, offset);

	for (size_t i = 0; i < v->overlays && !err; i++) {
		const struct vhdx_overlay *o = &v->overlay[i];
		uint64_t size = o->zeros ? o->zeros : VHDX_PAGE;
		uint64_t from = max_u64(o->offset, offset);
		uint64_t to = min_u64(o->offset + size, offset + length);

		if (from >= to)
			continue;
		if (o->zeros)
			memset((char *)buf + (from - offset), 0, to - from);
		else
			memcpy((char *)buf + (from - offset), o->data + (from - o->offset),
			       to - from);
	}
	return err;
}

static void build_entry(struct disk *d, uint8_t *buf, uint32_t length,
			const struct vhdx_write *writes, uint32_t n)
{
	struct vhdx *v = d->priv;
	struct vhdx_log_header *h = (void *)buf;
	struct vhdx_log_desc *desc = (void *)(buf + 64);
	struct vhdx_log_data *data = (void *)(buf + round_up(64 + n * 32ull, VHDX_PAGE));
	uint64_t sequence = v->log_sequence;

	memset(buf, 0, length);
	memcpy(h->signature, "loge", 4);
	h->length = htole32(length);
	h->tail = htole32((uint32_t)v->log_at);
	h->sequence = htole64(sequence);
	h->count = htole32(n);
	memcpy(h->guid, v->header.log_guid, 16);
	h->flushed_size = h->last_size = htole64(v->file_end);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(desc[i].signature, "desc", 4);
		memcpy(&desc[i].leading, writes[i].data, 8);
		memcpy(&desc[i].trailing, writes[i].data + 4092, 4);
		desc[i].offset = htole64(writes[i].offset);
		desc[i].sequence = htole64(sequence);
		memcpy(data[i].signature, "data", 4);
		data[i].sequence_high = htole32((uint32_t)(sequence >> 32));
		data[i].sequence_low = htole32((uint32_t)sequence);
		memcpy(data[i].data, writes[i].data + 8, 4084);
	}
	h->checksum = htole32(~crc32c(~0u, buf, length));
}

static int ring_write(struct disk *d, const uint8_t *buf, uint32_t length)
{
	struct vhdx *v = d->priv;
	uint64_t base = le64toh(v->header.log_offset);
	uint32_t room = le32toh(v->header.log_length);
	uint32_t first = (uint32_t)min_u64(length, room - v->log_at);
	int err = io_write(d->io, d->fd, buf, first, base + v->log_at);

	if (!err && length > first)
		err = io_write(d->io, d->fd, buf + first, length - first, base);
	if (!err)
		v->log_at = (v->log_at + length) % room;
	return err;
}

/* One entry, durable; then its pages in their places, not yet durable. */
static int write_entry(struct disk *d, const struct vhdx_write *writes, uint32_t n)
{
	struct vhdx *v = d->priv;
	uint32_t length = (uint32_t)(round_up(64 + n * 32ull, VHDX_PAGE) + n * (uint64_t)VHDX_PAGE);
	uint8_t *buf = malloc(length);
	bool start = !v->log_active;
	int err;

	if (!buf)
		return -ENOMEM;
	if (start) {
		if (getrandom(v->header.log_guid, 16, 0) != 16)
			abort();
		v->log_sequence = v->log_sequence ? v->log_sequence : 1;
	}
	build_entry(d, buf, length, writes, n);
	err = ring_write(d, buf, length);
	free(buf);
	if (!err)
		err = d->io->sync(d->fd);
	v->log_sequence++;
	/* Only with a good entry in the log does the header point at it. */
	if (!err && start) {
		err = vhdx_write_header(d);
		v->log_active = !err;
	}
	for (uint32_t i = 0; i < n && !err; i++)
		err = io_write(d->io, d->fd, writes[i].data, VHDX_PAGE, writes[i].offset);
	return err;
}

int vhdx_log_write(struct disk *d, const struct vhdx_write *writes, uint32_t n)
{
	struct vhdx *v = d->priv;
	/* Two entries fit the log, so the last good one is never overwritten. */
	uint32_t most = le32toh(v->header.log_length) / 2 / VHDX_PAGE - 4;
	int err = 0;

	for (uint32_t done = 0; done < n && !err; done += most) {
		if (done)
			err = d->io->sync(d->fd);
		if (!err)
			err = write_entry(d, writes + done, (uint32_t)min_u64(most, n - done));
	}
	return err;
}
