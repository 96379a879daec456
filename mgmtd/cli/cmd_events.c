/* SPDX-License-Identifier: Apache-2.0
 *
 * events.
 */
#include "mgmtd/cli/cli.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FOLLOW_MS = 25000, LAST_DEFAULT = 50 };

static const struct option options[] = {
	{"follow", no_argument, NULL, 'f'},
	{"last", required_argument, NULL, 'n'},
	{"vm", required_argument, NULL, 'v'},
	{"after", required_argument, NULL, 'a'},
	{"details", no_argument, NULL, 'd'},
	{NULL},
};

/* Each line under its event, indented. */
static void print_details(const char *lines)
{
	while (*lines) {
		int n = (int)strcspn(lines, "\n");

		printf("    %.*s\n", n, lines);
		lines += n + (lines[n] != 0);
	}
}

static void print_event(struct cli *c, const Bulkhead__Event *e, bool details)
{
	static const char *const severities[] = {"info", "WARNING", "ERROR"};
	char when[32];

	if (c->json) {
		print_json(&e->base);
		return;
	}
	printf("%s  %-7s  %-18s", text_time(e->time_ms, when, sizeof(when)),
	       (unsigned)e->severity < 3 ? severities[e->severity] : "?", e->kind);
	if (e->vm[0])
		printf("  %s", e->vm);
	printf("  %s", e->text);
	if (e->user[0])
		printf("  [%s]", e->user);
	putchar('\n');
	if (details)
		print_details(e->detail);
	fflush(stdout);
}

/* whole: as one object, if it is to be JSON. */
static int read_events(struct cli *c, Bulkhead__EventReadRequest *e, bool whole, bool details)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	r.body_case = BULKHEAD__REQUEST__BODY_EVENT_READ;
	r.event_read = e;
	status = call(c, &r, &reply);
	if (status)
		return status;
	if (reply->body_case == BULKHEAD__REPLY__BODY_EVENT_LIST) {
		if (reply->event_list->lost)
			fprintf(stderr, "bulkhead events: older events are gone\n");
		if (c->json && whole)
			print_json(&reply->event_list->base);
		else
			for (size_t i = 0; i < reply->event_list->n_events; i++)
				print_event(c, reply->event_list->events[i], details);
		e->after = reply->event_list->next;
	}
	free_reply(reply);
	return EXIT_OK;
}

static int follow(struct cli *c, Bulkhead__EventReadRequest *e, bool details)
{
	time_t end = c->timeout_s ? time(NULL) + c->timeout_s : 0;
	int status;

	e->last = false;
	e->max = 0;
	do {
		time_t left = end ? end - time(NULL) : FOLLOW_MS / 1000;

		e->wait_ms = left * 1000 < FOLLOW_MS ? (uint32_t)left * 1000 : FOLLOW_MS;
		status = read_events(c, e, false, details);
	} while (!status && !ferror(stdout) && (!end || time(NULL) < end));
	return status;
}

int cmd_events(struct cli *c, int argc, char **argv)
{
	Bulkhead__EventReadRequest e = BULKHEAD__EVENT_READ_REQUEST__INIT;
	bool following = false, details = false;
	int o, status;

	e.last = true;
	e.max = LAST_DEFAULT;
	optind = 0;
	while ((o = getopt_long(argc, argv, "dfn:", options, NULL)) != -1) {
		switch (o) {
		case 'f':
			following = true;
			break;
		case 'd':
			details = true;
			break;
		case 'n':
			e.max = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'v':
			e.vm = optarg;
			break;
		case 'a':
			e.after = strtoull(optarg, NULL, 10);
			e.last = false;
			e.max = 0;
			break;
		default:
			return fail_usage(c, "a wrong option");
		}
	}
	if (optind != argc)
		return fail_usage(c, "unknown argument %s", argv[optind]);
	status = read_events(c, &e, !following, details);
	return status || !following ? status : follow(c, &e, details);
}
