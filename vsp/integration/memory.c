/* SPDX-License-Identifier: Apache-2.0
 *
 * Dynamic memory: the guest says how much it needs, gives pages back (it puts them into a balloon) and
 * gets them again, and memory beyond what it started with is added to it.
 *
 *   closed ──► version ──► capabilities ──► ready: one transaction at a time, towards the target
 *
 * A balloon holds pages that the guest named. Each is checked to be RAM and not in it already; what was
 * in it goes back to the host (ops.discard) and is given back to the guest before it may use it again.
 *
 * The target is what people set, or else what the guest needs and a quarter more, between minimum and
 * maximum. Source of the messages: Linux drivers/hv/hv_balloon.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vsp/integration/services.h"

#define PAGE         4096u
#define LARGE_PAGES  512u            /* guests balloon in multiples of 2 MiB */
#define CHUNK_PAGES  32768u          /* and add memory in those of 128 MiB */
#define STEP_PAGES   65536u          /* asked for at once: 256 MiB */
#define RETRY_TICKS  6u              /* after a guest gave nothing */
#define RANGES_MAX   480u            /* of one message, which has to fit a page */

static uint64_t pages_of(uint64_t bytes)
{
	return bytes / PAGE;
}

static void changed(struct service *s)
{
	s->all->memory.changed = true;
	s->all->ops->changed(s->all->arg);
}

static int put(struct service *s, uint16_t type, void *message, size_t bytes)
{
	struct dm_header *h = message;

	h->type = type;
	h->bytes = (uint16_t)bytes;
	h->transaction = ++s->all->memory.transaction;
	return provider_send(s->channel, RING_INBAND, 0, message, bytes);
}

/* ---- the balloon: one bit a page of RAM */

static uint64_t page_index(const struct memory *m, uint64_t pfn)
{
	uint64_t low = pages_of(m->low_bytes), high = pages_of(GUESTMEM_HIGH_BASE);

	if (pfn < low)
		return pfn;
	return pfn >= high && pfn - high < pages_of(m->ram_bytes) - low ? low + (pfn - high)
									 : UINT64_MAX;
}

static uint64_t page_number(const struct memory *m, uint64_t index)
{
	uint64_t low = pages_of(m->low_bytes);

	return index < low ? index : pages_of(GUESTMEM_HIGH_BASE) + (index - low);
}

static bool in_balloon(const struct memory *m, uint64_t index)
{
	return m->balloon[index / 64] >> index % 64 & 1;
}

static void flip(struct memory *m, uint64_t index)
{
	m->balloon[index / 64] ^= 1ull << index % 64;
}

/* Pages that are not there, or in the balloon already, are none. Runs go to the host together. */
static void take_range(struct service *s, uint64_t first, uint64_t count)
{
	struct memory *m = &s->all->memory;
	uint64_t run = 0, start = 0;

	for (uint64_t i = 0; i <= count; i++) {
		uint64_t index = i < count ? page_index(m, first + i) : UINT64_MAX;
		bool good = index != UINT64_MAX && index < pages_of(m->present_bytes) &&
			    !in_balloon(m, index);

		if (good) {
			flip(m, index);
			m->ballooned++;
			start = run ? start : first + i;
			run++;
		} else if (run) {
			s->all->ops->discard(s->all->arg, start * PAGE, run * PAGE);
			run = 0;
		}
	}
}

static void balloon_answer(struct service *s, const uint8_t *data, size_t bytes)
{
	struct memory *m = &s->all->memory;
	struct dm_balloon_response h;
	uint64_t before = m->ballooned;
	uint32_t count;

	if (m->doing != MEMORY_BALLOON || bytes < sizeof(h))
		return;
	memcpy(&h, data, sizeof(h));
	count = h.more_and_count >> 1;
	if (count > (bytes - sizeof(h)) / 8)
		count = (uint32_t)((bytes - sizeof(h)) / 8);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t range;

		memcpy(&range, data + sizeof(h) + i * 8, 8);
		take_range(s, range & ((1ull << 40) - 1), range >> 40);
	}
	m->got += m->ballooned - before;
	if (!(h.more_and_count & 1)) {
		m->doing = MEMORY_IDLE;
		m->wait = m->got ? 0 : RETRY_TICKS;
	}
	changed(s);
}

static int inflate(struct service *s, uint64_t pages)
{
	struct dm_balloon b = {0};

	b.pages = (uint32_t)(pages < STEP_PAGES ? pages : STEP_PAGES) / LARGE_PAGES * LARGE_PAGES;
	s->all->memory.got = 0;
	return b.pages ? put(s, DM_BALLOON_REQUEST, &b, sizeof(b)) : -ENODATA;
}

