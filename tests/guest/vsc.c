/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: our own VMBus client (vsc/) on bare metal. It finds the bus, opens the first SCSI
 * controller and reads, writes and closes the disk at LUN 0, which must be of 8 MiB and hold, at
 * first, in each sector the sector's number as a 32-bit word, 128 times. What it leaves there its
 * test looks at.
 */
#include "guest.h"
#include "vsc/storvsc.h"
#include "vsc/vmbus.h"

enum {
	GUEST_OS_ID = 0x40000000,
	HYPERCALL = 0x40000001,
	SCONTROL = 0x40000080,
	SIEFP = 0x40000082,
	SIMP = 0x40000083,
	EOM = 0x40000084,
	SINT0 = 0x40000090,
};
enum { V_VMBUS = 0x60 };
enum { RING_PAGES = 33, DATA_PAGES = 32, OFFERS = 64, SECTOR = 512, SECTORS = 16384 };

/* A slot of the message page (TLFS 11.8). */
struct slot {
	volatile uint32_t type;
	uint8_t bytes;
	volatile uint8_t flags;
	uint8_t reserved[2];
	uint64_t origin;
	uint8_t payload[VMBUS_MESSAGE_MAX];
};

static uint8_t *hypercall_page;
static struct slot *slots;
static volatile uint64_t *events; /* of our SINT, by channel */
static uint8_t ring[2 * RING_PAGES][4096] __attribute__((aligned(4096)));
static uint8_t data[DATA_PAGES][4096] __attribute__((aligned(4096)));
static uint64_t ring_pages[2 * RING_PAGES], data_pages[DATA_PAGES];
static struct vmbus_msg_offer offer[OFFERS], controller;
static uint32_t ring_gpadl;

static uint64_t hypercall(uint64_t control, uint64_t in)
{
	register uint64_t r8 __asm__("r8") = 0;
	uint64_t status;

	__asm__ volatile("call *%[page]"
			 : "=a"(status), "+c"(control), "+d"(in), "+r"(r8)
			 : [page] "r"(hypercall_page)
			 : "memory", "cc", "r9", "r10", "r11");
	return status;
}

/* ---- what the client asks of us ---- */

static bool post(void *arg, uint32_t connection, const void *message, size_t bytes)
{
	static struct {
		uint32_t connection, reserved, type, bytes;
		uint8_t payload[VMBUS_MESSAGE_MAX];
	} in __attribute__((aligned(256)));
	uint64_t status;

	in.connection = connection;
	in.type = VMBUS_SYNIC_MESSAGE;
	in.bytes = (uint32_t)bytes;
	memcpy(in.payload, message, bytes);
	while ((status = hypercall(0x5c, (uint64_t)&in)) == 19) /* no buffers now */
		pause();
	return status == 0;
}

static bool receive(void *arg, uint8_t message[VMBUS_MESSAGE_MAX])
{
	struct slot *s = &slots[VMBUS_SINT];

	if (!WAIT(s->type, 5000))
		return false;
	memcpy(message, s->payload, VMBUS_MESSAGE_MAX);
	__atomic_store_n(&s->type, 0, __ATOMIC_SEQ_CST);
	if (s->flags & 1)
		wrmsr(EOM, 0);
	return true;
}

static void signal_host(void *arg)
{
	hypercall(0x1005d, controller.connection);
}

static struct vsc_bus bus = {.post = post, .receive = receive};
static struct storvsc disk = {.signal = signal_host};

/* ---- the bus ---- */

static bool hypervisor(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 31))
		return false;
	cpuid(0x40000001, 0, r);
	return r[0] == 0x31237648; /* "Hv#1" */
}

static void the_synic_is_set_up(void)
{
	uint8_t *event_page = page_alloc();

	hypercall_page = page_alloc();
	slots = (struct slot *)page_alloc();
	events = (volatile uint64_t *)(event_page + VMBUS_SINT * 256);
	wrmsr(GUEST_OS_ID, 0x8100000000000000ull);
	wrmsr(HYPERCALL, (uint64_t)hypercall_page | 1);
	wrmsr(SIMP, (uint64_t)slots | 1);
	wrmsr(SIEFP, (uint64_t)event_page | 1);
	wrmsr(SINT0 + VMBUS_SINT, V_VMBUS);
	wrmsr(SCONTROL, 1);
	EXPECT_EQ(rdmsr(HYPERCALL), (uint64_t)hypercall_page | 1);
}

static void the_bus_is_found(void)
{
	EXPECT_EQ(vsc_bus_connect(&bus, 0), 0);
	EXPECT_EQ(bus.version, VMBUS_V5_3);
}

