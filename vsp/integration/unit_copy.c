/* SPDX-License-Identifier: Apache-2.0
 *
 * File copy as mgmtd asks for it: one step at a time.
 */
#include "vsp/integration/integration.h"

#include <errno.h>

static const char *sentence(int error)
{
	switch (error) {
	case 0:
		return "";
	case -ENOTCONN:
		return "the guest has no driver for file copy (Linux: hv_utils)";
	case -EEXIST:
		return "the guest has a file of that name already";
	case -ENOSPC:
		return "the guest's disk is full";
	case -EREMOTEIO:
		return "the guest does not take it: is the folder there, and a program for it "
		       "(Linux: hv_fcopy_daemon)?";
	case -ECONNRESET:
		return "the guest's driver has gone before it answered";
	case -EHOSTDOWN:
		return "the machine does not run";
	default:
		return "the guest does not take the request now";
	}
}

void unit_copy_done(void *arg, int error)
{
	struct integration *g = arg;

	if (!g->copy_asked)
		return;
	g->copy_asked = false;
	process_done(&g->process, g->copy_cookie, -error, sentence(error));
}

void unit_copy(struct integration *g, const struct msg_unit_copy *m)
{
	int err = g->running ? services_copy(&g->services, m) : -EHOSTDOWN;

	if (err) {
		process_done(&g->process, m->h.cookie, -err, sentence(err));
		return;
	}
	g->copy_asked = true;
	g->copy_cookie = m->h.cookie;
}
