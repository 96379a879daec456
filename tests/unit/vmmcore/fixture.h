/* SPDX-License-Identifier: Apache-2.0
 *
 * A real broker with fake children (fake_child.c), and what tests do with it.
 *
 * The broker makes cgroups where it can (broker/cgroup.c): on a host with cgroup v2, only if
 * BULKHEAD_TEST_CGROUP names an empty cgroup to work in that has the controllers.
 */
#ifndef TESTS_VMMCORE_FIXTURE_H
#define TESTS_VMMCORE_FIXTURE_H

#include <check.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proto/control.h"

/* Set by main(): the programs under test. */
extern const char *broker_program, *fake_program;

union message {
	struct msg_header h;
	struct msg_error error;
	struct msg_plain plain;
	struct msg_host_info_reply info;
	struct msg_vm_created created;
	struct msg_vm_gone gone;
	struct msg_vm_restarted restarted;
	uint8_t bytes[MSG_MAX_BYTES];
};

struct broker_process {
	pid_t pid;
	char directory[64], socket[96];
};

/* Starts a broker; options may be NULL or a NULL-terminated list. */
void broker_start(struct broker_process *b, const char *const *options);
/* The same, as another user. */
void broker_start_as(struct broker_process *b, const char *const *options, uid_t uid);
int broker_connect(const struct broker_process *b);
void settle(int sock); /* one round trip */
/* Ends it with SIGTERM and checks that it left nothing. */
void broker_stop(struct broker_process *b);
void broker_remove(struct broker_process *b);

/* A checked fixture: the broker of a test that has but one, and its client. */
extern struct broker_process broker;
extern int client;
void broker_setup(void);
void broker_setup_with(const char *const *options);
void broker_teardown(void);

struct vm_config vm_config(uint64_t id, const char *name);
int image(void); /* a regular file, opened for reading */
void request_create(int sock, const struct vm_config *c);
void request_destroy(int sock, uint64_t id);
/* Next message; its descriptors are closed, their number is returned through nfds if not NULL. */
void next(int sock, union message *m, size_t *nfds);
/* Expects this type. */
void expect(int sock, uint16_t type, union message *m);
bool closed(int sock); /* the broker has closed the connection */
/* A VM that runs; its processes' pids. */
void create(int sock, uint64_t id, const char *name, pid_t pid[ROLES_ALWAYS]);

unsigned count_fds(pid_t pid);
unsigned count_children(pid_t pid); /* zombies included */
/* Waits up to five seconds for it. */
bool becomes(unsigned (*count)(pid_t), pid_t pid, unsigned value);
unsigned count_cgroups(pid_t broker); /* directories below its own, v1 and v2 */
bool gone(pid_t pid);                 /* within five seconds */

/* One suite a file. */
TCase *life_tests(void);
TCase *end_tests(void);
TCase *refusal_tests(void);
TCase *service_tests(void);
TCase *restart_tests(void);

#endif
