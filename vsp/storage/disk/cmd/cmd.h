/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of `bulkhead disk`.
 *
 *   command.c   the table of subcommands, help
 *   open.c      images by path: chains resolved by name, then by id
 *   output.c    new files: a temporary name, fsync, rename
 *   progress.c  the bar, and ^C
 *   text.c      sizes, ids and JSON strings
 *   lvm.c       names of LVM volumes
 *   create.c info.c check.c convert.c compact.c merge.c undo.c import.c mount.c nbd.c
 *               a subcommand (or a few that belong together) each
 */
#ifndef DISK_CMD_H
#define DISK_CMD_H

#include "vsp/storage/disk/cmd/sizes.h"
#include "vsp/storage/disk/disk.h"

#include <limits.h>
#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_FOUND = 3, EXIT_CANCELLED = 130 };

/* The subcommands; argv[0] is the subcommand's name. */
int cmd_create(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_compact(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_set_parent(int argc, char **argv);
int cmd_rebase(int argc, char **argv);
int cmd_undo(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_mount(int argc, char **argv);

/* command.c */
int usage(const char *subcommand); /* prints its line, returns EXIT_USAGE */
__attribute__((format(printf, 2, 3))) int fail(int err, const char *fmt, ...); /* EXIT_FAILED */

/* open.c */
/*
 * Opens an image and its chain; says on stderr why not. `flags` as for disk_open(). *err gets the
 * errno when NULL comes back.
 */
struct disk *open_image(const char *path, unsigned flags, enum disk_format format, int *err);
/* The path an open disk was found under (for messages); `path` has PATH_MAX bytes. */
void image_path(struct disk *d, char *path);
/* How `child` would name `parent`: absolute, and relative to the child's folder. PATH_MAX each. */
int parent_names(const char *child, const char *parent, char *relative, char *absolute);

/* output.c */
struct output {
	char path[PATH_MAX], part[PATH_MAX + 32];
	int fd; /* -1 once taken */
	bool force;
	bool no_sync; /* set after output_begin(): durable when the kernel likes */
};
int output_begin(struct output *o, const char *path, bool force);
int output_commit(struct output *o); /* durable under its name, or -errno */
void output_abandon(struct output *o);

/* progress.c: a bar on stderr when that is a terminal; ^C makes step() return 1. */
struct bar {
	struct disk_progress progress; /* hand this to the library */
	const char *what;
	double started, shown;
	bool terminal;
};
void bar_begin(struct bar *b, const char *what);
void bar_end(struct bar *b);
void interrupts_begin(void);
bool interrupted(void);

/* text.c */
const char *human_size(uint64_t n, char buf[32]);
void print_json_string(FILE *f, const char *s);
void format_id(const uint8_t id[16], enum disk_format format, char text[40]);
enum disk_format format_by_name(const char *name, bool *bad);
enum disk_format format_by_path(const char *path);
int type_by_name(const char *name, enum disk_type *type);

/* lvm.c: the path of another volume of the group that `device` is in; -1: that is none of LVM's */
int lvm_sibling(const char *device, const char *volume, char *out, size_t size);

/* nbd.c */
struct nbd_export {
	struct disk *disk;
	bool read_only;
};
/* Serves one connected client until it leaves. 0 or -errno. */
int nbd_serve(int fd, const struct nbd_export *export);
/* Only the transmission phase: the kernel's client negotiates nothing. */
int nbd_transmit(int fd, const struct nbd_export *export);

#endif
