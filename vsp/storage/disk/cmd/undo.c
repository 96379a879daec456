/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undo disks: for a session a VM writes into a child of each of its disks, DISK.vud; at the end all
 * are committed or all dropped. A commit is decided by renaming every child to DISK.vud-commit;
 * from then on it goes forward only, also when the machine goes down in the middle and commit is
 * run again.
 */
#include "vsp/storage/disk/cmd/cmd.h"
#include "vsp/storage/disk/cmd/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void undo_name(const char *disk, const char *suffix, char *out)
{
	snprintf(out, PATH_MAX, "%s%s", disk, suffix);
}

static bool exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

static int sync_folder_of(const char *path)
{
	char folder[PATH_MAX];
	int fd, err;

	snprintf(folder, sizeof(folder), "%s", path);
	fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 || fsync(fd) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

static int start_one(const char *disk)
{
	char child[PATH_MAX], relative[PATH_MAX], absolute[PATH_MAX];
	struct disk_create how = {.type = DISK_TYPE_DIFFERENCING,
				  .parent_relative = relative,
				  .parent_absolute = absolute};
	struct disk_info info;
	struct output o;
	int err;

	undo_name(disk, ".vud", child);
	how.parent = open_image(disk, 0, DISK_FORMAT_ANY, &err);
	if (!how.parent)
		return EXIT_FAILED;
	err = disk_info(how.parent, &info);
	how.format = info.format;
	if (!err && info.format == DISK_FORMAT_RAW) {
		disk_close(how.parent);
		return fail(0, "%s: a raw disk cannot have an undo disk (convert it first)", disk);
	}
	if (!err)
		err = parent_names(child, disk, relative, absolute);
	if (!err)
		err = output_begin(&o, child, false);
	if (!err) {
		err = disk_create(o.fd, &how, NULL);
		if (err)
			output_abandon(&o);
		else
			err = output_commit(&o);
	}
	disk_close(how.parent);
	if (err == -EEXIST)
		return fail(0, "%s already has an undo disk (commit or discard it)", disk);
	return err ? fail(err, "%s", child) : EXIT_DONE;
}

/* All or none: what was made is taken back when one fails. */
static int start(char **disks, int n)
{
	char child[PATH_MAX];

	for (int i = 0; i < n; i++) {
		int status = start_one(disks[i]);

		if (!status)
			continue;
		while (i-- > 0) {
			undo_name(disks[i], ".vud", child);
			unlink(child);
		}
		return status;
	}
	return EXIT_DONE;
}

static int decide(char **disks, int n)
{
	char child[PATH_MAX], decided[PATH_MAX];
	bool going = false;

	for (int i = 0; i < n; i++) {
		undo_name(disks[i], ".vud-commit", decided);
		going |= exists(decided);
	}
	for (int i = 0; i < n && !going; i++) {
		undo_name(disks[i], ".vud", child);
		if (!exists(child))
			return fail(0, "%s has no undo disk", disks[i]);
	}
	for (int i = 0; i < n; i++) {
		undo_name(disks[i], ".vud", child);
		undo_name(disks[i], ".vud-commit", decided);
		if (exists(child) && (rename(child, decided) || sync_folder_of(child)))
			return fail(-errno, "%s", child);
	}
	return EXIT_DONE;
}

static int commit(char **disks, int n)
{
	char decided[PATH_MAX];
	int status = decide(disks, n);

	for (int i = 0; i < n && !status; i++) {
		undo_name(disks[i], ".vud-commit", decided);
		if (exists(decided))
			status = merge_child(decided, false);
	}
	return status;
}

static int discard(char **disks, int n)
{
	char child[PATH_MAX], decided[PATH_MAX];

	for (int i = 0; i < n; i++) {
		undo_name(disks[i], ".vud-commit", decided);
		if (exists(decided))
			return fail(0, "%s is being committed: run commit again", disks[i]);
	}
	for (int i = 0; i < n; i++) {
		undo_name(disks[i], ".vud", child);
		if (unlink(child) && errno != ENOENT)
			return fail(-errno, "%s", child);
	}
	return EXIT_DONE;
}

static int status_of(char **disks, int n)
{
	char child[PATH_MAX], decided[PATH_MAX];

	for (int i = 0; i < n; i++) {
		undo_name(disks[i], ".vud", child);
		undo_name(disks[i], ".vud-commit", decided);
		printf("%s: %s\n", disks[i],
		       exists(decided) ? "being committed"
		       : exists(child) ? "undo disk active"
				       : "no undo disk");
	}
	return EXIT_DONE;
}

int cmd_undo(int argc, char **argv)
{
	if (argc < 3)
		return usage("undo");
	for (int i = 2; i < argc; i++)
		if (strlen(argv[i]) + 16 > PATH_MAX)
			return fail(-ENAMETOOLONG, "%s", argv[i]);
	if (!strcmp(argv[1], "start"))
		return start(argv + 2, argc - 2);
	if (!strcmp(argv[1], "commit"))
		return commit(argv + 2, argc - 2);
	if (!strcmp(argv[1], "discard"))
		return discard(argv + 2, argc - 2);
	if (!strcmp(argv[1], "status"))
		return status_of(argv + 2, argc - 2);
	return usage("undo");
}