static void the_controller_is_offered(void)
{
	/* ba6163d9-04a1-4d29-b605-72e2ffb1dc7f: SCSI */
	static const uint8_t scsi[16] = {0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d,
					 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f};
	int n = vsc_bus_offers(&bus, offer, OFFERS);

	EXPECT(n > 0);
	for (int i = 0; i < n; i++)
		if (!memcmp(offer[i].interface.b, scsi, 16) && !controller.channel)
			controller = offer[i];
	EXPECT(controller.channel != 0);
}

static void the_channel_opens(void)
{
	memset(ring, 0, sizeof(ring));
	for (unsigned i = 0; i < 2 * RING_PAGES; i++)
		ring_pages[i] = (uint64_t)ring[i] >> 12;
	for (unsigned i = 0; i < DATA_PAGES; i++)
		data_pages[i] = (uint64_t)data[i] >> 12;
	EXPECT_EQ(ring_writer_init(&disk.out, ring[0], RING_PAGES * 4096), 0);
	EXPECT_EQ(ring_reader_init(&disk.in, ring[RING_PAGES], RING_PAGES * 4096), 0);
	EXPECT_EQ(vsc_bus_open(&bus, controller.channel, ring_pages, 2 * RING_PAGES, RING_PAGES,
			       &ring_gpadl),
		  0);
}

/* ---- the disk ---- */

static bool answer(struct vstor_packet *p, uint64_t id)
{
	uint64_t got = 0;

	return WAIT(ring_readable(&disk.in), 10000) && storvsc_receive(&disk, p, &got) == 0 &&
	       got == id;
}

static uint32_t ask(uint32_t operation, uint16_t version)
{
	struct vstor_packet p = {.operation = operation, .flags = 1, .version = version};

	if (storvsc_send(&disk, &p, 7) || !answer(&p, 7))
		return UINT32_MAX;
	return p.operation == VSTOR_COMPLETE_IO ? p.status : UINT32_MAX;
}

static void the_protocol_is_agreed_on(void)
{
	EXPECT_EQ(ask(VSTOR_BEGIN_INITIALIZATION, 0), 0);
	EXPECT_EQ(ask(VSTOR_QUERY_PROTOCOL_VERSION, VSTOR_V6_2), 0);
	EXPECT_EQ(ask(VSTOR_QUERY_PROPERTIES, 0), 0);
	EXPECT_EQ(ask(VSTOR_END_INITIALIZATION, 0), 0);
}

/* A command with `bytes` of data from `offset` in the first data page on; its SRB status. */
static uint8_t command(const uint8_t cdb[16], uint8_t lun, uint32_t bytes, uint32_t offset, bool in)
{
	static uint64_t id = 100;
	struct storvsc_io io = {.id = ++id,
				.cdb_bytes = 16,
				.lun = lun,
				.from_device = in,
				.bytes = bytes,
				.offset = offset,
				.pages = data_pages,
				.npages = (offset + bytes + 4095) / 4096};
	struct vstor_packet p;

	memcpy(io.cdb, cdb, 16);
	if (storvsc_submit(&disk, &io) || !answer(&p, io.id))
		return 0;
	return p.srb.srb_status;
}

/* READ(10) or WRITE(10) */
static uint8_t transfer(bool write, uint32_t lba, uint32_t sectors, uint32_t offset)
{
	uint8_t cdb[16] = {write ? 0x2a : 0x28, 0,      lba >> 24, lba >> 16, lba >> 8, lba, 0,
			   sectors >> 8,        sectors};

	return command(cdb, 0, sectors * SECTOR, offset, !write);
}

static void fill(uint32_t from, uint32_t sectors, uint32_t offset, uint32_t salt)
{
	uint32_t *word = (uint32_t *)(data[0] + offset);

	for (uint32_t i = 0; i < sectors * SECTOR / 4; i++)
		word[i] = (from + i / (SECTOR / 4)) ^ salt;
}

static bool holds(uint32_t from, uint32_t sectors, uint32_t offset, uint32_t salt)
{
	const uint32_t *word = (const uint32_t *)(data[0] + offset);

	for (uint32_t i = 0; i < sectors * SECTOR / 4; i++)
		if (word[i] != ((from + i / (SECTOR / 4)) ^ salt))
			return false;
	return true;
}

static void the_disk_says_who_it_is(void)
{
	uint8_t inquiry[16] = {0x12, [4] = 96}, capacity[16] = {0x25};

	EXPECT_EQ(command(inquiry, 0, 96, 0, true), SRB_SUCCESS);
	EXPECT(!memcmp(data[0] + 8, "Bulkhead", 8));
	EXPECT_EQ(command(capacity, 0, 8, 0, true), SRB_SUCCESS);
	EXPECT_EQ(data[0][2] << 8 | data[0][3], SECTORS - 1); /* last block, big-endian */
	EXPECT_EQ(data[0][6] << 8 | data[0][7], SECTOR);
}

