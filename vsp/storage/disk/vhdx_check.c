/* SPDX-License-Identifier: Apache-2.0 */
/* Checking and repairing a VHDX. Repair replays the log first: what it holds is the truth. */
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>
#include <unistd.h>

struct xref {
	uint64_t at, length, index;
};

struct xcheck {
	struct checker *c;
	struct disk *d;
	struct xref *ref;
	uint64_t n, room, file_size;
	int err;
};

static bool hits(uint64_t at, uint64_t length, uint64_t other, uint64_t other_length)
{
	return at < other + other_length && other < at + length;
}

static bool in_metadata(const struct vhdx *v, uint64_t at, uint64_t length)
{
	return at < VHDX_MIB || hits(at, length, v->bat_at, v->bat_length) ||
	       hits(at, length, v->meta_at, v->meta_length) ||
	       hits(at, length, le64toh(v->header.log_offset), le32toh(v->header.log_length));
}

static int clear_entry(struct xcheck *k, uint64_t index)
{
	if (!k->c->repair)
		return 0;
	k->c->report->repaired++;
	return vhdx_bat_set(k->d, index, 0);
}

static int check_entry(void *arg, uint64_t index, uint64_t entry)
{
	struct xcheck *k = arg;
	struct vhdx *v = k->d->priv;
	bool bitmap = vhdx_is_bitmap_index(v, index);
	uint64_t at = entry >> 20 << 20, length = bitmap ? VHDX_MIB : k->d->block_size;
	unsigned state = entry & 7;
	bool known = state <= VHDX_UNMAPPED || state == VHDX_FULL ||
		     (state == VHDX_PARTIAL && k->d->has_parent && !bitmap);

	if (bitmap && !k->d->has_parent) /* reserved there, and never looked at */
		return 0;
	if (!known) {
		k->c->report->errors++;
		checker_note(k->c, DISK_PROBLEM_STATE, 0, "table entry %llu has state %u",
			     (unsigned long long)index, state);
		return clear_entry(k, index);
	}
	if (!vhdx_has_place(entry))
		return 0;
	if (in_metadata(v, at, length) || at >= k->file_size) {
		k->c->report->errors++;
		checker_note(k->c, DISK_PROBLEM_RANGE, length,
			     "table entry %llu lies outside the file or in metadata",
			     (unsigned long long)index);
		return clear_entry(k, index);
	}
	if (at + length > k->file_size) {
		k->c->report->errors++;
		checker_note(k->c, DISK_PROBLEM_CUT, at + length - k->file_size,
			     "the file ends inside table entry %llu's block",
			     (unsigned long long)index);
	}
	if (k->n == k->room) {
		uint64_t room = k->room ? k->room * 2 : 1024;
		struct xref *grown = realloc(k->ref, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		k->ref = grown;
		k->room = room;
	}
	k->ref[k->n++] = (struct xref){at, length, index};
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct xref *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int give_own_copy(struct xcheck *k, const struct xref *r)
{
	struct vhdx *v = k->d->priv;
	uint64_t to = round_up(max_u64(v->data_end, k->file_size), VHDX_MIB), entry;
	char *buf = malloc(VHDX_MIB);
	int err = buf ? 0 : -ENOMEM;

	for (uint64_t done = 0; done < r->length && !err; done += VHDX_MIB) {
		err = io_read(k->d->fd, buf, VHDX_MIB, r->at + done);
		if (!err)
			err = io_write(k->c->io, k->d->fd, buf, VHDX_MIB, to + done);
	}
	free(buf);
	if (!err)
		err = vhdx_bat_get(k->d, r->index, &entry);
	if (!err)
		err = vhdx_bat_set(k->d, r->index, to | (entry & 7));
	v->data_end = to + r->length;
	v->grown = true;
	k->c->report->repaired++;
	return err;
}

static int check_overlaps(struct xcheck *k)
{
	uint64_t end = 0;
	int err = 0;

	if (k->n)
		sort_in_place(k->ref, k->n, sizeof(*k->ref), compare);
	for (uint64_t i = 0; i < k->n && !err; i++) {
		const struct xref *r = &k->ref[i];

		if (r->at < end) {
			k->c->report->errors++;
			checker_note(k->c, DISK_PROBLEM_OVERLAP, end - r->at,
				     "table entries %llu and %llu share bytes of the file",
				     (unsigned long long)k->ref[i - 1].index,
				     (unsigned long long)r->index);
			if (k->c->repair)
				err = give_own_copy(k, r);
		}
		end = max_u64(end, r->at + r->length);
	}
	return err;
}

static int check_copies(struct xcheck *k, bool headers[2], bool regions[2])
{
	struct vhdx *v = k->d->priv;
	char *buf;
	int err = 0;

	if (!headers[0] || !headers[1]) {
		checker_note(k->c, DISK_PROBLEM_HEADER, 4096, "one of the two headers is damaged");
		if (k->c->repair) /* writing a header goes to the place of the other one */
			err = vhdx_write_header(k->d), k->c->report->repaired++;
	}
	if (regions[0] != regions[1] && !err) {
		checker_note(k->c, DISK_PROBLEM_HEADER, 65536,
			     "one of the two region tables is damaged");
		buf = k->c->repair ? malloc(VHDX_REGION_SIZE) : NULL;
		if (buf) {
			err = io_read(k->d->fd, buf, VHDX_REGION_SIZE,
				      VHDX_REGION_AT + (regions[0] ? 0 : VHDX_REGION_SIZE));
			if (!err)
				err = io_write(k->c->io, k->d->fd, buf, VHDX_REGION_SIZE,
					       VHDX_REGION_AT +
						       (regions[0] ? VHDX_REGION_SIZE : 0));
			k->c->report->repaired++;
		}
		free(buf);
	}
	if (v->was_dirty) {
		checker_note(k->c, DISK_PROBLEM_LOG, 0,
			     "the log holds changes that were not applied");
		k->c->report->repaired += k->c->repair;
	}
	return err;
}

/* What was cut off is lost, and reads as zero from here on. */
static int lengthen(struct xcheck *k)
{
	struct vhdx *v = k->d->priv;
	int err;

	if (!k->c->repair || !k->c->report->count[DISK_PROBLEM_CUT])
		return 0;
	err = vhdx_find_end(k->d);
	if (err)
		return err;
	err = k->c->io->truncate(k->d->fd, round_up(v->data_end, VHDX_MIB));
	if (!err)
		v->file_end = round_up(v->data_end, VHDX_MIB);
	k->c->report->repaired += !err;
	return err;
}

int vhdx_check(struct checker *c)
{
	char why[200] = "";
	struct disk_options o = {.format = DISK_FORMAT_VHDX,
				 .flags = DISK_NO_LOCK | DISK_NO_PARENT | DISK_LENIENT |
					  (c->repair ? DISK_RDWR : 0),
				 .io = c->io,
				 .why = why,
				 .why_size = sizeof(why)};
	struct xcheck k = {.c = c};
	struct vhdx_header h;
	bool headers[2], regions[2], device;
	int which, err, err2, fd;

	if (!vhdx_is_vhdx(c->fd))
		return -EMEDIUMTYPE;
	fd = dup(c->fd); /* the disk closes its own */
	if (fd < 0)
		return -errno;
	err = vhdx_pick_header(fd, &h, &which, headers);
	if (!err)
		err = disk_open(fd, &o, &k.d);
	if (err) {
		c->report->errors++;
		checker_note(c, DISK_PROBLEM_HEADER, 0, "%s", why[0] ? why : "headers damaged");
		close(fd);
		return err;
	}
	err = io_size(fd, &k.file_size, &device);
	if (!err)
		err = vhdx_read_regions(k.d, k.file_size, regions);
	if (!err)
		err = check_copies(&k, headers, regions);
	if (!err)
		err = vhdx_visit_entries(k.d, check_entry, &k);
	if (!err) /* without the entries that were cleared */
		err = vhdx_find_end(k.d);
	if (!err)
		err = check_overlaps(&k);
	if (!err)
		err = lengthen(&k);
	free(k.ref);
	err2 = disk_close(k.d);
	return err ? err : err2;
}
