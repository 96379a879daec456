/* SPDX-License-Identifier: Apache-2.0
 *
 * CURVE keys in files, in the text form that ZeroMQ certificates have (pyzmq reads and writes the
 * same): public-key and secret-key in Z85, and "user" and "role" as metadata. Shared with the
 * command.
 */
#ifndef BULKHEAD_MGMTD_KEYFILE_H
#define BULKHEAD_MGMTD_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define KEY_Z85_BYTES  41u /* 40 characters and the terminator */
#define KEY_USER_BYTES 33u

/* Rights, each including those before; numbers as in api.proto. */
enum key_role { KEY_ROLE_NONE = 0, KEY_ROLE_VIEW, KEY_ROLE_OPERATE, KEY_ROLE_ADMIN };
const char *key_role_name(unsigned role);
int key_role_parse(const char *text, unsigned *role);

struct keyfile {
	char user[KEY_USER_BYTES];
	unsigned role;                  /* enum key_role */
	char public_key[KEY_Z85_BYTES]; /* "" if not there */
	char secret_key[KEY_Z85_BYTES];
};

/* 1 to 32 of a-z A-Z 0-9 . _ @ -, not beginning with '.'; -EINVAL. */
int key_check_user(const char *user);
/* 40 characters of the Z85 alphabet; -EINVAL. */
int key_check_z85(const char *text);

/* Makes a fresh pair. */
int keyfile_generate(struct keyfile *k);
/* Reads a file of at most 4 KiB, relative to dir_fd. -errno; -EBADMSG if it holds no public key. */
int keyfile_read(int dir_fd, const char *path, struct keyfile *k);
/* Writes a file atomically; with_secret decides whether the secret key goes in. */
int keyfile_write(int dir_fd, const char *path, const struct keyfile *k, bool with_secret,
		  mode_t mode);
/* Overwrites the secret with zeroes. */
void keyfile_forget(struct keyfile *k);

#endif