static void what_is_there_can_be_read(void)
{
	EXPECT_EQ(transfer(false, 0, 8, 0), SRB_SUCCESS);
	EXPECT(holds(0, 8, 0, 0));
	EXPECT_EQ(transfer(false, SECTORS - 1, 1, 0), SRB_SUCCESS);
	EXPECT(holds(SECTORS - 1, 1, 0, 0));
	EXPECT_EQ(transfer(false, 1000, 240, 1536), SRB_SUCCESS); /* 120 KiB, not page-aligned */
	EXPECT(holds(1000, 240, 1536, 0));
}

/* The test looks for this: sectors 2000 to 2199 with their numbers' bits all inverted. */
static void what_is_written_is_there(void)
{
	uint8_t sync[16] = {0x35};

	fill(2000, 200, 512, UINT32_MAX);
	EXPECT_EQ(transfer(true, 2000, 200, 512), SRB_SUCCESS);
	memset(data, 0, sizeof(data));
	EXPECT_EQ(transfer(false, 2000, 200, 0), SRB_SUCCESS);
	EXPECT(holds(2000, 200, 0, UINT32_MAX));
	EXPECT_EQ(transfer(false, 1999, 1, 0), SRB_SUCCESS); /* its neighbours are as before */
	EXPECT(holds(1999, 1, 0, 0));
	EXPECT_EQ(transfer(false, 2200, 1, 0), SRB_SUCCESS);
	EXPECT(holds(2200, 1, 0, 0));
	EXPECT_EQ(command(sync, 0, 0, 0, false), SRB_SUCCESS);
}

static void beyond_its_end_is_nothing(void)
{
	uint8_t inquiry[16] = {0x12, [4] = 36};

	EXPECT_EQ(transfer(false, SECTORS, 1, 0), SRB_ERROR | SRB_AUTOSENSE_VALID);
	EXPECT_EQ(transfer(true, SECTORS - 1, 2, 0), SRB_ERROR | SRB_AUTOSENSE_VALID);
	EXPECT(command(inquiry, 9, 36, 0, true) != 0); /* no disk there: answered, either way */
	EXPECT_EQ(transfer(false, 0, 8, 0), SRB_SUCCESS);
}

/* A host that has been asked to signal does: the channel's event flag, and an interrupt. */
static void the_host_signals(void)
{
	uint8_t ready[16] = {0x00};
	struct storvsc_io io = {.id = 5, .cdb_bytes = 16, .npages = 0};
	uint32_t channel = controller.channel;
	struct vstor_packet p;

	memcpy(io.cdb, ready, 16);
	for (unsigned i = 0; i < 4; i++)
		events[i] = 0;
	interrupts[V_VMBUS] = 0;
	ring_reader_unmask(&disk.in);
	EXPECT_EQ(storvsc_submit(&disk, &io), 0);
	EXPECT(WAIT(events[channel / 64] >> (channel % 64) & 1, 10000));
	sti();
	EXPECT(WAIT(interrupts[V_VMBUS] > 0, 10000));
	cli();
	EXPECT(answer(&p, 5));
	ring_reader_mask(&disk.in);
}

static void a_closed_channel_opens_again(void)
{
	EXPECT_EQ(vsc_bus_close(&bus, controller.channel, ring_gpadl), 0);
	the_channel_opens();
	the_protocol_is_agreed_on();
	EXPECT_EQ(transfer(false, 2000, 8, 0), SRB_SUCCESS);
	EXPECT(holds(2000, 8, 0, UINT32_MAX));
}

/* As a kernel that hands over to the next: nothing is closed first. */
static void after_an_unload_all_begins_anew(void)
{
	uint32_t before = controller.channel;

	EXPECT_EQ(vsc_bus_unload(&bus), 0);
	EXPECT_EQ(vsc_bus_connect(&bus, 0), 0);
	controller.channel = 0;
	the_controller_is_offered();
	EXPECT_EQ(controller.channel, before);
	the_channel_opens();
	the_protocol_is_agreed_on();
	EXPECT_EQ(transfer(false, 2199, 1, 0), SRB_SUCCESS);
	EXPECT(holds(2199, 1, 0, UINT32_MAX));
}

void guest_main(void)
{
	if (!hypervisor())
		guest_die("no hypervisor of this interface");
	tsc_khz();
	apic_enable();
	RUN(the_synic_is_set_up);
	RUN(the_bus_is_found);
	RUN(the_controller_is_offered);
	RUN(the_channel_opens);
	RUN(the_protocol_is_agreed_on);
	RUN(the_disk_says_who_it_is);
	RUN(what_is_there_can_be_read);
	RUN(what_is_written_is_there);
	RUN(beyond_its_end_is_nothing);
	RUN(the_host_signals);
	RUN(a_closed_channel_opens_again);
	RUN(after_an_unload_all_begins_anew);
}
