/* SPDX-License-Identifier: Apache-2.0
 *
 * A doorbell may be rung by its peer at any time and any number of times; it only ever means
 * "look". It is read with RWF_NOWAIT, because the peer holds the same open file and could have
 * cleared O_NONBLOCK on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bus/channel.h"
#include "bus/internal.h"
#include "bus/loop.h"

#define RING_MIN_BYTES 8192u
#define RING_MAX_BYTES (16u << 20)

/* A sleep that ended within this time would have been better spent spinning: the longest spin,
 * and as much again for the sleep itself. */
#define SHORT_WAIT_NS  (2 * CHANNEL_SPIN_MAX_NS)
#define SPIN_FIRST_NS  8000u /* the first step up from not spinning */
#define SPIN_LEAST_NS  1000u /* below this it is not worth the look at the clock */
#define SPINS_PER_LOOK 16    /* turns between two looks at the clock */
#define REST_FIRST     16u   /* waits without a spin after one that had to see its end and did not */
#define REST_LAST      1024u

uint64_t spin_begin(struct spin *s)
{
	if (!s->rest)
		return s->ns;
	s->rest--;
	return 0;
}

/* Waits that are short although the longest spin never sees their end are those for a peer that
 * needs the core we spin on: both were faster if we slept at once. So rest, longer each time; now
 * and then look whether the peer has a core of its own by now. */
void spin_learn(struct spin *s, uint64_t spun_ns, uint64_t waited_ns)
{
	if (waited_ns > SHORT_WAIT_NS) {
		s->ns = s->ns / 2 < SPIN_LEAST_NS ? 0 : s->ns / 2;
	} else if (waited_ns > spun_ns && spun_ns == CHANNEL_SPIN_MAX_NS) {
		s->rests = s->rests ? 2 * s->rests : REST_FIRST;
		s->rest = s->rests = s->rests < REST_LAST ? s->rests : REST_LAST;
	} else {
		if (waited_ns <= spun_ns)
			s->rests = 0;
		s->ns = s->ns ? 2 * s->ns : SPIN_FIRST_NS;
		s->ns = s->ns < CHANNEL_SPIN_MAX_NS ? s->ns : CHANNEL_SPIN_MAX_NS;
	}
}

static bool ring_bytes_ok(uint64_t bytes)
{
	return bytes >= RING_MIN_BYTES && bytes <= RING_MAX_BYTES && bytes % 4096 == 0;
}

void channel_fds_close(struct channel_fds *fds)
{
	int *each[CHANNEL_FDS] = {&fds->memory, &fds->doorbell_out, &fds->doorbell_in};
	for (unsigned i = 0; i < CHANNEL_FDS; i++) {
		if (*each[i] >= 0)
			close(*each[i]);
		*each[i] = -1;
	}
}

int channel_create(const char *name, size_t ring_bytes, struct channel_fds ends[2])
{
	ends[0] = ends[1] = (struct channel_fds)CHANNEL_FDS_NONE;
	if (!ring_bytes_ok(ring_bytes))
		return -EINVAL;
	int rc = memfd_sealed(name, 2 * ring_bytes);
	if (rc < 0)
		return rc;
	ends[0].memory = rc;
	ends[0].doorbell_out = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ends[0].doorbell_in = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ends[0].doorbell_out < 0 || ends[0].doorbell_in < 0)
		goto fail;
	ends[1].memory = fcntl(ends[0].memory, F_DUPFD_CLOEXEC, 3);
	ends[1].doorbell_out = fcntl(ends[0].doorbell_in, F_DUPFD_CLOEXEC, 3);
	ends[1].doorbell_in = fcntl(ends[0].doorbell_out, F_DUPFD_CLOEXEC, 3);
	if (ends[1].memory >= 0 && ends[1].doorbell_out >= 0 && ends[1].doorbell_in >= 0)
		return 0;
fail:
	rc = -errno;
	channel_fds_close(&ends[0]);
	channel_fds_close(&ends[1]);
	return rc;
}

static int channel_map(struct channel *ch, unsigned end, bool adopt)
{
	uint64_t bytes;
	int rc = memfd_check(ch->fds.memory, 2 * RING_MIN_BYTES, 2 * RING_MAX_BYTES, &bytes);
	if (rc < 0)
		return rc;
	if (bytes % 2 || !ring_bytes_ok(bytes / 2))
		return -EINVAL;
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ch->fds.memory, 0);
	if (map == MAP_FAILED)
		return -errno;
	ch->map = map;
	ch->map_bytes = bytes;
	uint8_t *ring[2] = {map, (uint8_t *)map + bytes / 2};
	rc = adopt ? ring_writer_adopt(&ch->out, ring[end], bytes / 2)
		   : ring_writer_init(&ch->out, ring[end], bytes / 2);
	if (rc < 0)
		return rc;
	return adopt ? ring_reader_adopt(&ch->in, ring[!end], bytes / 2)
		     : ring_reader_init(&ch->in, ring[!end], bytes / 2);
}

static int attach(struct channel *ch, struct channel_fds fds, unsigned end, bool adopt)
{
	*ch = (struct channel){.fds = fds};
	int rc = end <= 1 ? channel_map(ch, end, adopt) : -EINVAL;
	if (rc < 0)
		channel_detach(ch);
	else
		ring_reader_mask(&ch->in);
	return rc;
}

