/* SPDX-License-Identifier: Apache-2.0
 *
 * A hostile guest of the storage provider: packets of any type, with any command, ranges, lengths
 * and pages; indices and ring bytes overwritten while the provider reads; a thread that scribbles
 * over ring and data all the while; channels closed at any moment. The provider is the real one, in
 * threads of its own (tests/unit/storage/hosted.h), so which of them meets what when differs from
 * run to run; what must hold does not.
 *
 * An input is a row of steps. After it the channel is closed, which must be answered, and opened
 * again, and a plain read must work; RAM beyond the pages that were named must be untouched. On either
 * side of RAM, and of each ring, lie pages that cannot be touched (guestmem_map, guest_ring_map).
 */
#include "tests/unit/storage/hosted.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/scribble.h"

enum { DATA_PAGES = 64, IDS = 4096 };

static struct hosted *h;
static uint64_t steps, packets, answers, closes;
static uint8_t command_of[IDS]; /* by the packet's transaction id */
static uint8_t seen[256][256]; /* command, SRB status of its answer */

/* ---- shared memory that changes while it is read ---- */

static void change(uint64_t dice)
{
	struct hosted_channel *c = &h->channel[0];
	uint8_t *data = hosted_page(h, HOSTED_DATA_PAGE);

	if (!(dice & 0x3ff)) /* an index of either ring */
		((uint32_t *)(dice & 0x400 ? c->vsc.out.ctl : c->vsc.in.ctl))[dice >> 16 & 3] =
			(uint32_t)(dice >> 32) % c->vsc.out.size & ~7u;
	else if (dice & 0x100) /* where packets lie, or have lain */
		c->vsc.out.data[(dice >> 16) % c->vsc.out.size] = (uint8_t)dice;
	else
		data[(dice >> 16) % (DATA_PAGES * 4096)] = (uint8_t)dice;
}

/* Every page of RAM that no ring uses and no packet names. */
static uint8_t *secrets(size_t *bytes)
{
	*bytes = HOSTED_RAM - (HOSTED_DATA_PAGE + DATA_PAGES) * 4096ul;
	return hosted_page(h, HOSTED_DATA_PAGE + DATA_PAGES);
}

/* n pages of them, other ones each time. */
static void check_secrets(unsigned n)
{
	static size_t at;
	size_t bytes;
	const uint8_t *p = secrets(&bytes);

	for (; n; n--, at = (at + 4096) % bytes)
		fuzz_require(p[at] == 0xee && !memcmp(p + at, p + at + 1, 4095));
}

static void begin(void)
{
	static const struct vm_disk disks[] = {
		{.format = VM_FORMAT_RAW, .chain = 1},
		{.lun = 1, .format = VM_FORMAT_VHD, .chain = 1},
		{.lun = 2, .format = VM_FORMAT_RAW, .chain = 1, .kind = VM_DVD, .read_only = 1},
	};
	struct disk_create how = {
		.format = DISK_FORMAT_VHD, .type = DISK_TYPE_DYNAMIC, .size = 8 << 20};
	size_t bytes;
	uint8_t *p;
	int fds[3];

	for (unsigned i = 0; i < 3; i++) {
		fds[i] = memfd_create("disk", MFD_CLOEXEC);
		fuzz_require(i == 1 ? !disk_create(fds[i], &how, NULL)
				    : !ftruncate(fds[i], 8 << 20));
	}
	h = hosted_start(disks, fds, 3, 4);
	fuzz_require(hosted_open(h, &h->channel[0]));
	p = secrets(&bytes);
	memset(p, 0xee, bytes);
	scribble_start(change);
}

/* A GPA list of the input's making. */
static uint32_t make_header(struct fuzz_input *in, uint8_t *out)
{
	uint64_t *pfn = (uint64_t *)(out + 16);
	uint32_t *word = (uint32_t *)out;
	unsigned n = fuzz_take(in, 1) % 20, odd = fuzz_take(in, 1);

	word[0] = 0;
	word[1] = odd == 1 ? fuzz_take(in, 4) : 1;
	word[2] = odd == 2 ? fuzz_take(in, 4) : n * 4096;
	word[3] = odd == 3 ? fuzz_take(in, 4) : 0;
	for (unsigned i = 0; i < n; i++)
		pfn[i] = HOSTED_DATA_PAGE + fuzz_take(in, 1) % DATA_PAGES;
	if (n && odd == 4)
		pfn[n - 1] = fuzz_take(in, 8) | HOSTED_RAM / 4096;
	return 16 + n * 8;
}