/* From its highest page down; they are the host's to give again as soon as this is sent. */
static int deflate(struct service *s, uint64_t pages)
{
	static struct dm_unballoon b;
	struct memory *m = &s->all->memory;
	uint64_t left = pages, index = pages_of(m->present_bytes), first;
	uint64_t taken[RANGES_MAX];
	uint32_t n = 0;
	int err;

	memset(&b, 0, sizeof(b));
	while (n < RANGES_MAX && left && index) {
		uint64_t run = 0;

		while (index && !in_balloon(m, index - 1))
			index--;
		while (index && run < left && run < STEP_PAGES && in_balloon(m, index - 1) &&
		       (!run || page_number(m, index) == page_number(m, index - 1) + 1)) {
			index--;
			run++;
		}
		first = page_number(m, index);
		taken[n] = index;
		if (run)
			b.range[n++] = first | run << 40;
		left -= run;
	}
	b.count = n;
	err = n ? put(s, DM_UNBALLOON_REQUEST, &b, offsetof(struct dm_unballoon, range) + n * 8)
		: -ENODATA;
	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t run = b.range[i] >> 40;

		for (uint64_t k = 0; k < run; k++)
			flip(m, taken[i] + k);
		m->ballooned -= run;
	}
	return err;
}

/* ---- memory beyond what it started with */

static int add(struct service *s, uint64_t pages)
{
	struct memory *m = &s->all->memory;
	uint64_t room = pages_of(m->ram_bytes - m->present_bytes);
	uint64_t first = page_number(m, pages_of(m->present_bytes));
	struct dm_hot_add a = {0};

	if (!(m->caps & DM_CAN_ADD) || m->add_failed)
		return -ENODATA;
	pages = (pages + CHUNK_PAGES - 1) / CHUNK_PAGES * CHUNK_PAGES;
	if (pages > STEP_PAGES)
		pages = STEP_PAGES;
	if (pages > room)
		pages = room / CHUNK_PAGES * CHUNK_PAGES;
	/* Up to the hole below 4 GiB; what is above it is another piece. */
	if (m->present_bytes < m->low_bytes && pages > pages_of(m->low_bytes - m->present_bytes))
		pages = pages_of(m->low_bytes - m->present_bytes) / CHUNK_PAGES * CHUNK_PAGES;
	a.range = first | pages << 40;
	return pages ? put(s, DM_HOT_ADD_REQUEST, &a, sizeof(a)) : -ENODATA;
}

static void add_answer(struct service *s, const uint8_t *data, size_t bytes)
{
	struct memory *m = &s->all->memory;
	struct dm_hot_add_response r;
	uint64_t room = pages_of(m->ram_bytes - m->present_bytes);

	if (m->doing != MEMORY_ADD || bytes < sizeof(r))
		return;
	memcpy(&r, data, sizeof(r));
	m->doing = MEMORY_IDLE;
	if (!r.pages || r.pages > room) {
		m->add_failed = r.result == 1; /* for good */
		m->wait = RETRY_TICKS;
	} else {
		m->present_bytes += (uint64_t)r.pages * PAGE;
	}
	changed(s);
}

/* ---- towards the target */

uint64_t memory_assigned(const struct memory *m)
{
	return m->present_bytes - m->ballooned * PAGE;
}

static uint64_t wanted(const struct memory *m)
{
	uint64_t need = m->committed_bytes, held = m->ballooned * PAGE;

	if (m->target_bytes)
		return m->target_bytes;
	if (!need || m->minimum_bytes == m->ram_bytes)
		return memory_assigned(m); /* it has not said, or there is nothing to decide */
	need = need > held ? need - held : 0; /* guests count the balloon as used */
	need += need / 4;
	return need < m->minimum_bytes ? m->minimum_bytes
	       : need > m->ram_bytes   ? m->ram_bytes
				       : need;
}

static void go_on(struct service *s)
{
	struct memory *m = &s->all->memory;
	uint64_t now = memory_assigned(m), to = wanted(m), slack = m->target_bytes ? 0 : m->ram_bytes / 16;
	int err = -ENODATA;

	if (s->state != SERVICE_READY || m->doing != MEMORY_IDLE || m->wait)
		return;
	if (now > to && now - to > slack && m->caps & DM_CAN_BALLOON) {
		err = inflate(s, pages_of(now - to));
		m->doing = err ? MEMORY_IDLE : MEMORY_BALLOON;
	} else if (to > now && to - now > slack && m->ballooned) {
		err = deflate(s, pages_of(to - now));
		m->doing = err ? MEMORY_IDLE : MEMORY_UNBALLOON;
	} else if (to > now && to - now > slack) {
		err = add(s, pages_of(to - now));
		m->doing = err ? MEMORY_IDLE : MEMORY_ADD;
	}
	if (err == 0)
		changed(s);
}

