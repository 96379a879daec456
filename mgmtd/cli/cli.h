/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the command "bulkhead".
 *
 *   main.c      global options, table of commands
 *   conn.c      the connection: keys, handshake, requests and replies
 *   fail.c      errors as people and scripts see them; exit statuses
 *   json.c      any message of the API as JSON
 *   table.c     columns
 *   text.c      times, sizes
 *   cmd_*.c     the commands
 */
#ifndef BULKHEAD_MGMTD_CLI_H
#define BULKHEAD_MGMTD_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "proto/api.pb-c.h"

/* Exit statuses; documented in bulkhead(1). */
enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,      /* it was tried and did not work */
	EXIT_USAGE = 2,       /* the command line is wrong */
	EXIT_UNREACHABLE = 3, /* no server there, or the connection broke */
	EXIT_DENIED = 4,      /* the server does not know this key, or the user may not */
	EXIT_NOT_FOUND = 5,
	EXIT_STATE = 6,   /* exists already, or not in this state */
	EXIT_TIMEOUT = 7, /* --timeout is over */
};

struct conn;

struct cli {
	const char *server;     /* endpoint */
	const char *key;        /* file; NULL: look in the usual places */
	const char *server_key; /* file; NULL: likewise */
	unsigned timeout_s;     /* 0: the command's own */
	bool json;
	const char *command; /* for messages */
	struct conn *conn;   /* opened by the first call() */
	char failure[512];   /* of the connection, for messages */
};

/* ---- fail.c: each prints an error ("what", "where", "hint" may be NULL) and returns the status */
int fail_with(struct cli *c, int status, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int fail_usage(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int fail_reply(struct cli *c, const Bulkhead__Error *e);

/* ---- conn.c */
int conn_open(struct cli *c); /* an exit status; the error is printed */
void conn_close(struct cli *c);
/* Sends, with a fresh id in r->id. */
int conn_send(struct cli *c, Bulkhead__Request *r);
/* The next reply within ms (or NULL, with *status 0 for a timeout). Free with free_reply(). */
Bulkhead__Reply *conn_receive(struct cli *c, int ms, int *status);
/* Like conn_receive, but also returns (NULL, status 0) when wake or fd (each if >= 0) is readable or
 * a signal came. One that came just before is not seen here: its handler makes wake readable. */
Bulkhead__Reply *conn_receive_or(struct cli *c, int ms, int wake, int fd, bool *fd_ready,
				 int *status);
/* Asks and waits for the answer. An Error reply is printed and becomes the status; then *reply is
 * NULL. */
int call(struct cli *c, Bulkhead__Request *r, Bulkhead__Reply **reply);
void free_reply(Bulkhead__Reply *reply);

/* ---- json.c */
void json_message(FILE *f, const ProtobufCMessage *m);
void json_string(FILE *f, const char *s, size_t bytes);
/* The message and a line break, on stdout. */
void print_json(const ProtobufCMessage *m);

/* ---- table.c: rows of columns separated by tabs, aligned and printed */
struct table {
	FILE *f;
	char *text;
	size_t bytes;
};
int table_begin(struct table *t);
void table_end(struct table *t); /* prints to stdout */

/* ---- text.c */
const char *text_size(uint64_t bytes, char *buf, size_t size); /* "512 MiB" */
const char *text_time(uint64_t ms, char *buf, size_t size);    /* local time */
const char *text_uptime(uint64_t ms, char *buf, size_t size);  /* "2 h 3 min" */
const char *text_backend(Bulkhead__Backend b);
const char *text_role(Bulkhead__Role r);

/* ---- commands: argv[0] is the command's name; each returns an exit status */
typedef int command(struct cli *c, int argc, char **argv);
command cmd_create, cmd_define, cmd_export, cmd_list, cmd_show;
command cmd_start, cmd_pause, cmd_resume, cmd_reset, cmd_shutdown, cmd_off, cmd_freeze, cmd_thaw, cmd_delete;
command cmd_console, cmd_events, cmd_jobs, cmd_host, cmd_keys, cmd_version, cmd_values,
	cmd_copy, cmd_memory, cmd_backup, cmd_restore;
command cmd_disk_job, cmd_undo;

/* ---- cmd_action.c */
int start_vm(struct cli *c, const char *vm);
/* Waits for a job and prints its error. */
int wait_job(struct cli *c, uint64_t id, Bulkhead__Reply **reply);
int job_error(struct cli *c, const Bulkhead__Job *job); /* of one that did not succeed */

/* Prints the error of a job that ended, or, with --json, the job; frees the reply. */
int end_job(struct cli *c, Bulkhead__Reply *reply);
/* Asks for a job and sees it to its end; seconds: the time it has if --timeout does not say, 0: the usual. */
int call_job(struct cli *c, Bulkhead__Request *r, unsigned seconds);

/* ---- cmd_show.c: asks; prints the machine of the answer, with --json as JSON */
typedef void print_vm_fn(const Bulkhead__Vm *vm);
int call_vm(struct cli *c, Bulkhead__Request *r, print_vm_fn *print); /* print may be NULL */
/* The machine of that name, as it is now. */
int call_vm_show(struct cli *c, char *vm, print_vm_fn *print);

/* ---- cmd_create.c */
struct vmc_disk;
/* The path as the server needs it, malloc'd, into *to, which is freed first. */
int take_path(struct cli *c, const char *what, const char *path, char **to);
/* PATH[,ro][,format=F][,controller=N][,lun=N][,kind=dvd] into *d, whose path is the caller's. */
int take_disk(struct cli *c, const char *arg, struct vmc_disk *d);

/* ---- cmd_disk.c: what follows "disk"; false: it is about files */
bool is_vm_disk_command(int argc, char **argv);
void vm_disk_help(FILE *f);
command cmd_vm_disk;

/* ---- cmd_memory.c: percent */
unsigned memory_pressure(const Bulkhead__Vm *vm);

/* ---- console.c */
enum { CONSOLE_STEPS_MAX = 64 };
struct console_step {
	bool expect;
	const char *text; /* escapes resolved */
	size_t bytes;
};
struct console_options {
	const char *vm;
	unsigned port;
	bool from_now; /* skip what came before */
	bool started;  /* we are starting it: being Off is not the end yet */
	struct console_step step[CONSOLE_STEPS_MAX];
	unsigned nsteps;
};
int console_run(struct cli *c, const struct console_options *o);
/* Resolves \n \r \t \e \\ \xHH in place. */
int console_unescape(char *text, size_t *bytes);

#endif
