/* SPDX-License-Identifier: Apache-2.0
 *
 * Freeze and thaw as mgmtd asks for them. Whatever becomes of mgmtd, or of who asked it: a guest that
 * is frozen is thawed when its time is over.
 */
#include "vsp/integration/integration.h"

#include <errno.h>
#include <string.h>

static const char *sentence(int error)
{
	switch (error) {
	case 0:
		return "";
	case -ENOTCONN:
		return "nothing in the guest freezes its file systems (Linux: hv_vss_daemon)";
	case -EREMOTEIO:
		return "the guest could not freeze or thaw its file systems; see its log";
	case -EALREADY:
		return "its file systems are frozen already, or are being frozen or thawed";
	case -ETIMEDOUT:
		return "the time for the freeze was over";
	case -ECONNRESET:
		return "the guest's driver has gone before it answered";
	case -EHOSTDOWN:
		return "the machine does not run";
	default:
		return "the guest does not take the request now";
	}
}

static void arm(struct integration *g, uint32_t seconds)
{
	loop_timer_set(g->freeze_timer, seconds ? monotonic_ns() + seconds * 1000000000ull : 0);
}

static void answer_freeze(struct integration *g, int error)
{
	if (!g->freeze_asked)
		return;
	g->freeze_asked = false;
	process_done(&g->process, g->freeze_cookie, -error, sentence(error));
}

void unit_freeze_done(void *arg, int error)
{
	struct integration *g = arg;

	answer_freeze(g, error);
	if (!g->freeze_expired)
		arm(g, error ? 0 : g->freeze_s);
}

void unit_thaw_done(void *arg, int error)
{
	struct integration *g = arg;

	arm(g, 0);
	if (!g->thaw_asked)
		return;
	g->thaw_asked = false;
	if (g->freeze_expired && !error)
		error = -ETIMEDOUT;
	process_done(&g->process, g->thaw_cookie, -error, sentence(error));
}

void unit_freeze_expired(void *arg)
{
	struct integration *g = arg;

	g->freeze_expired = true;
	answer_freeze(g, -ETIMEDOUT);
	services_thaw(&g->services);
}

void unit_freeze(struct integration *g, const struct msg_unit_freeze *m)
{
	int err = g->running ? services_freeze(&g->services) : -EHOSTDOWN;

	if (err) {
		process_done(&g->process, m->h.cookie, -err, sentence(err));
		return;
	}
	g->freeze_asked = true;
	g->freeze_cookie = m->h.cookie;
	g->freeze_s = m->timeout_s;
	g->freeze_expired = false;
	arm(g, m->timeout_s);
}

void unit_thaw(struct integration *g, uint64_t cookie)
{
	int err = services_thaw(&g->services);

	if (g->thaw_asked) /* mgmtd has given up waiting for that one */
		process_done(&g->process, g->thaw_cookie, ECANCELED, "asked again");
	g->thaw_asked = !err;
	g->thaw_cookie = cookie;
	if (!err)
		return;
	if (g->freeze_expired)
		process_done(&g->process, cookie, ETIMEDOUT, sentence(-ETIMEDOUT));
	else
		process_done(&g->process, cookie, EALREADY, "its file systems are not frozen");
}