void memory_tick(struct service *s)
{
	if (s->all->memory.wait)
		s->all->memory.wait--;
	go_on(s);
}

void services_set_memory(struct services *all, const struct msg_unit_memory *set)
{
	struct memory *m = &all->memory;

	m->minimum_bytes = set->minimum_bytes;
	m->target_bytes = set->target_bytes;
	m->wait = 0;
	go_on(&all->service[SERVICE_MEMORY]);
}

/* ---- what the guest says */

static void version(struct service *s, const uint8_t *data, size_t bytes)
{
	struct dm_version_request r;
	struct dm_accepted a = {0};

	if (bytes < sizeof(r))
		return;
	memcpy(&r, data, sizeof(r));
	a.accepted = r.version == IC_VERSION(1, 0) || r.version == IC_VERSION(2, 0);
	s->version = a.accepted ? r.version : 0;
	put(s, DM_VERSION_RESPONSE, &a, sizeof(a));
}

static void capabilities(struct service *s, const uint8_t *data, size_t bytes)
{
	struct memory *m = &s->all->memory;
	struct dm_capabilities c;
	struct dm_accepted a = {.accepted = 1};

	if (bytes < sizeof(c) || !s->version || s->state == SERVICE_READY)
		return;
	memcpy(&c, data, sizeof(c));
	free(m->balloon);
	m->balloon = calloc(pages_of(m->ram_bytes) / 64 + 1, 8);
	if (!m->balloon || put(s, DM_CAPABILITIES_RESPONSE, &a, sizeof(a)))
		return;
	m->caps = c.caps;
	s->state = SERVICE_READY;
	changed(s);
	go_on(s);
}

static void status(struct service *s, const uint8_t *data, size_t bytes)
{
	struct memory *m = &s->all->memory;
	struct dm_status r;

	if (bytes < sizeof(r) || s->state != SERVICE_READY)
		return;
	memcpy(&r, data, sizeof(r));
	if (r.available > pages_of(CONTROL_MAX_RAM) || r.committed > pages_of(CONTROL_MAX_RAM))
		return; /* nonsense */
	m->available_bytes = r.available * PAGE;
	m->committed_bytes = r.committed * PAGE;
	changed(s);
	go_on(s);
}

static void packet(struct service *s, const void *packet, size_t bytes)
{
	struct memory *m = &s->all->memory;
	const uint8_t *data = packet;
	struct dm_header h;

	if (bytes < sizeof(h))
		return;
	memcpy(&h, data, sizeof(h));
	switch (h.type) {
	case DM_VERSION_REQUEST:
		if (s->state == SERVICE_NEGOTIATING)
			version(s, data, bytes);
		break;
	case DM_CAPABILITIES_REPORT:
		capabilities(s, data, bytes);
		break;
	case DM_STATUS_REPORT:
		status(s, data, bytes);
		break;
	case DM_BALLOON_RESPONSE:
		balloon_answer(s, data, bytes);
		break;
	case DM_UNBALLOON_RESPONSE:
		if (m->doing == MEMORY_UNBALLOON)
			m->doing = MEMORY_IDLE;
		break;
	case DM_HOT_ADD_RESPONSE:
		add_answer(s, data, bytes);
		break;
	default:
		break;
	}
	go_on(s);
}

/* The driver has gone. What it had given up it keeps until it is started anew (Linux loses such pages),
 * and a fresh balloon knows nothing of them: the host gives them as the guest touches them. */
static void closed(struct service *s)
{
	struct memory *m = &s->all->memory;

	free(m->balloon);
	m->balloon = NULL;
	m->ballooned = m->committed_bytes = m->available_bytes = 0;
	m->doing = MEMORY_IDLE;
	m->wait = 0;
	m->add_failed = false;
	changed(s);
}

void memory_reset(struct memory *m)
{
	m->present_bytes = m->start_bytes;
}

const struct service_type memory_type = {
	.name = "dynamic memory",
	.interface = {{0xdc, 0x74, 0x50, 0x52, 0x85, 0x89, 0xe2, 0x46, 0x80, 0x57, 0xa3, 0x07, 0xdc,
		       0x18, 0xa5, 0x02}},
	.instance = {{0x72, 0xfd, 0xcc, 0x1e, 0x41, 0x4b, 0xef, 0x45, 0xb7, 0x3a, 0x4a, 0x6e, 0x44,
		      0xc1, 0x29, 0x24}},
	.packet = packet,
	.closed = closed,
};
