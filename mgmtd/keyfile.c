/* SPDX-License-Identifier: Apache-2.0
 *
 * CURVE keys in files.
 */
#include "mgmtd/keyfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zmq.h>
#include "mgmtd/files.h"

enum { KEYFILE_MAX_BYTES = 4096 };

static const char *const roles[] = {"none", "view", "operate", "admin"};

const char *key_role_name(unsigned role)
{
	return role < sizeof(roles) / sizeof(roles[0]) ? roles[role] : "?";
}

int key_role_parse(const char *text, unsigned *role)
{
	for (unsigned i = KEY_ROLE_VIEW; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (!strcmp(text, roles[i])) {
			*role = i;
			return 0;
		}
	}
	return -EINVAL;
}

int key_check_user(const char *user)
{
	size_t n = strlen(user);

	if (n == 0 || n >= KEY_USER_BYTES || user[0] == '.' || user[0] == '-')
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if ((user[i] & 0x80) ||
		    (!isalnum((unsigned char)user[i]) && !strchr("._@-", user[i])))
			return -EINVAL;
	return 0;
}

int key_check_z85(const char *text)
{
	unsigned char raw[32];

	if (strlen(text) != KEY_Z85_BYTES - 1)
		return -EINVAL;
	for (const char *c = text; *c; c++) /* the alphabet of ZeroMQ RFC 32 */
		if ((*c & 0x80) ||
		    (!isalnum((unsigned char)*c) && !strchr(".-:+=^!/*?&<>()[]{}@%$#", *c)))
			return -EINVAL;
	return zmq_z85_decode(raw, text) ? 0 : -EINVAL;
}

int keyfile_generate(struct keyfile *k)
{
	return zmq_curve_keypair(k->public_key, k->secret_key) ? -errno : 0;
}

void keyfile_forget(struct keyfile *k)
{
	explicit_bzero(k->secret_key, sizeof(k->secret_key));
}

/* key = "value", with or without quotes; value is cut out of line. */
static bool split(char *line, char **key, char **value)
{
	char *eq = strchr(line, '='), *end;

	if (!eq || line[0] == '#')
		return false;
	*eq = '\0';
	*key = line + strspn(line, " \t");
	for (end = eq; end > *key && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	*value = eq + 1 + strspn(eq + 1, " \t\"'");
	for (end = *value + strlen(*value); end > *value && strchr(" \t\r\n\"'", end[-1]);)
		*--end = '\0';
	return true;
}

static int set(char *to, size_t size, const char *value, int (*check)(const char *))
{
	if (strlen(value) >= size || check(value))
		return -EBADMSG;
	strcpy(to, value);
	return 0;
}

static int read_line(struct keyfile *k, char *line)
{
	char *key, *value;

	if (!split(line, &key, &value))
		return 0;
	if (!strcmp(key, "public-key"))
		return set(k->public_key, sizeof(k->public_key), value, key_check_z85);
	if (!strcmp(key, "secret-key"))
		return set(k->secret_key, sizeof(k->secret_key), value, key_check_z85);
	if (!strcmp(key, "user") && value[0])
		return set(k->user, sizeof(k->user), value, key_check_user);
	if (!strcmp(key, "role"))
		return key_role_parse(value, &k->role) ? -EBADMSG : 0;
	return 0;
}

int keyfile_read(int dir_fd, const char *path, struct keyfile *k)
{
	char *text, *save = NULL;
	size_t bytes;
	int rc = file_read(dir_fd, path, KEYFILE_MAX_BYTES, &text, &bytes);

	memset(k, 0, sizeof(*k));
	if (rc)
		return rc;
	for (char *line = strtok_r(text, "\n", &save); line && !rc;
	     line = strtok_r(NULL, "\n", &save))
		rc = read_line(k, line);
	explicit_bzero(text, bytes);
	free(text);
	if (!rc && !k->public_key[0])
		rc = -EBADMSG;
	if (rc)
		keyfile_forget(k);
	return rc;
}

int keyfile_write(int dir_fd, const char *path, const struct keyfile *k, bool with_secret,
		  mode_t mode)
{
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);
	int rc;

	if (!f)
		return -ENOMEM;
	fprintf(f, "# CURVE %s\nmetadata\n    user = \"%s\"\n",
		with_secret ? "secret key of Bulkhead. Keep this file to yourself."
			    : "public key of Bulkhead",
		k->user);
	if (k->role != KEY_ROLE_NONE)
		fprintf(f, "    role = \"%s\"\n", key_role_name(k->role));
	fprintf(f, "curve\n    public-key = \"%s\"\n", k->public_key);
	if (with_secret)
		fprintf(f, "    secret-key = \"%s\"\n", k->secret_key);
	if (fclose(f)) {
		free(text);
		return -ENOMEM;
	}
	rc = file_write(dir_fd, path, text, bytes, mode);
	explicit_bzero(text, bytes);
	free(text);
	return rc;
}
