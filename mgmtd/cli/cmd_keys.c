/* SPDX-License-Identifier: Apache-2.0
 *
 * keys list, add, remove, generate.
 */
#include "mgmtd/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/keyfile.h"

static int list(struct cli *c)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__KeyListRequest l = BULKHEAD__KEY_LIST_REQUEST__INIT;
	Bulkhead__Reply *reply;
	struct table t;
	int status;

	r.body_case = BULKHEAD__REQUEST__BODY_KEY_LIST;
	r.key_list = &l;
	status = call(c, &r, &reply);
	if (status || reply->body_case != BULKHEAD__REPLY__BODY_KEY_LIST)
		return status;
	if (c->json) {
		print_json(&reply->key_list->base);
	} else if (!table_begin(&t)) {
		fprintf(t.f, "USER\tROLE\tPUBLIC KEY\n");
		for (size_t i = 0; i < reply->key_list->n_keys; i++)
			fprintf(t.f, "%s\t%s\t%s\n", reply->key_list->keys[i]->user,
				text_role(reply->key_list->keys[i]->role),
				reply->key_list->keys[i]->public_key);
		table_end(&t);
	}
	free_reply(reply);
	return EXIT_OK;
}

/* The key itself, or a file that holds it. */
static int find_public(struct cli *c, const char *text, char *public_key)
{
	struct keyfile k;
	int rc;

	if (!key_check_z85(text)) {
		strcpy(public_key, text);
		return EXIT_OK;
	}
	rc = keyfile_read(AT_FDCWD, text, &k);
	keyfile_forget(&k);
	if (rc)
		return fail_with(
			c, rc == -ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED,
			"give the public key (40 characters) or a file made by \"keys generate\"",
			"%s: neither a public key nor a key file (%s)", text,
			rc == -EBADMSG ? "no key in it" : strerror(-rc));
	strcpy(public_key, k.public_key);
	return EXIT_OK;
}

static int add(struct cli *c, const char *user, const char *key_text, const char *role_text)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__KeyAddRequest a = BULKHEAD__KEY_ADD_REQUEST__INIT;
	Bulkhead__Key k = BULKHEAD__KEY__INIT;
	char public_key[KEY_Z85_BYTES];
	Bulkhead__Reply *reply;
	unsigned role;
	int status;

	if (key_role_parse(role_text, &role))
		return fail_usage(c, "role %s: it must be view, operate or admin", role_text);
	status = find_public(c, key_text, public_key);
	if (status)
		return status;
	k.user = (char *)user;
	k.role = (Bulkhead__Role)role;
	k.public_key = public_key;
	a.key = &k;
	r.body_case = BULKHEAD__REQUEST__BODY_KEY_ADD;
	r.key_add = &a;
	status = call(c, &r, &reply);
	if (!status && c->json)
		print_json(&reply->base);
	free_reply(reply);
	return status;
}

static int remove_key(struct cli *c, const char *user)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__KeyRemoveRequest k = BULKHEAD__KEY_REMOVE_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	k.user = (char *)user;
	r.body_case = BULKHEAD__REQUEST__BODY_KEY_REMOVE;
	r.key_remove = &k;
	status = call(c, &r, &reply);
	if (!status && c->json)
		print_json(&reply->base);
	free_reply(reply);
	return status;
}

static int generate(struct cli *c, const char *path)
{
	struct keyfile k = {.user = "client"};
	int rc;

	if (access(path, F_OK) == 0)
		return fail_with(c, EXIT_STATE, "remove it first if nobody needs it any more",
				 "%s is there already", path);
	rc = keyfile_generate(&k);
	if (!rc)
		rc = keyfile_write(AT_FDCWD, path, &k, true, 0600);
	keyfile_forget(&k);
	if (rc)
		return fail_with(c, EXIT_FAILED, NULL, "%s: %s", path, strerror(-rc));
	if (c->json)
		printf("{\"file\":\"%s\",\"public_key\":\"%s\"}\n", path, k.public_key);
	else
		printf("%s\n", k.public_key);
	return EXIT_OK;
}

int cmd_keys(struct cli *c, int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "list";

	if (!strcmp(what, "list") && argc <= 2)
		return list(c);
	if (!strcmp(what, "add") && (argc == 4 || argc == 5))
		return add(c, argv[2], argv[3], argc == 5 ? argv[4] : "operate");
	if (!strcmp(what, "remove") && argc == 3)
		return remove_key(c, argv[2]);
	if (!strcmp(what, "generate") && argc == 3)
		return generate(c, argv[2]);
	return fail_usage(c,
			  "keys list | keys add USER KEY [view|operate|admin] | keys remove USER | "
			  "keys generate FILE");
}