int channel_attach(struct channel *ch, struct channel_fds fds, unsigned end)
{
	return attach(ch, fds, end, false);
}

int channel_adopt(struct channel *ch, struct channel_fds fds, unsigned end)
{
	return attach(ch, fds, end, true);
}

void channel_detach(struct channel *ch)
{
	if (ch->map)
		munmap(ch->map, ch->map_bytes);
	channel_fds_close(&ch->fds);
	*ch = (struct channel){.fds = CHANNEL_FDS_NONE};
}

/* A full counter (EAGAIN) has long rung. Nothing else can go wrong that we could act on. */
static void doorbell_ring(int fd)
{
	const uint64_t one = 1;
	ssize_t n;
	do
		n = write(fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

static void doorbell_clear(int fd)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};
	ssize_t n;
	do
		n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	while (n < 0 && errno == EINTR);
}

int channel_send(struct channel *ch, uint16_t flags, uint64_t transaction_id, const void *payload,
		 size_t bytes)
{
	struct iovec iov = {(void *)payload, bytes};
	bool signal;
	int rc = ring_write(&ch->out, RING_INBAND, flags, transaction_id, &iov, 1, 0, &signal);
	if (signal)
		doorbell_ring(ch->fds.doorbell_out);
	return rc;
}

ptrdiff_t channel_recv(struct channel *ch, struct ring_packet *pkt, void *buf, size_t cap)
{
	bool signal;
	ptrdiff_t n = ring_read(&ch->in, pkt, buf, cap, &signal);
	if (signal)
		doorbell_ring(ch->fds.doorbell_out);
	return n;
}

bool channel_arm(struct channel *ch)
{
	return ring_reader_unmask(&ch->in);
}

void channel_disarm(struct channel *ch)
{
	ring_reader_mask(&ch->in);
	doorbell_clear(ch->fds.doorbell_in);
}

/* What a wait waits for: 0 to go on waiting, 1 when it is there, or a negative errno. */
typedef int wait_condition(struct channel *ch, size_t bytes);

static int readable(struct channel *ch, size_t bytes)
{
	return ring_readable(&ch->in);
}

static int roomy(struct channel *ch, size_t bytes)
{
	int rc = ring_writer_room(&ch->out, bytes);
	if (rc != -EAGAIN)
		return rc < 0 ? rc : 1;
	return ring_readable(&ch->in) ? -EAGAIN : 0;
}

static bool stopped(const uint32_t *stop)
{
	return stop && __atomic_load_n(stop, __ATOMIC_SEQ_CST);
}

static int spin(struct channel *ch, wait_condition *cond, size_t bytes, uint64_t until,
		const uint32_t *stop)
{
	do {
		for (unsigned i = 0; i < SPINS_PER_LOOK; i++) {
			int rc = cond(ch, bytes);
			if (rc)
				return rc;
			cpu_relax();
		}
		if (stopped(stop))
			return -EINTR;
	} while (monotonic_ns() < until);
	return 0;
}

/* One sleep on the doorbell. 0: look again. */
static int doorbell_sleep(struct channel *ch, wait_condition *cond, size_t bytes, uint64_t deadline,
			  const uint32_t *stop)
{
	/* The mask goes down first and the conditions are looked at afterwards: what comes later
	 * rings. */
	channel_arm(ch);
	int rc = cond(ch, bytes);
	if (!rc && stopped(stop))
		rc = -EINTR;
	if (!rc) {
		uint64_t now = deadline ? monotonic_ns() : 0;
		uint64_t left = deadline > now ? deadline - now : 0;
		struct timespec ts = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
		struct pollfd p = {.fd = ch->fds.doorbell_in, .events = POLLIN};
		if (deadline && !left)
			rc = -ETIMEDOUT;
		else if (ppoll(&p, 1, deadline ? &ts : NULL, NULL) > 0)
			doorbell_clear(ch->fds.doorbell_in);
	}
	ring_reader_mask(&ch->in);
	return rc;
}

static int wait_for(struct channel *ch, wait_condition *cond, size_t bytes, int64_t timeout_ns,
		    const uint32_t *stop)
{
	int rc = cond(ch, bytes);
	if (rc)
		return rc;
	if (stopped(stop))
		return -EINTR;
	uint64_t start = monotonic_ns();
	uint64_t deadline = timeout_ns < 0 ? 0 : start + (uint64_t)timeout_ns;
	uint64_t spin_ns = spin_begin(&ch->spin);
	if (deadline && spin_ns > (uint64_t)timeout_ns)
		spin_ns = (uint64_t)timeout_ns;
	if (spin_ns)
		rc = spin(ch, cond, bytes, start + spin_ns, stop);
	while (!rc)
		rc = doorbell_sleep(ch, cond, bytes, deadline, stop);
	spin_learn(&ch->spin, spin_ns, monotonic_ns() - start);
	return rc;
}

int channel_wait(struct channel *ch, int64_t timeout_ns, const uint32_t *stop)
{
	int rc = wait_for(ch, readable, 0, timeout_ns, stop);
	return rc > 0 ? 0 : rc;
}

int channel_wait_room(struct channel *ch, size_t bytes, int64_t timeout_ns, const uint32_t *stop)
{
	int rc = wait_for(ch, roomy, bytes, timeout_ns, stop);
	return rc > 0 ? 0 : rc;
}
