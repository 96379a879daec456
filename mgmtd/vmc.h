/* SPDX-License-Identifier: Apache-2.0
 *
 * Machine definitions: the .vmc format (vmc(5)) as a struct, its reader and its writer.
 *
 * To add an element: a member here, a row in vmc_elements.c, a line in vmc_write(), the schema, the
 * man page, and a pair of files in tests/unit/mgmtd/vmc.
 */
#ifndef BULKHEAD_MGMTD_VMC_H
#define BULKHEAD_MGMTD_VMC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/control.h"

#define VMC_MAX_BYTES (256u << 10) /* of a definition's text */
#define VMC_PATH_MAX  4096u        /* with the terminator */
#define VMC_UUID_TEXT 37u          /* with the terminator */

/* A kind that is only in definitions: a physical disk that is to be converted. A machine that has one
 * cannot start. */
enum { VMC_LINKED = VM_DVD + 1 };

/* A virtual disk or DVD. */
struct vmc_disk {
	char *path;               /* absolute, owned; "": a DVD drive without a medium */
	uint8_t controller, lun;  /* places are unique */
	uint8_t kind, format;     /* enum vm_disk_kind or VMC_LINKED, enum vm_disk_format */
	bool read_only;           /* always for a DVD */
	bool shared;              /* with other machines: a raw disk that is written */
	bool has_lun, has_format; /* while it is read: the rest is for vmc_add_disk() */
	uint32_t iops;            /* its limits, in a second; 0: none */
	uint64_t bytes_per_s;     /* whole KiB, at least CONTROL_MIN_RATE */
};

enum vmc_policy { VMC_RESTART = 0, VMC_OFF };
/* Undo disks, and what becomes of them at the end of a session. */
enum vmc_undo { VMC_UNDO_NO = 0, VMC_UNDO_KEEP, VMC_UNDO_DISCARD, VMC_UNDO_COMMIT };

struct vmc {
	char name[CONTROL_NAME_BYTES];
	uint8_t uuid[16];
	bool has_uuid;
	uint64_t ram_bytes;                   /* at the start */
	uint64_t minimum_bytes, maximum_bytes; /* of dynamic memory; 0: the same */
	uint32_t vcpus;
	uint32_t backend; /* enum vm_backend */
	char *kernel;     /* absolute paths, owned */
	char *initrd;     /* NULL: none */
	char *module[CONTROL_MAX_MODULES];
	unsigned nmodules;
	char *cmdline; /* owned; NULL: empty */
	unsigned nserial;
	struct vmc_disk disk[CONTROL_MAX_DISKS];
	unsigned ndisks;
	uint32_t controllers; /* that are there without disks, too: those below this */
	enum vmc_policy on_reboot, on_crash;
	enum vmc_undo undo;
	bool exit_device, autostart;
	bool integration; /* the integration services are offered to the guest */
	bool sockets;     /* programs on the host and in the guest can connect (hv_sock) */
	struct guest_value value[GUEST_VALUES]; /* that the guest is told; keys are unique */
	unsigned nvalues;
};

/* What is wrong with a definition, in the words of vmc(5). */
struct vmc_error {
	unsigned line, column; /* from 1; 0: not about one place */
	char element[64];      /* "" if none */
	char what[CONTROL_TEXT_BYTES];
	char hint[CONTROL_TEXT_BYTES];
};

void vmc_init(struct vmc *v); /* defaults */
void vmc_clear(struct vmc *v);

/* Reads and checks text. Neither network nor other files are touched. 0, -EINVAL with *err
 * filled, -EFBIG, -ENOMEM. On failure *v is left cleared. */
int vmc_read(const char *text, size_t bytes, struct vmc *v, struct vmc_error *err);
/* "web1.vmc:7:3, element <memory>" */
const char *vmc_where(const struct vmc_error *err, const char *source, char *buf, size_t size);

/* The definition as text: malloc'd, terminated; NULL without memory. */
char *vmc_write(const struct vmc *v, size_t *bytes);

/* The definition as the broker gets it, for a run with this number, checked. 0, or -EINVAL with a
 * sentence in why. */
int vmc_config(const struct vmc *v, uint64_t run, struct vm_config *c, char *why, size_t why_size);

/* Checks a name. 0, or -EINVAL with a sentence in why. */
int vmc_check_name(const char *name, char *why, size_t why_size);
/* "512", "512M", "512MiB", "2G", "2GiB", "1T": to bytes. A bare number is MiB. -EINVAL, -ERANGE. */
int vmc_parse_memory(const char *text, uint64_t *bytes);
int vmc_check_memory(uint64_t bytes, char *why, size_t why_size);
/* The most it may get, and the least. */
uint64_t vmc_maximum(const struct vmc *v);
uint64_t vmc_minimum(const struct vmc *v);
bool vmc_has_dynamic(const struct vmc *v); /* its memory may become less or more */
/* Minimum, start and maximum together: 0, or -EINVAL with a sentence in why. */
int vmc_check_dynamic(const struct vmc *v, char *why, size_t why_size);
int vmc_parse_backend(const char *text, uint32_t *backend);
const char *vmc_backend_name(uint32_t backend);
/* vmc_disk.c: "disk", "dvd", "linked"; "raw", "vhd", "vhdx": -EINVAL for others. */
int vmc_parse_disk_kind(const char *text, uint8_t *kind);
int vmc_parse_disk_format(const char *text, uint8_t *format);
/* Limits: "500" or "none"; "20MiB", "512KiB" or "none". -EINVAL for others. */
int vmc_parse_iops(const char *text, uint32_t *iops);
int vmc_parse_rate(const char *text, uint64_t *bytes_per_s);
/* "20MiB", for vmc_parse_rate(); 0: "none" */
const char *vmc_format_rate(uint64_t bytes_per_s, char *buf, size_t size);
/* 0, or -EINVAL with a sentence in why. */
int vmc_check_rate(uint64_t bytes_per_s, char *why, size_t why_size);
/* "no", "keep", "discard", "commit" */
int vmc_parse_undo(const char *text, enum vmc_undo *undo);
const char *vmc_undo_name(enum vmc_undo undo);
const char *vmc_disk_kind_name(unsigned kind);
const char *vmc_disk_format_name(unsigned format);
/* Completes d as vmc_add_disk() does, without adding it. -EINVAL with a sentence in why. */
int vmc_place_disk(const struct vmc *v, struct vmc_disk *d, char *why, size_t why_size);
/* The disk at that place, or NULL. */
struct vmc_disk *vmc_find_disk(struct vmc *v, unsigned controller, unsigned lun);
/* Takes it out and frees its path. */
void vmc_remove_disk(struct vmc *v, struct vmc_disk *d);
/* Adds d, whose path it takes: without a LUN it gets the first free one of its controller, without
 * a format that of its path's ending. -EINVAL with a sentence in why; the path is freed then. */
int vmc_add_disk(struct vmc *v, const struct vmc_disk *d, char *why, size_t why_size);

/* vmc_value.c: adds or replaces one; -EINVAL with a sentence in why. */
int vmc_set_value(struct vmc *v, const char *key, const char *value, char *why, size_t why_size);
int vmc_remove_value(struct vmc *v, const char *key); /* -ENOENT */
struct guest_value *vmc_find_value(struct vmc *v, const char *key);

int vmc_parse_uuid(const char *text, uint8_t uuid[16]);
char *vmc_format_uuid(const uint8_t uuid[16], char text[VMC_UUID_TEXT]);
void vmc_random_uuid(uint8_t uuid[16]);

#endif
