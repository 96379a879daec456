/* SPDX-License-Identifier: Apache-2.0
 *
 * Landlock with no rule: every right it can handle is denied, to what is opened from here on.
 * Descriptors that were handed over keep working.
 *
 * The rights are not taken from the header this was built with: the running kernel is asked about
 * each bit, so that a newer kernel's rights are denied too.
 * Source of the numbers: Linux Documentation/userspace-api/landlock.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/sandbox_internal.h"

#ifndef LANDLOCK_CREATE_RULESET_VERSION
#define LANDLOCK_CREATE_RULESET_VERSION (1U << 0)
#endif

/* struct landlock_ruleset_attr as of ABI 6; older kernels accept it while what they do not know is
 * zero. */
struct ruleset {
	uint64_t fs;    /* ABI 1 */
	uint64_t net;   /* ABI 4 */
	uint64_t scope; /* ABI 6 */
};

static int create(const struct ruleset *r)
{
	return (int)syscall(SYS_landlock_create_ruleset, r, sizeof(*r), 0);
}

/* Every bit of one field that the kernel accepts by itself. */
static uint64_t known_bits(struct ruleset *probe, uint64_t *field)
{
	uint64_t known = 0;
	for (unsigned bit = 0; bit < 64; bit++) {
		*field = 1ull << bit;
		int fd = create(probe);
		if (fd < 0)
			break; /* rights are numbered without gaps */
		close(fd);
		known |= *field;
	}
	*field = 0;
	return known;
}

int sandbox_landlock(struct sandbox_report *report, struct sandbox_why *why)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
		return 0; /* not in this kernel: the report says ABI 0 */
	if (abi < 0)
		return sandbox_fail(why, errno, "cannot ask for the Landlock version");
	struct ruleset probe = {0}, all = {0};
	all.fs = known_bits(&probe, &probe.fs);
	all.net = known_bits(&probe, &probe.net);
	all.scope = known_bits(&probe, &probe.scope);
	int fd = create(&all);
	if (fd < 0)
		return sandbox_fail(why, errno, "cannot make the Landlock ruleset");
	long rc = syscall(SYS_landlock_restrict_self, fd, 0);
	int saved = errno;
	close(fd);
	if (rc < 0)
		return sandbox_fail(why, saved, "cannot apply the Landlock ruleset");
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != EACCES) {
		if (fd >= 0)
			close(fd);
		return sandbox_fail(why, EPERM, "Landlock is on and the root can still be read");
	}
	report->landlock_abi = (uint8_t)(abi > 255 ? 255 : abi);
	return 0;
}
