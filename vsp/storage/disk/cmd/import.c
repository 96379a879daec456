/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A physical disk into an image. One that is in use keeps changing under the copy: it is copied
 * from an LVM snapshot (--snapshot), or as it is when the user says that nothing writes (--live).
 */
#include "vsp/storage/disk/cmd/cmd.h"
#include "vsp/storage/disk/cmd/convert.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct import {
	struct copy_wish wish;
	const char *device;
	bool snapshot, live;
	char name[64], volume[PATH_MAX]; /* the snapshot, when made */
};

/* O_EXCL on a block device fails while it, or a partition of it, is mounted or otherwise held. */
static int in_use(const char *device)
{
	struct stat st;
	int fd;

	if (stat(device, &st))
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return 0;
	fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return errno == EBUSY ? 1 : -errno;
	close(fd);
	return 0;
}

static int take_snapshot(struct import *im)
{
	char volume[PATH_MAX];
	int err;

	snprintf(im->name, sizeof(im->name), "bulkhead-import-%d", (int)getpid());
	if (lvm_sibling(im->device, im->name, volume, sizeof(volume)))
		return fail(0, "%s is not the name of an LVM volume: /dev/GROUP/VOLUME, or "
			       "/dev/mapper/GROUP-VOLUME", im->device);
	err = run_program((char *[]){(char[]){"lvcreate"}, (char[]){"--quiet"}, (char[]){"-s"},
				     (char[]){"-l"}, (char[]){"50%FREE"}, (char[]){"-n"}, im->name,
				     (char *)(uintptr_t)im->device, NULL});
	if (err)
		return fail(0,
			    "%s: no snapshot could be made (it must be an LVM volume with free "
			    "space in its group, and lvcreate installed)",
			    im->device);
	strcpy(im->volume, volume);
	return 0;
}

static void drop_snapshot(struct import *im)
{
	if (im->volume[0] && run_program((char *[]){(char[]){"lvremove"}, (char[]){"--quiet"},
						    (char[]){"-f"}, im->volume, NULL}))
		fail(0, "the snapshot %s could not be removed", im->volume);
}

static int copy(struct import *im)
{
	int err;
	struct disk *d = open_image(im->volume[0] ? im->volume : im->device, DISK_NO_LOCK,
				    DISK_FORMAT_RAW, &err);

	if (!d)
		return EXIT_FAILED;
	err = copy_disk(d, &im->wish, "import");
	disk_close(d);
	if (err == -ECANCELED)
		return EXIT_CANCELLED;
	return err ? fail(err, "%s", im->wish.to) : EXIT_DONE;
}

int cmd_import(int argc, char **argv)
{
	static const struct option options[] = {{"snapshot", no_argument, NULL, 's'},
						{"live", no_argument, NULL, 'l'},
						{"format", required_argument, NULL, 'f'},
						{"type", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	struct import im = {.wish.type = DISK_TYPE_DYNAMIC};
	bool bad = false;
	int c, busy, status = 0;

	optind = 0;
	while (!bad && (c = getopt_long(argc, argv, "f:t:", options, NULL)) != -1) {
		if (c == 's')
			im.snapshot = true;
		else if (c == 'l')
			im.live = true;
		else if (c == 'f')
			im.wish.format = format_by_name(optarg, &bad);
		else if (c == 't')
			bad = type_by_name(optarg, &im.wish.type);
		else
			bad = true;
	}
	if (bad || argc - optind != 2 || im.wish.type == DISK_TYPE_DIFFERENCING)
		return usage("import");
	im.device = argv[optind];
	im.wish.to = argv[optind + 1];
	if (!im.wish.format)
		im.wish.format = format_by_path(im.wish.to);
	if (im.wish.format == DISK_FORMAT_RAW)
		im.wish.type = DISK_TYPE_FIXED;
	busy = in_use(im.device);
	if (busy < 0)
		return fail(busy, "%s", im.device);
	if (busy && !im.snapshot && !im.live)
		return fail(0,
			    "%s is in use and would change under the copy: --snapshot copies an "
			    "LVM snapshot of it, --live copies it as it is",
			    im.device);
	if (im.snapshot)
		status = take_snapshot(&im);
	if (!status)
		status = copy(&im);
	drop_snapshot(&im);
	return status;
}
