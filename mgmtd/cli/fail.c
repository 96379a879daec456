/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors: what, where, what to do. On stderr for people; with --json also as an object on stdout.
 */
#include "mgmtd/cli/cli.h"

#include <stdarg.h>
#include <string.h>
#include "bus/log.h"

static void print(struct cli *c, const char *code, const char *what, const char *where,
		  const char *hint)
{
	fprintf(stderr, "bulkhead%s%s: ", c->command ? " " : "", c->command ? c->command : "");
	if (where && where[0])
		fprintf(stderr, "%s: ", where);
	fprintf(stderr, "%s\n", what);
	if (hint && hint[0])
		fprintf(stderr, "  %s\n", hint);
	if (!c->json)
		return;
	printf("{\"error\":{\"code\":\"%s\",\"what\":", code);
	json_string(stdout, what, strlen(what));
	printf(",\"where\":");
	json_string(stdout, where ? where : "", strlen(where ? where : ""));
	printf(",\"hint\":");
	json_string(stdout, hint ? hint : "", strlen(hint ? hint : ""));
	printf("}}\n");
}

static const char *const codes[] = {
	[EXIT_OK] = "none",           [EXIT_FAILED] = "failed",
	[EXIT_USAGE] = "usage",       [EXIT_UNREACHABLE] = "unreachable",
	[EXIT_DENIED] = "denied",     [EXIT_NOT_FOUND] = "not_found",
	[EXIT_STATE] = "wrong_state", [EXIT_TIMEOUT] = "timeout",
};

int fail_with(struct cli *c, int status, const char *hint, const char *fmt, ...)
{
	char what[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	print(c, codes[status], what, NULL, hint);
	return status;
}

int fail_usage(struct cli *c, const char *fmt, ...)
{
	char what[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	print(c, codes[EXIT_USAGE], what, NULL,
	      "\"bulkhead help\" shows the commands; see bulkhead(1)");
	return EXIT_USAGE;
}

int fail_reply(struct cli *c, const Bulkhead__Error *e)
{
	char what[1024], where[512], hint[512];
	static const struct {
		int code, status;
		const char *name;
	} map[] = {
		{BULKHEAD__ERROR_CODE__ERROR_INVALID, EXIT_FAILED, "invalid"},
		{BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND, EXIT_NOT_FOUND, "not_found"},
		{BULKHEAD__ERROR_CODE__ERROR_EXISTS, EXIT_STATE, "exists"},
		{BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, EXIT_STATE, "wrong_state"},
		{BULKHEAD__ERROR_CODE__ERROR_DENIED, EXIT_DENIED, "denied"},
		{BULKHEAD__ERROR_CODE__ERROR_BUSY, EXIT_STATE, "busy"},
		{BULKHEAD__ERROR_CODE__ERROR_TOO_LARGE, EXIT_FAILED, "too_large"},
		{BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, EXIT_FAILED, "unsupported"},
		{BULKHEAD__ERROR_CODE__ERROR_UNAVAILABLE, EXIT_FAILED, "unavailable"},
		{BULKHEAD__ERROR_CODE__ERROR_FAILED, EXIT_FAILED, "failed"},
		{BULKHEAD__ERROR_CODE__ERROR_TIMEOUT, EXIT_TIMEOUT, "timeout"},
		{BULKHEAD__ERROR_CODE__ERROR_CANCELLED, EXIT_FAILED, "cancelled"},
	};
	/* The server's words, which may quote a file: nothing that moves the cursor. */
	log_printable(what, sizeof(what), e->what, strlen(e->what));
	log_printable(where, sizeof(where), e->where, strlen(e->where));
	log_printable(hint, sizeof(hint), e->hint, strlen(e->hint));
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		if (map[i].code != (int)e->code)
			continue;
		print(c, map[i].name, what, where, hint);
		return map[i].status;
	}
	print(c, "failed", what, where, hint);
	return EXIT_FAILED;
}
