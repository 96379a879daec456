/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may connect. Below the state folder:
 *
 * - keys/server.key, mode 0600: the server's own pair; its public half is in run_dir/server.pub
 * - keys/admin.key, 0640: the first administrator's pair, made at the first start; the command uses
 *   it for root and for members of our group
 * - keys/authorized/USER.pub, 0640: one public key a user, with his role
 *
 * The files are the truth; they are read at start, on SIGHUP and after our own changes.
 */
#include "mgmtd/mgmtd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "proto/api.pb-c.h"

enum { USERS_MAX = 1000 };
#define SUFFIX ".pub"

static void file_name(const char *user, char *buf, size_t size)
{
	snprintf(buf, size, "%s" SUFFIX, user);
}

/* ---- the table */

const struct keyfile *authorized_find(const struct authorized *a, const char *public_key)
{
	for (unsigned i = 0; i < a->count; i++)
		if (!strcmp(a->key[i].public_key, public_key))
			return &a->key[i];
	return NULL;
}

const struct keyfile *authorized_user(const struct authorized *a, const char *user)
{
	for (unsigned i = 0; i < a->count; i++)
		if (!strcmp(a->key[i].user, user))
			return &a->key[i];
	return NULL;
}

/* The file's name decides who it is; a key without a role may look only. */
static int load_one(struct authorized *a, const char *name, struct keyfile *k)
{
	char user[KEY_USER_BYTES];
	size_t n = strlen(name) - strlen(SUFFIX);
	int rc;

	if (n >= sizeof(user))
		return -EINVAL;
	memcpy(user, name, n);
	user[n] = '\0';
	if (key_check_user(user))
		return -EINVAL;
	rc = keyfile_read(a->dir_fd, name, k);
	keyfile_forget(k); /* should not be there at all */
	strcpy(k->user, user);
	if (k->role == KEY_ROLE_NONE)
		k->role = KEY_ROLE_VIEW;
	return rc;
}

static int is_key(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && n > strlen(SUFFIX) &&
	       !strcmp(e->d_name + n - strlen(SUFFIX), SUFFIX);
}

int authorized_reload(struct daemon *d)
{
	struct authorized *a = &d->keys;
	struct dirent **list;
	struct keyfile *keys;
	unsigned count = 0;
	int n = scandirat(a->dir_fd, ".", &list, is_key, alphasort);

	if (n < 0)
		return -errno;
	keys = calloc((size_t)n + 1, sizeof(*keys));
	for (int i = 0; i < n; i++) {
		int rc = keys && count < USERS_MAX ? load_one(a, list[i]->d_name, &keys[count])
						   : -ENOMEM;

		if (rc)
			log_error("keys/authorized/%s: %s", list[i]->d_name,
				  rc == -EBADMSG ? "not a key file" : strerror(-rc));
		else
			count++;
		free(list[i]);
	}
	free(list);
	if (!keys)
		return -ENOMEM;
	free(a->key);
	a->key = keys;
	a->count = count;
	return 0;
}

int authorized_add(struct daemon *d, const struct keyfile *k, const char *by, struct fault *f)
{
	const struct keyfile *twin = authorized_find(&d->keys, k->public_key);
	char name[KEY_USER_BYTES + sizeof(SUFFIX)], user[KEY_USER_BYTES];
	int rc;

	if (authorized_user(&d->keys, k->user))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_EXISTS, "remove that one first",
				 "there is already a key of the user %s", k->user);
	if (twin)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_EXISTS, "make a key for each user",
				 "the user %s already has this key", twin->user);
	if (d->keys.count >= USERS_MAX)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, "remove some",
				 "there are already %d keys", USERS_MAX);
	file_name(k->user, name, sizeof(name));
	snprintf(user, sizeof(user), "%s", by);
	rc = keyfile_write(d->keys.dir_fd, name, k, false, 0640);
	if (!rc)
		rc = authorized_reload(d);
	if (rc)
		return fault_set(f, fault_code(rc), NULL, "cannot write the key: %s",
				 strerror(-rc));
	event_add(d, SEV_INFO, "keys.added", NULL, user, "key of %s added, role %s", k->user,
		  key_role_name(k->role));
	return 0;
}

