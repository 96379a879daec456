/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking and repairing a VHD, from the outside in: footers, header, then the table against the
 * file. Repair never guesses at contents: a good footer replaces a bad one; an entry that points
 * nowhere is cleared; of two blocks that share bytes, the later in the file gets its own copy.
 */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

struct ref {
	uint64_t at;
	uint32_t block;
};

struct vcheck {
	struct checker *c;
	struct disk d; /* enough of one for the helpers */
	struct vhd v;
	uint64_t file_size;
	char why[200];
};

static int repair_footers(struct vcheck *k, bool front, bool end, const struct vhd_footer *ef)
{
	struct vhd *v = &k->v;
	bool fixed = be32toh(v->footer.type) == VHD_FIXED;
	bool same = front && end && !memcmp(&v->footer, ef, sizeof(*ef));
	int err = 0;

	if (fixed || same)
		return 0;
	if (!end)
		checker_note(k->c, DISK_PROBLEM_FOOTER, 512,
			     "the footer at the end of the file is missing or damaged; its copy at "
			     "the front is good");
	else if (!front)
		checker_note(k->c, DISK_PROBLEM_FOOTER_COPY, 512,
			     "the copy of the footer at the front is damaged; the footer is good");
	else
		checker_note(k->c, DISK_PROBLEM_STAMP, 512,
			     "the footer and its copy differ; the copy is what counts");
	if (!k->c->repair)
		return 0;
	if (!front)
		err = io_write(k->c->io, k->c->fd, &v->footer, 512, 0);
	else if (end)
		err = io_write(k->c->io, k->c->fd, &v->footer, 512, k->file_size - 512);
	/* A missing end footer is written last, when it is known where the data end. */
	k->c->report->repaired += err == 0 && (end || !front);
	return err;
}

static int compare_refs(const void *a, const void *b)
{
	const struct ref *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

static bool hits(uint64_t at, uint64_t length, uint64_t other, uint64_t other_length)
{
	return at < other + other_length && other < at + length;
}

static bool entry_ok(const struct vcheck *k, uint64_t at)
{
	const struct vhd *v = &k->v;
	uint64_t stride = v->bitmap_size + (uint64_t)k->d.block_size;

	return at >= 512 && at < k->file_size &&
	       !hits(at, stride, be64toh(v->footer.data_offset), 1024) &&
	       !hits(at, stride, be64toh(v->header.table_offset), v->entries * 4ull);
}

static int set_entry(struct vcheck *k, uint32_t block, uint32_t value)
{
	uint32_t be = htobe32(value);

	k->v.bat[block] = value;
	k->c->report->repaired++;
	return io_write(k->c->io, k->c->fd, &be, 4,
			be64toh(k->v.header.table_offset) + block * 4ull);
}

/* Copies a block to the end of the file, durably, then points the table there. */
static int give_own_copy(struct vcheck *k, const struct ref *r)
{
	struct vhd *v = &k->v;
	uint64_t stride = v->bitmap_size + (uint64_t)k->d.block_size;
	uint64_t to = round_up(max_u64(v->data_end, k->file_size) + v->bitmap_size, 4096) -
		      v->bitmap_size;
	char *buf = malloc(65536);
	int err = buf ? 0 : -ENOMEM;

	for (uint64_t done = 0; done < stride && !err; done += 65536) {
		size_t n = min_u64(65536, stride - done);

		err = io_read(k->c->fd, buf, n, r->at + done);
		if (!err)
			err = io_write(k->c->io, k->c->fd, buf, n, to + done);
	}
	free(buf);
	if (!err)
		err = k->c->io->sync(k->c->fd);
	if (!err)
		err = set_entry(k, r->block, (uint32_t)(to / DISK_SECTOR));
	v->data_end = to + stride;
	k->file_size = max_u64(k->file_size, v->data_end);
	return err;
}

static int check_ranges(struct vcheck *k)
{
	struct vhd *v = &k->v;
	int err = 0;

	for (uint32_t i = 0; i < v->entries && !err; i++) {
		if (v->bat[i] == VHD_UNUSED || entry_ok(k, (uint64_t)v->bat[i] * DISK_SECTOR))
			continue;
		k->c->report->errors++;
		checker_note(k->c, DISK_PROBLEM_RANGE, k->d.block_size,
			     "block %u: its table entry, sector %u, lies outside the file or in "
			     "metadata",
			     i, v->bat[i]);
		if (k->c->repair)
			err = set_entry(k, i, VHD_UNUSED);
		else
			v->bat[i] = VHD_UNUSED;
	}
	return err;
}

static int check_overlaps(struct vcheck *k)
{
	struct vhd *v = &k->v;
	uint64_t stride = v->bitmap_size + (uint64_t)k->d.block_size, end = 0, used = 0;
	struct ref *ref = malloc((v->entries + 1ull) * sizeof(*ref));
	uint32_t n = 0;
	uint64_t original_size = k->file_size;
	int err = 0;

	if (!ref)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->entries; i++)
		if (v->bat[i] != VHD_UNUSED)
			ref[n++] = (struct ref){(uint64_t)v->bat[i] * DISK_SECTOR, i};
	sort_in_place(ref, n, sizeof(*ref), compare_refs);
	v->data_end = vhd_data_end(v);
	for (uint32_t i = 0; i < n && !err; i++) {
		if (i && ref[i].at < end) {
			k->c->report->errors++;
			checker_note(k->c, DISK_PROBLEM_OVERLAP, end - ref[i].at,
				     "blocks %u and %u share bytes of the file", ref[i - 1].block,
				     ref[i].block);
			if (k->c->repair)
				err = give_own_copy(k, &ref[i]);
		}
		used += ref[i].at + stride > end ? ref[i].at + stride - max_u64(end, ref[i].at) : 0;
		end = max_u64(end, ref[i].at + stride);
		if (ref[i].at + stride > original_size) {
			k->c->report->errors++;
			checker_note(k->c, DISK_PROBLEM_CUT, ref[i].at + stride - original_size,
				     "the file ends inside block %u", ref[i].block);
		}
	}
	free(ref);
	if (!err) {
		uint64_t meta = vhd_bat_bytes(be32toh(v->header.entries)) + 4096;
		uint64_t accounted = used + meta + n * 4096ull + 65536;

		if (original_size > accounted)
			checker_note(k->c, DISK_PROBLEM_LOST, original_size - accounted,
				     "about %llu KiB of the file belong to no block (bulkhead disk "
				     "compact takes them back)",
				     (unsigned long long)(original_size - accounted) >> 10);
	}
	return err;
}