static void send_packet(struct hosted_channel *c, struct fuzz_input *in)
{
	static const uint8_t commands[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b,
					   0x25, 0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x42,
					   0x43, 0x46, 0x4a, 0x51, 0x55, 0x5a, 0x88, 0x8a,
					   0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xaa};
	uint8_t header[16 + 20 * 8];
	struct vstor_packet p = {.operation = VSTOR_EXECUTE_SRB};
	struct iovec iov[2] = {{header, 0}, {&p, sizeof(p)}};
	uint8_t kind = fuzz_take(in, 1);
	uint16_t type = kind & 1 ? RING_GPA_DIRECT : RING_INBAND;
	bool signal = false;

	if (kind & 2)
		p.operation = fuzz_take(in, 1) % 16;
	if (kind & 1)
		iov[0].iov_len = make_header(in, header);
	if (kind & 4)
		iov[1].iov_len = fuzz_take(in, 1) % (sizeof(p) + 1);
	if (kind & 8)
		type = (uint16_t)fuzz_take(in, 2);
	p.srb.lun = fuzz_take(in, 1) % 4;
	p.srb.cdb_bytes = kind & 16 ? fuzz_take(in, 1) : 16;
	p.srb.sense_bytes = kind & 32 ? fuzz_take(in, 1) : 20;
	p.srb.data_in = fuzz_take(in, 1) & 3;
	p.srb.data_bytes = kind & 64 ? fuzz_take(in, 4) : UINT32_MAX;
	for (unsigned i = 1; i < 16; i++)
		p.srb.cdb[i] = fuzz_take(in, 1);
	p.srb.cdb[0] = commands[fuzz_take(in, 1) % sizeof(commands)];
	command_of[++packets % IDS] = p.operation == VSTOR_EXECUTE_SRB ? p.srb.cdb[0] : 0xff;
	if (ring_write(&c->vsc.out, type, kind & 128 ? 0 : 1, packets, iov, 2, iov[0].iov_len,
		       &signal) == 0 ||
	    signal)
		c->vsc.signal(&h->channel[0]);
}

static void read_answers(struct hosted_channel *c)
{
	struct vstor_packet p;
	uint64_t id;

	while (storvsc_receive(&c->vsc, &p, &id) == 0) {
		answers++;
		if (id && id <= packets)
			seen[command_of[id % IDS]][p.srb.srb_status] = 1;
	}
}

static void step(struct hosted_channel *c, struct fuzz_input *in)
{
	struct vstor_packet p;
	uint32_t at;

	steps++;
	switch (fuzz_take(in, 1) % 16) {
	case 0: /* overwrite the ring where the provider reads */
		at = fuzz_take(in, 4) % c->vsc.out.size;
		c->vsc.out.data[at] = (uint8_t)fuzz_take(in, 1);
		break;
	case 1: /* or its indices */
		at = fuzz_take(in, 1) % 5;
		((uint32_t *)c->vsc.out.ctl)[at] = (uint32_t)fuzz_take(in, 4);
		c->vsc.signal(c);
		break;
	case 2:
		at = fuzz_take(in, 1) % 5;
		((uint32_t *)c->vsc.in.ctl)[at] = (uint32_t)fuzz_take(in, 4);
		break;
	case 3: /* change parameter lists and data under its feet */
		at = fuzz_take(in, 4) % (DATA_PAGES * 4096);
		((uint8_t *)hosted_page(h, HOSTED_DATA_PAGE))[at] = (uint8_t)fuzz_take(in, 1);
		break;
	case 4:
		scribble_end(); /* the ring is made anew */
		closes++;
		hosted_close(h, c);
		fuzz_require(hosted_open(h, c));
		break;
	case 5:
		read_answers(c);
		break;
	case 7:
		scribble_more(fuzz_take(in, 1) * 16);
		break;
	case 6: /* be good for a moment */
		if (ring_writer_room(&c->vsc.out, 4096) == 0) {
			p = (struct vstor_packet){.operation = VSTOR_BEGIN_INITIALIZATION};
			storvsc_send(&c->vsc, &p, 1);
			p = (struct vstor_packet){.operation = VSTOR_QUERY_PROTOCOL_VERSION,
						  .version = VSTOR_V6_2};
			storvsc_send(&c->vsc, &p, 1);
			p = (struct vstor_packet){.operation = VSTOR_END_INITIALIZATION};
			storvsc_send(&c->vsc, &p, 1);
		}
		break;
	default:
		send_packet(c, in);
	}
}

static void check_works(struct hosted_channel *c)
{
	const uint64_t page = HOSTED_DATA_PAGE;
	struct storvsc_io io = {.id = 5,
				.cdb = {0x28, [8] = 8},
				.cdb_bytes = 10,
				.from_device = true,
				.bytes = 4096,
				.pages = &page,
				.npages = 1};
	struct vstor_packet p;

	fuzz_require(hosted_handshake(c));
	fuzz_require(hosted_command(c, &io, &p) && p.srb.srb_status == SRB_SUCCESS);
	check_secrets(4);
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct hosted_channel *c;

	if (!h)
		begin();
	c = &h->channel[0];
	fuzz_require(hosted_handshake(c));
	while (in.size)
		step(c, &in);
	scribble_end();
	read_answers(c);
	hosted_close(h, c);
	fuzz_require(hosted_open(h, c));
	check_works(c);
	hosted_close(h, c);
	fuzz_require(hosted_open(h, c));
	return 0;
}

void fuzz_report(void)
{
	unsigned commands = 0, ways = 0;

	check_secrets(HOSTED_RAM / 4096);
	for (unsigned c = 0; c < 255; c++) {
		unsigned before = ways;

		for (unsigned s = 0; s < 256; s++)
			ways += seen[c][s];
		commands += ways > before;
	}
	printf("coverage of storvsp: %lu steps, %lu packets, %lu answers read, %lu closes, %lu bytes changed "
	       "while they were read; %u commands, %u different: command and its status\n",
	       steps, packets, answers, closes, scribble_count(), commands, ways);
}