static unsigned admins(const struct authorized *a)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->count; i++)
		n += a->key[i].role == KEY_ROLE_ADMIN;
	return n;
}

int authorized_remove(struct daemon *d, const char *user, const char *by, struct fault *f)
{
	const struct keyfile *k = authorized_user(&d->keys, user);
	char name[KEY_USER_BYTES + sizeof(SUFFIX)], gone[KEY_USER_BYTES], who[KEY_USER_BYTES];
	int rc = 0;

	if (!k)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
				 "\"bulkhead keys list\" shows which there are",
				 "there is no key of such a user");
	if (k->role == KEY_ROLE_ADMIN && admins(&d->keys) == 1)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "add another administrator first", "%s is the last administrator",
				 k->user);
	snprintf(gone, sizeof(gone), "%s", k->user);
	snprintf(who, sizeof(who), "%s", by);
	file_name(gone, name, sizeof(name));
	if (unlinkat(d->keys.dir_fd, name, 0))
		rc = -errno;
	else
		rc = authorized_reload(d);
	if (rc)
		return fault_set(f, fault_code(rc), NULL, "cannot remove the key: %s",
				 strerror(-rc));
	event_add(d, SEV_INFO, "keys.removed", NULL, who, "key of %s removed", gone);
	return 0;
}

/* ---- first start */

static int open_folder(int at, const char *name, int *fd)
{
	if (mkdirat(at, name, 0750) && errno != EEXIST)
		return -errno;
	*fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

/* Reads the pair in path, or makes one. */
static int own_pair(int keys_fd, const char *path, const char *user, unsigned role, mode_t mode,
		    struct keyfile *k)
{
	int rc = keyfile_read(keys_fd, path, k);

	if (!rc && !k->secret_key[0])
		rc = -EBADMSG;
	if (rc != -ENOENT) {
		if (rc)
			log_error("keys/%s: %s", path,
				  rc == -EBADMSG ? "not a key file" : strerror(-rc));
		return rc;
	}
	rc = keyfile_generate(k);
	if (rc)
		return rc;
	snprintf(k->user, sizeof(k->user), "%s", user);
	k->role = role;
	log_note("made a new key: keys/%s", path);
	return keyfile_write(keys_fd, path, k, true, mode);
}

static int first_admin(struct daemon *d, int keys_fd)
{
	struct keyfile admin;
	int rc = own_pair(keys_fd, "admin.key", "admin", KEY_ROLE_ADMIN, 0640, &admin);

	keyfile_forget(&admin);
	strcpy(admin.user, "admin");
	admin.role = KEY_ROLE_ADMIN;
	if (!rc)
		rc = keyfile_write(d->keys.dir_fd, "admin" SUFFIX, &admin, false, 0640);
	return rc ? rc : authorized_reload(d);
}

int keys_server(struct daemon *d, struct keyfile *server)
{
	return keyfile_read(d->state_fd, "keys/server.key", server);
}

int keys_open(struct daemon *d, struct keyfile *server)
{
	char public[512];
	int keys_fd = -1, rc;

	d->keys.dir_fd = -1;
	rc = open_folder(d->state_fd, "keys", &keys_fd);
	if (!rc)
		rc = open_folder(keys_fd, "authorized", &d->keys.dir_fd);
	if (!rc)
		rc = own_pair(keys_fd, "server.key", "server", KEY_ROLE_NONE, 0600, server);
	if (!rc)
		rc = authorized_reload(d);
	if (!rc && d->keys.count == 0)
		rc = first_admin(d, keys_fd);
	if (!rc) {
		snprintf(public, sizeof(public), "%s/server.pub", d->settings.run_dir);
		rc = keyfile_write(AT_FDCWD, public, server, false, 0644);
	}
	if (keys_fd >= 0)
		close(keys_fd);
	return rc;
}