static void check_geometry(struct vcheck *k)
{
	const struct vhd_footer *f = &k->v.footer;
	struct disk_geometry want = vhd_geometry(be64toh(f->size));

	if (be16toh(f->cylinders) != want.cylinders || f->heads != want.heads ||
	    f->sectors != want.sectors)
		checker_note(k->c, DISK_PROBLEM_GEOMETRY, 0,
			     "geometry is %u/%u/%u where the specification computes %u/%u/%u "
			     "(harmless: the size counts)",
			     be16toh(f->cylinders), f->heads, f->sectors, want.cylinders,
			     want.heads, want.sectors);
}

static int load(struct vcheck *k)
{
	struct vhd *v = &k->v;
	uint64_t at = be64toh(v->footer.data_offset);
	int err;

	if (at % DISK_SECTOR || !range_ok(at, 1024, k->file_size)) {
		checker_note(k->c, DISK_PROBLEM_RANGE, 0,
			     "the dynamic header lies outside the file");
		return -EUCLEAN;
	}
	err = io_read(k->c->fd, &v->header, sizeof(v->header), at);
	if (!err)
		err = vhd_header_check(&k->d, &v->footer, &v->header, k->file_size);
	if (err) {
		if (k->why[0])
			checker_note(k->c, DISK_PROBLEM_RANGE, 0, "%s", k->why);
		return err;
	}
	k->d.block_size = be32toh(v->header.block_size);
	v->bitmap_size = vhd_bitmap_size(k->d.block_size);
	v->entries = (uint32_t)((be64toh(v->footer.size) + k->d.block_size - 1) / k->d.block_size);
	v->bat = malloc(v->entries * 4ull + 4);
	if (!v->bat)
		return -ENOMEM;
	err = io_read(k->c->fd, v->bat, v->entries * 4ull, be64toh(v->header.table_offset));
	for (uint32_t i = 0; i < v->entries; i++)
		v->bat[i] = be32toh(v->bat[i]);
	return err;
}

static int finish(struct vcheck *k, bool end_footer_bad)
{
	struct vhd *v = &k->v;
	struct checker *c = k->c;
	int err = 0;

	if (!c->repair || !(end_footer_bad || c->report->count[DISK_PROBLEM_OVERLAP] ||
			    c->report->count[DISK_PROBLEM_CUT]))
		return c->repair ? c->io->sync(c->fd) : 0;
	v->data_end = vhd_data_end(v);
	if (k->file_size > v->data_end)
		err = c->io->truncate(c->fd, v->data_end);
	if (!err)
		err = io_write(c->io, c->fd, &v->footer, 512, v->data_end);
	c->report->repaired++;
	return err ? err : c->io->sync(c->fd);
}

int vhd_check(struct checker *c)
{
	struct vcheck k = {.c = c};
	struct vhd_footer front, end;
	bool front_ok, end_ok, device;
	int err = io_size(c->fd, &k.file_size, &device);

	if (!err)
		err = vhd_read_footers(c->fd, k.file_size, &front, &front_ok, &end, &end_ok);
	if (err)
		return err;
	if (!front_ok && !end_ok)
		return -EMEDIUMTYPE;
	k.v.footer = front_ok ? front : end;
	k.v.file_end = k.file_size;
	k.d.priv = &k.v;
	k.d.fd = c->fd;
	k.d.io = c->io;
	k.d.why = k.why;
	k.d.why_size = sizeof(k.why);
	check_geometry(&k);
	if (be32toh(k.v.footer.type) == VHD_FIXED) {
		if (be64toh(k.v.footer.size) + 512 > k.file_size + 1) {
			c->report->errors++;
			checker_note(c, DISK_PROBLEM_CUT, 0, "the file is shorter than the disk");
		}
		return 0;
	}
	err = repair_footers(&k, front_ok, end_ok, &end);
	if (!err)
		err = load(&k);
	if (err) {
		c->report->errors++;
	} else {
		err = check_ranges(&k);
		if (!err)
			err = check_overlaps(&k);
		if (!err)
			err = finish(&k, !end_ok);
	}
	free(k.v.bat);
	return err;
}
