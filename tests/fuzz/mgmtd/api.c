/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of the API, from their bytes to the reply, as an administrator who may do everything.
 * An input is a row of requests, each with a 16-bit length before it. Behind mgmtd is a broker that
 * takes messages and never answers, so that machines get as far as Turning On.
 *
 * Each request must be answered exactly once, or wait; the reply must be well-formed.
 *
 * This file takes the place of mgmtd/api_socket.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "mgmtd/files.h"
#include "tests/fuzz/fuzz.h"

static struct daemon d;
static int broker_end = -1;
static unsigned replies;
static unsigned long requests, answered, succeeded;

/* ---- instead of api_socket.c */

int api_send(struct daemon *daemon, const struct client *c, const void *data, size_t bytes)
{
	Bulkhead__Reply *reply = bulkhead__reply__unpack(NULL, bytes, data);

	fuzz_require(reply && reply->body_case != BULKHEAD__REPLY__BODY__NOT_SET);
	fuzz_require(bytes <= 8 << 20); /* what clients accept */
	answered++;
	succeeded += reply->body_case != BULKHEAD__REPLY__BODY_ERROR;
	if (reply->body_case == BULKHEAD__REPLY__BODY_ERROR)
		fuzz_require(reply->error->code != 0 && reply->error->what[0]);
	bulkhead__reply__free_unpacked(reply, NULL);
	replies++;
	return 0;
}

int api_send_reply(struct daemon *daemon, const struct client *c, const Bulkhead__Reply *reply)
{
	size_t bytes = bulkhead__reply__get_packed_size(reply);
	uint8_t *buf = malloc(bytes ? bytes : 1);
	int rc;

	fuzz_require(buf);
	bulkhead__reply__pack(reply, buf);
	rc = api_send(daemon, c, buf, bytes);
	free(buf);
	return rc;
}

void api_poke(struct daemon *daemon)
{
}

int api_open(struct daemon *daemon, const struct keyfile *server)
{
	return -ENOSYS;
}

void api_close(struct daemon *daemon)
{
}

/* ---- a daemon without sockets */

static struct client admin = {.id = {0, 1, 2, 3, 4}, .id_bytes = 5};

static char dir[] = "/dev/shm/bulkhead-fuzz.XXXXXX";

static void clean_up(void)
{
	tree_remove(AT_FDCWD, dir);
}

static void set_up_once(void)
{
	struct keyfile k = {.user = "admin", .role = KEY_ROLE_ADMIN};

	log_open("fuzz", 0);
	fuzz_require(mkdtemp(dir));
	atexit(clean_up);
	d.settings = (struct settings){.state_dir = dir, .run_dir = dir, .broker_socket = "none"};
	d.state_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d.loop = loop_new();
	fuzz_require(d.state_fd >= 0 && d.loop);
	fuzz_require(!events_open(&d.events, d.state_fd));
	fuzz_require(!inventory_open(&d));
	fuzz_require(!mkdirat(d.state_fd, "authorized", 0700));
	d.keys.dir_fd = openat(d.state_fd, "authorized", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_require(!keyfile_generate(&k));
	fuzz_require(!keyfile_write(d.keys.dir_fd, "admin.pub", &k, false, 0600));
	strcpy(admin.key, k.public_key);
}

static void set_up(void)
{
	int pair[2];

	fuzz_require(!msgsock_pair(pair));
	d.broker.d = &d;
	d.broker.fd = pair[0];
	broker_end = pair[1];
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	fuzz_require(!authorized_reload(&d));
}

static void tear_down(void)
{
	struct fault f;

	wait_free(&d);
	while (d.vms) {
		d.vms->run.id = 0;
		if (state_is_live(d.vms->state))
			vm_ended(d.vms, "the input is over");
		tree_remove(d.vms_fd, d.vms->def.name);
		vm_forget(d.vms);
	}
	jobs_free(&d);
	for (unsigned i = d.keys.count; i-- > 0;)
		if (strcmp(d.keys.key[i].user, "admin"))
			authorized_remove(&d, d.keys.key[i].user, "fuzz", &f);
	close(d.broker.fd);
	close(broker_end);
}

/* Input of consoles that nobody has answered yet. */
static unsigned inputs_waiting(void)
{
	unsigned n = 0;

	for (const struct vm *vm = d.vms; vm; vm = vm->next)
		for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++)
			n += vm->console[i].ninputs;
	return n;
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	if (!d.loop)
		set_up_once();
	set_up();
	while (in.size) {
		size_t n = (size_t)fuzz_take(&in, 2);
		unsigned inputs = inputs_waiting();
		bool waits;

		n = n < in.size ? n : in.size;
		replies = 0;
		requests++;
		waits = api_request(&d, &admin, in.data, n, TRY_NEW);
		fuzz_require(replies + waits + inputs_waiting() == 1 + inputs);
		in.data += n;
		in.size -= n;
	}
	tear_down();
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of api: %lu requests, %lu answered, %lu of them well\n", requests, answered,
	       succeeded);
}
