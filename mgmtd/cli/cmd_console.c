/* SPDX-License-Identifier: Apache-2.0
 *
 * console: options of the command.
 */
#include "mgmtd/cli/cli.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const struct option options[] = {
	{"port", required_argument, NULL, 'p'},   {"new", no_argument, NULL, 'n'},
	{"expect", required_argument, NULL, 'e'}, {"until", required_argument, NULL, 'e'},
	{"send", required_argument, NULL, 's'},   {NULL},
};

static int hex(char ch)
{
	if (isdigit((unsigned char)ch))
		return ch - '0';
	return isxdigit((unsigned char)ch) ? tolower((unsigned char)ch) - 'a' + 10 : -1;
}

int console_unescape(char *text, size_t *bytes)
{
	static const char from[] = "nrte0\\", to[] = "\n\r\t\033\0\\";
	char *out = text;

	for (const char *in = text; *in; in++) {
		const char *found;

		if (*in != '\\') {
			*out++ = *in;
			continue;
		}
		in++;
		if (*in == 'x' && hex(in[1]) >= 0 && hex(in[2]) >= 0) {
			*out++ = (char)(hex(in[1]) << 4 | hex(in[2]));
			in += 2;
			continue;
		}
		found = *in ? strchr(from, *in) : NULL;
		if (!found)
			return -1;
		*out++ = to[found - from];
	}
	*bytes = (size_t)(out - text);
	return 0;
}

static int add_step(struct cli *c, struct console_options *o, bool expect, char *text)
{
	struct console_step *s;

	if (o->nsteps == CONSOLE_STEPS_MAX)
		return fail_usage(c, "more than %d steps", CONSOLE_STEPS_MAX);
	s = &o->step[o->nsteps++];
	s->expect = expect;
	s->text = text;
	if (console_unescape(text, &s->bytes))
		return fail_usage(c, "\"%s\": a backslash goes before n, r, t, e, 0, \\ or xHH",
				  text);
	if (s->bytes == 0)
		return fail_usage(c, "an empty text to %s", expect ? "wait for" : "send");
	return EXIT_OK;
}

int cmd_console(struct cli *c, int argc, char **argv)
{
	struct console_options o = {0};
	int opt, status = EXIT_OK;

	optind = 0;
	while (!status && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'p':
			o.port = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'n':
			o.from_now = true;
			break;
		case 'e':
		case 's':
			status = add_step(c, &o, opt == 'e', optarg);
			break;
		default:
			status = fail_usage(c, "a wrong option");
		}
	}
	if (status)
		return status;
	if (optind != argc - 1)
		return fail_usage(c, "which virtual machine?");
	o.vm = argv[optind];
	return console_run(c, &o);
}
