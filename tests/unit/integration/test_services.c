/* SPDX-License-Identifier: Apache-2.0
 *
 * The integration services with a guest of the test's: the provider library is replaced by two
 * mailboxes. Sizes and offsets are those of Linux include/linux/hyperv.h, written out again.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "vsp/integration/services.h"
#include "tests/unit/run_suite.h"

static struct services s;
static struct provider_channel channel[SERVICE_COUNT];
static unsigned offers, closed, changes, answers;
static int answer;
static bool no_room;

/* The last packet to the guest, and those from it. */
static uint8_t sent[8192], from_guest[16][8192];
static size_t sent_bytes, from_bytes[16];
static unsigned sends, waiting, taken;

struct provider_channel *provider_offer(struct provider *p, const struct vmbus_guid *interface,
					const struct vmbus_guid *instance, uint16_t subchannel,
					void *arg)
{
	channel[offers].arg = arg;
	return &channel[offers++];
}

ptrdiff_t provider_recv(struct provider_channel *ch, struct ring_packet *pkt, void *buf, size_t cap)
{
	size_t n;

	if (taken == waiting)
		return -EAGAIN;
	n = from_bytes[taken];
	ck_assert_uint_ge(cap, n);
	memcpy(buf, from_guest[taken++], n);
	*pkt = (struct ring_packet){.type = RING_INBAND, .payload_bytes = n};
	return (ptrdiff_t)n;
}

int provider_send(struct provider_channel *ch, uint16_t type, uint64_t transaction_id,
		  const void *payload, size_t bytes)
{
	if (no_room)
		return -EAGAIN;
	ck_assert_uint_eq(type, RING_INBAND);
	ck_assert_uint_le(bytes, sizeof(sent));
	memcpy(sent, payload, bytes);
	sent_bytes = bytes;
	sends++;
	return 0;
}

void provider_closed(struct provider_channel *ch)
{
	closed++;
}

static void shutdown_done(void *arg, int error)
{
	answers++;
	answer = error;
}

static void changed(void *arg)
{
	changes++;
}

static unsigned freezes, thaws;
static int freeze_error, thaw_error;

static void freeze_done(void *arg, int error)
{
	freezes++;
	freeze_error = error;
}

static void thaw_done(void *arg, int error)
{
	thaws++;
	thaw_error = error;
}

static unsigned copies;
static int copy_error;

static void copy_done(void *arg, int error)
{
	copies++;
	copy_error = error;
}

static uint64_t discarded[64][2];
static unsigned discards;

static void discard(void *arg, uint64_t gpa, uint64_t bytes)
{
	ck_assert_uint_lt(discards, 64);
	discarded[discards][0] = gpa;
	discarded[discards++][1] = bytes;
}

static const struct vm_config config = {.ram_bytes = 512 << 20, .later_bytes = 256 << 20};

static const struct services_ops ops = {.shutdown_done = shutdown_done,
					.changed = changed,
					.freeze_done = freeze_done,
					.thaw_done = thaw_done,
					.copy_done = copy_done,
					.discard = discard};

static void setup(void)
{
	offers = closed = changes = answers = sends = waiting = taken = freezes = thaws = copies = discards = 0;
	no_room = false;
	services_init(&s, &config, &ops, NULL);
	services_offer(&s, NULL);
	ck_assert_uint_eq(offers, SERVICE_COUNT);
}

static uint16_t u16(size_t at)
{
	return sent[at] | sent[at + 1] << 8;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v;
	p[1] = v >> 8;
}

static void deliver(unsigned i, const void *packet, size_t bytes)
{
	waiting = taken = 0;
	memcpy(from_guest[0], packet, bytes);
	from_bytes[0] = bytes;
	waiting = 1;
	services_provider_ops.readable(&channel[i]);
}

/* As Linux does: the packet that was sent, with other flags. */
static void echo(unsigned i, uint32_t status)
{
	uint8_t packet[8192];

	memcpy(packet, sent, sent_bytes);
	memcpy(packet + 20, &status, 4);
	packet[25] = 5; /* transaction, response */
	deliver(i, packet, sent_bytes);
}

static void open_it(unsigned i)
{
	static const uint8_t user_data[120];

	ck_assert_int_eq(services_provider_ops.open(&channel[i], user_data), 0);
}

/* vmbus_prep_negotiate_resp(): counts 1 and 1, the two versions first. */
static void agree(unsigned i, uint16_t major, uint16_t minor)
{
	uint8_t packet[8192];

	memcpy(packet, sent, sent_bytes);
	packet[25] = 5;
	put16(packet + 28, 1);
	put16(packet + 30, 1);
	put16(packet + 36, 3);
	put16(packet + 38, 0);
	put16(packet + 40, major);
	put16(packet + 42, minor);
	deliver(i, packet, sent_bytes);
}

static void ready(unsigned i, uint16_t major, uint16_t minor)
{
	open_it(i);
	agree(i, major, minor);
	ck_assert_int_eq(s.service[i].state, SERVICE_READY);
}

START_TEST(an_open_channel_is_asked_for_its_version)
{
	open_it(SERVICE_SHUTDOWN);
	ck_assert_uint_eq(sends, 1);
	ck_assert_uint_eq(u16(0), 1);                  /* pipe: data */
	ck_assert_uint_eq(u16(4), sent_bytes - 8);     /* pipe: size */
	ck_assert_uint_eq(u16(12), 0);                 /* negotiate */
	ck_assert_uint_eq(u16(18), sent_bytes - 28);   /* data size */
	ck_assert_uint_eq(sent[25], 3);                /* transaction, request */
	ck_assert_uint_eq(u16(28), 2);                 /* frameworks */
	ck_assert_uint_eq(u16(30), 4);                 /* versions */
	ck_assert_uint_eq(sent_bytes, 28 + 8 + 4 * 6); /* ICMSG_NEGOTIATE_PKT_SIZE(2, 4) */
	ck_assert_uint_eq(services_ready(&s), 0);
	agree(SERVICE_SHUTDOWN, 3, 2);
	ck_assert_uint_eq(services_ready(&s), 1u << SERVICE_SHUTDOWN);
	ck_assert_uint_eq(changes, 1);
}
END_TEST

START_TEST(a_guest_that_knows_no_version_is_left_alone)
{
	uint8_t packet[64];

	open_it(SERVICE_SHUTDOWN);
	memcpy(packet, sent, sent_bytes);
	packet[25] = 5;
	put16(packet + 28, 0);
	put16(packet + 30, 0);
	deliver(SERVICE_SHUTDOWN, packet, sent_bytes);
	ck_assert_uint_eq(services_ready(&s), 0);
	ck_assert_int_eq(services_shutdown(&s, GUEST_SHUT_DOWN, false), -ENOTCONN);
	services_provider_ops.close(&channel[SERVICE_SHUTDOWN]);
	open_it(SERVICE_SHUTDOWN);
	agree(SERVICE_SHUTDOWN, 9, 9); /* one that was not offered */
	ck_assert_uint_eq(services_ready(&s), 0);
}
END_TEST

START_TEST(a_shutdown_is_asked_and_answered)
{
	ready(SERVICE_SHUTDOWN, 3, 2);
	ck_assert_int_eq(services_shutdown(&s, GUEST_SHUT_DOWN, false), 0);
	ck_assert_uint_eq(sent_bytes, 28 + 2060); /* Linux refuses less */
	ck_assert_uint_eq(u16(12), 3);
	ck_assert_uint_eq(u16(8), 3);  /* framework 3.0 */
	ck_assert_uint_eq(u16(14), 3); /* 3.2 */
	ck_assert_uint_eq(u16(16), 2);
	ck_assert_uint_eq(u16(28 + 8), 0); /* flags: shut down */
	ck_assert_uint_eq(answers, 0);
	echo(SERVICE_SHUTDOWN, 0);
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(answer, 0);
	ck_assert_int_eq(services_shutdown(&s, GUEST_RESTART, true), 0);
	ck_assert_uint_eq(u16(28 + 8), 3); /* restart, by force */
	echo(SERVICE_SHUTDOWN, 0x80004005);
	ck_assert_int_eq(answer, -EPERM);
	echo(SERVICE_SHUTDOWN, 0); /* a second answer is none */
	ck_assert_uint_eq(answers, 2);
}
END_TEST

START_TEST(only_a_driver_that_knows_3_2_is_asked_to_hibernate)
{
	ready(SERVICE_SHUTDOWN, 3, 1);
	sends = 0;
	ck_assert_int_eq(services_shutdown(&s, GUEST_HIBERNATE, false), -EOPNOTSUPP);
	ck_assert_uint_eq(sends, 0);
	services_provider_ops.close(&channel[SERVICE_SHUTDOWN]);
	ready(SERVICE_SHUTDOWN, 3, 2);
	ck_assert_int_eq(services_shutdown(&s, GUEST_HIBERNATE, false), 0);
	ck_assert_uint_eq(u16(28 + 8), 4); /* as Linux' hv_utils takes it */
	echo(SERVICE_SHUTDOWN, 0);
	ck_assert_int_eq(answer, 0);
}
END_TEST

START_TEST(a_driver_that_goes_ends_the_wait)
{
	ready(SERVICE_SHUTDOWN, 3, 0);
	ck_assert_int_eq(services_shutdown(&s, GUEST_SHUT_DOWN, false), 0);
	services_provider_ops.close(&channel[SERVICE_SHUTDOWN]);
	ck_assert_uint_eq(answers, 1);
	ck_assert_int_eq(answer, -ECONNRESET);
	ck_assert_uint_eq(closed, 1);
	ck_assert_int_eq(services_shutdown(&s, GUEST_SHUT_DOWN, false), -ENOTCONN);
}
END_TEST

START_TEST(a_heart_beats_stops_and_beats_again)
{
	ck_assert(!services_want_ticks(&s));
	ready(SERVICE_HEARTBEAT, 3, 0);
	ck_assert(services_want_ticks(&s));
	ck_assert_uint_eq(u16(12), 1); /* asked at once */
	ck_assert_int_eq(s.heartbeat, HEARTBEAT_NONE);
	echo(SERVICE_HEARTBEAT, 0);
	ck_assert_int_eq(s.heartbeat, HEARTBEAT_OK);
	for (unsigned i = 0; i < HEARTBEAT_MISSES; i++) {
		services_tick(&s);
		ck_assert_int_eq(s.heartbeat, HEARTBEAT_OK);
	}
	services_tick(&s);
	ck_assert_int_eq(s.heartbeat, HEARTBEAT_LOST);
	no_room = true; /* it does not even read */
	services_tick(&s);
	ck_assert_int_eq(s.heartbeat, HEARTBEAT_LOST);
	no_room = false;
	echo(SERVICE_HEARTBEAT, 0);
	ck_assert_int_eq(s.heartbeat, HEARTBEAT_OK);
	services_provider_ops.close(&channel[SERVICE_HEARTBEAT]);
	ck_assert_int_eq(s.heartbeat, HEARTBEAT_NONE);
}
END_TEST

START_TEST(the_time_is_sent_when_the_guest_begins_to_listen)
{
	uint64_t host;

	ready(SERVICE_TIME, 3, 0);
	ck_assert_uint_eq(u16(12), 4);
	ck_assert_uint_eq(sent_bytes, 28 + 25);
	memcpy(&host, sent + 28, 8);
	ck_assert_uint_gt(host, 132223104000000000ull); /* 2020, in 100 ns since 1601 */
	ck_assert_uint_eq(sent[28 + 24], 1);            /* set the clock */
	sends = 0;
	services_resumed(&s);
	ck_assert_uint_eq(sends, 1);
	ck_assert_uint_eq(sent[28 + 24], 1);
	for (unsigned i = 0; i < TIME_TICKS; i++)
		services_tick(&s);
	ck_assert_uint_eq(sends, 2);
	ck_assert_uint_eq(sent[28 + 24], 2); /* only a sample */
}
END_TEST

/* ---- key-value exchange: struct hv_kvp_msg behind the 28 bytes of headers ---- */

enum { OP = 28, POOL = 29, INDEX = 32, KEY_SIZE = 40, VALUE_SIZE = 44, KEY = 48, VALUE = 560 };
enum { HV_S_CONT = 0x80070103 };

static void put_text(uint8_t *p, const char *text)
{
	do
		put16(p, (uint8_t)*text), p += 2;
	while (*text++);
}

/* kvp_respond_to_host(): the packet that was sent, with a pair. */
static void give_pair(const char *key, const char *value, uint32_t key_size, uint32_t value_size)
{
	uint8_t packet[8192];

	memcpy(packet, sent, sent_bytes);
	packet[25] = 5;
	put16(packet + 36, 1); /* REG_SZ */
	memcpy(packet + KEY_SIZE, &key_size, 4);
	memcpy(packet + VALUE_SIZE, &value_size, 4);
	put_text(packet + KEY, key);
	put_text(packet + VALUE, value);
	deliver(SERVICE_VALUES, packet, sent_bytes);
}

/* What is sent next, and where; a SET and a DELETE have no index before the pair. */
static void expect_set(char key, char value)
{
	ck_assert_uint_eq(sent[OP], 1);
	ck_assert_uint_eq(sent[POOL], 0);
	ck_assert_uint_eq(sent[KEY - 4], key);
	ck_assert_uint_eq(sent[VALUE - 4], value);
}

static void expect_delete(char key)
{
	ck_assert_uint_eq(sent[OP], 2);
	ck_assert_uint_eq(sent[POOL], 0);
	ck_assert_uint_eq(sent[36], key); /* its size, then the key */
}

static void expect_look(uint16_t index)
{
	ck_assert_uint_eq(sent[OP], 3);
	ck_assert_uint_eq(sent[POOL], 0);
	ck_assert_uint_eq(u16(INDEX), index);
}

/* The guest's store is empty; the end of the questions after that is the AUTO pool's first. */
static void ready_for_values(void)
{
	ready(SERVICE_VALUES, 4, 0);
	expect_look(0);
	echo(SERVICE_VALUES, HV_S_CONT);
	ck_assert_uint_eq(sent[POOL], 2);
}

START_TEST(what_the_guest_says_of_itself_is_asked_for_pair_by_pair)
{
	ready_for_values();
	ck_assert_uint_eq(u16(12), 2); /* ICMSGTYPE_KVPEXCHANGE */
	ck_assert_uint_eq(sent[OP], 3);
	ck_assert_uint_eq(sent[POOL], 2);
	ck_assert_uint_eq(u16(INDEX), 0);
	changes = 0;
	give_pair("OSName", "Debian\n", 14, 16);
	ck_assert_uint_eq(u16(INDEX), 1);
	give_pair("OSBuildNumber", "6.1", 28, 8);
	ck_assert_uint_eq(changes, 0);
	echo(SERVICE_VALUES, HV_S_CONT);
	ck_assert_uint_eq(changes, 1);
	ck_assert_uint_eq(s.values.count, 2);
	ck_assert_str_eq(s.values.pair[0].key, "OSName");
	ck_assert_str_eq(s.values.pair[0].value, "Debian?"); /* nothing that cannot be shown */
	ck_assert_str_eq(s.values.pair[1].value, "6.1");
	/* The same again is no news; nor is a program that has gone. */
	values_tick(&s.service[SERVICE_VALUES]);
	give_pair("OSName", "Debian\n", 14, 16);
	give_pair("OSBuildNumber", "6.1", 28, 8);
	echo(SERVICE_VALUES, HV_S_CONT);
	values_tick(&s.service[SERVICE_VALUES]);
	echo(SERVICE_VALUES, 0x80004005);
	ck_assert_uint_eq(changes, 1);
	ck_assert_uint_eq(s.values.count, 2);
}
END_TEST

START_TEST(a_pair_with_a_size_beyond_its_field_is_left_out)
{
	ready_for_values();
	give_pair("OSName", "x", 513, 4);
	give_pair("OSName", "x", 14, 2049);
	give_pair("OSName", "x", 14, 0xffffffff);
	give_pair("", "x", 2, 4);
	give_pair("good", "y", 10, 4);
	echo(SERVICE_VALUES, HV_S_CONT);
	ck_assert_uint_eq(s.values.count, 1);
	ck_assert_str_eq(s.values.pair[0].key, "good");
}
END_TEST

START_TEST(a_guest_with_endless_pairs_is_asked_for_a_few)
{
	unsigned asked;

	ready_for_values();
	for (asked = 0; s.service[SERVICE_VALUES].asked && asked < 1000; asked++)
		give_pair("k", "v", 4, 4);
	ck_assert_uint_eq(asked, GUEST_VALUES);
	ck_assert_uint_eq(s.values.count, GUEST_VALUES);
	values_tick(&s.service[SERVICE_VALUES]);
	for (asked = 0; s.service[SERVICE_VALUES].asked && asked < 1000; asked++)
		give_pair("", "v", 2, 4);
	ck_assert_uint_eq(asked, VALUES_ASKED);
}
END_TEST

static const struct guest_value two[] = {{"role", "db"}, {"k", "v"}};

START_TEST(the_host_s_values_are_told_when_the_guest_listens)
{
	services_set_values(&s, two, 2);
	ck_assert_uint_eq(sends, 0);
	ready(SERVICE_VALUES, 4, 0);
	expect_look(0);
	echo(SERVICE_VALUES, HV_S_CONT);
	expect_set('r', 'd');
	ck_assert_uint_eq(u16(KEY_SIZE - 4), 10);
	ck_assert_uint_eq(u16(VALUE_SIZE - 4), 6);
	echo(SERVICE_VALUES, 0);
	expect_set('k', 'v');
	ck_assert_int_eq(s.values.host.told, TOLD_NOT);
	echo(SERVICE_VALUES, 0);
	ck_assert_int_eq(s.values.host.told, TOLD_ALL);
	ck_assert_uint_eq(sent[POOL], 2); /* then what the guest says of itself */
	services_provider_ops.close(&channel[SERVICE_VALUES]);
	ck_assert_int_eq(s.values.host.told, TOLD_NOT);
}
END_TEST

START_TEST(what_the_guest_kept_is_left_changed_or_taken_back)
{
	services_set_values(&s, two, 2);
	ready(SERVICE_VALUES, 4, 0);
	give_pair("old", "x", 8, 4);
	expect_delete('o');
	ck_assert_uint_eq(u16(32), 8);
	echo(SERVICE_VALUES, 0);
	expect_look(0); /* the others have moved up */
	give_pair("k", "v", 4, 4);
	expect_look(1);
	give_pair("role", "web", 10, 8);
	expect_look(2);
	give_pair("stubborn", "x", 18, 4);
	expect_delete('s');
	echo(SERVICE_VALUES, 0x80004005);
	expect_look(3);
	echo(SERVICE_VALUES, HV_S_CONT);
	expect_set('r', 'd'); /* only that one */
	echo(SERVICE_VALUES, 0);
	ck_assert_int_eq(s.values.host.told, TOLD_REFUSED);
}
END_TEST

START_TEST(a_change_waits_for_its_turn)
{
	ready_for_values();
	services_set_values(&s, two, 2); /* the enumeration goes on */
	ck_assert_uint_eq(sent[POOL], 2);
	give_pair("OSName", "x", 14, 4);
	ck_assert_uint_eq(sent[POOL], 2);
	echo(SERVICE_VALUES, HV_S_CONT);
	expect_look(0);
	services_set_values(&s, two, 1); /* in the middle of it: from the beginning */
	give_pair("k", "v", 4, 4);
	expect_delete('k');
	echo(SERVICE_VALUES, 0);
	expect_look(0);
	echo(SERVICE_VALUES, HV_S_CONT);
	expect_set('r', 'd');
	echo(SERVICE_VALUES, 0);
	ck_assert_int_eq(s.values.host.told, TOLD_ALL);
}
END_TEST

START_TEST(a_store_without_end_is_left)
{
	unsigned asked;

	services_set_values(&s, two, 1);
	ready(SERVICE_VALUES, 4, 0);
	for (asked = 0; sent[OP] != 1 && asked < 1000; asked++)
		give_pair("no", "x", asked % 3 ? 6 : 600, 4); /* sizes that are none, too */
	ck_assert_uint_lt(asked, 300);
	expect_set('r', 'd');
	echo(SERVICE_VALUES, 0);
	ck_assert_int_eq(s.values.host.told, TOLD_ALL);
}
END_TEST

/* ---- freeze and thaw: struct hv_vss_msg, its operation behind the headers ---- */

enum { HV_E_FAIL = 0x80004005, HOT_BACKUP = 2, FREEZE = 5, THAW = 6 };

static void frozen(void)
{
	freezes = 0;
	ready(SERVICE_FREEZE, 5, 0);
	ck_assert_int_eq(services_freeze(&s), 0);
	ck_assert_uint_eq(u16(12), 5); /* ICMSGTYPE_VSS */
	ck_assert_uint_eq(sent_bytes, 28 + 12);
	ck_assert_uint_eq(sent[OP], HOT_BACKUP);
	echo(SERVICE_FREEZE, 0);
	ck_assert_uint_eq(sent[OP], FREEZE);
	ck_assert_uint_eq(freezes, 0);
	echo(SERVICE_FREEZE, 0);
	ck_assert_uint_eq(freezes, 1);
	ck_assert_int_eq(freeze_error, 0);
	ck_assert(s.freeze.frozen);
}

START_TEST(a_guest_is_frozen_and_thawed)
{
	ck_assert_int_eq(services_freeze(&s), -ENOTCONN);
	frozen();
	ck_assert_int_eq(services_freeze(&s), -EALREADY);
	ck_assert_int_eq(services_thaw(&s), 0);
	ck_assert_uint_eq(sent[OP], THAW);
	ck_assert(s.freeze.frozen);
	echo(SERVICE_FREEZE, 0);
	ck_assert_uint_eq(thaws, 1);
	ck_assert_int_eq(thaw_error, 0);
	ck_assert(!s.freeze.frozen);
	ck_assert_int_eq(services_thaw(&s), -EALREADY);
}
END_TEST

START_TEST(a_guest_without_a_program_that_freezes_says_so)
{
	ready(SERVICE_FREEZE, 5, 0);
	services_freeze(&s);
	echo(SERVICE_FREEZE, HV_E_FAIL);
	ck_assert_int_eq(freeze_error, -ENOTCONN);
	services_freeze(&s);
	echo(SERVICE_FREEZE, 0);
	echo(SERVICE_FREEZE, HV_E_FAIL); /* it has one, which could not */
	ck_assert_int_eq(freeze_error, -EREMOTEIO);
	ck_assert(!s.freeze.frozen);
}
END_TEST

START_TEST(a_thaw_that_comes_early_is_sent_after_the_freeze)
{
	ready(SERVICE_FREEZE, 5, 0);
	services_freeze(&s);
	echo(SERVICE_FREEZE, 0);
	ck_assert_int_eq(services_thaw(&s), 0);
	ck_assert_uint_eq(sent[OP], FREEZE);
	echo(SERVICE_FREEZE, 0);
	ck_assert_uint_eq(sent[OP], THAW);
	echo(SERVICE_FREEZE, 0);
	ck_assert_uint_eq(thaws, 1);
	services_freeze(&s); /* even earlier: it is never frozen */
	services_thaw(&s);
	echo(SERVICE_FREEZE, 0);
	ck_assert_int_eq(freeze_error, -ECANCELED);
	ck_assert_uint_eq(thaws, 2);
	ck_assert_uint_eq(sent[OP], HOT_BACKUP);
}
END_TEST

START_TEST(a_thaw_without_room_is_tried_again)
{
	frozen();
	no_room = true;
	ck_assert_int_eq(services_thaw(&s), 0);
	services_tick(&s);
	ck_assert_uint_eq(sent[OP], FREEZE);
	no_room = false;
	services_tick(&s);
	ck_assert_uint_eq(sent[OP], THAW);
	services_provider_ops.close(&channel[SERVICE_FREEZE]);
	ck_assert_int_eq(thaw_error, -ECONNRESET);
	ck_assert(!s.freeze.frozen);
}
END_TEST

START_TEST(a_reset_ends_a_freeze)
{
	ready(SERVICE_FREEZE, 5, 0);
	services_freeze(&s);
	services_reset(&s);
	ck_assert_int_eq(freeze_error, -ECONNRESET);
	services_provider_ops.close(&channel[SERVICE_FREEZE]);
	frozen();
	services_reset(&s);
	ck_assert(!s.freeze.frozen);
}
END_TEST

/* ---- file copy: struct hv_start_fcopy and hv_do_fcopy ---- */

START_TEST(a_file_is_copied_step_by_step)
{
	static struct msg_unit_copy m = {.number = 3, .flags = COPY_CREATE_PATH};
	uint64_t v;

	strcpy(m.folder, "/r/");
	strcpy(m.name, "f");
	ck_assert_int_eq(services_copy(&s, &m), -ENOTCONN);
	ready(SERVICE_COPY, 1, 1);
	ck_assert_int_eq(services_copy(&s, &m), 0);
	ck_assert_uint_eq(u16(12), 7); /* ICMSGTYPE_FCOPY */
	ck_assert_uint_eq(sent_bytes, 28 + 1088);
	ck_assert_uint_eq(u16(28), 0); /* START_FILE_COPY */
	ck_assert_uint_eq(sent[28 + 36], 'f');
	ck_assert_uint_eq(sent[28 + 36 + 520 + 2], 'r');
	ck_assert_uint_eq(u16(28 + 36 + 1040), 2); /* CREATE_PATH */
	memcpy(&v, sent + 28 + 36 + 1044, 8);
	ck_assert_uint_eq(v, 3);
	ck_assert_int_eq(services_copy(&s, &m), -EBUSY);
	echo(SERVICE_COPY, 0);
	ck_assert_uint_eq(copies, 1);
	ck_assert_int_eq(copy_error, 0);

	m.step = COPY_DATA;
	m.number = 5;
	m.bytes = 3;
	memcpy(m.data, "abc", 3);
	ck_assert_int_eq(services_copy(&s, &m), 0);
	ck_assert_uint_eq(sent_bytes, 28 + 6196);
	ck_assert_uint_eq(u16(28), 1);      /* WRITE_TO_FILE */
	ck_assert_uint_eq(u16(28 + 40), 5); /* behind a pad */
	ck_assert_uint_eq(u16(28 + 48), 3);
	ck_assert_uint_eq(sent[28 + 52], 'a');
	echo(SERVICE_COPY, 0x80070070); /* HV_ERROR_DISK_FULL */
	ck_assert_int_eq(copy_error, -ENOSPC);
	m.step = COPY_END;
	services_copy(&s, &m);
	ck_assert_uint_eq(u16(28), 2);
	echo(SERVICE_COPY, 0x80070050); /* HV_ERROR_ALREADY_EXISTS */
	ck_assert_int_eq(copy_error, -EEXIST);
	m.step = COPY_CANCEL;
	services_copy(&s, &m);
	ck_assert_uint_eq(u16(28), 3);
	echo(SERVICE_COPY, HV_E_FAIL);
	ck_assert_int_eq(copy_error, -EREMOTEIO);
	services_copy(&s, &m);
	services_provider_ops.close(&channel[SERVICE_COPY]);
	ck_assert_int_eq(copy_error, -ECONNRESET);
}
END_TEST

/* ---- dynamic memory: struct dm_header and what follows it ---- */

enum { MIB_PAGES = 256 };

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, 8);
}

static void say(uint16_t type, size_t bytes, const uint64_t *body, unsigned n)
{
	uint8_t packet[4096] = {0};

	put16(packet, type);
	put16(packet + 2, (uint16_t)bytes);
	for (unsigned i = 0; i < n; i++)
		put64(packet + 8 + i * 8, body[i]);
	deliver(SERVICE_MEMORY, packet, bytes);
}

/* balloon_probe(): version 2.0, then what it can. */
static void ready_memory(void)
{
	static const uint64_t v2 = 2 << 16, caps[] = {3 | 7 << 2, 0, UINT64_MAX};

	open_it(SERVICE_MEMORY);
	ck_assert_uint_eq(sends, 0);
	say(1, 16, &v2, 1);
	ck_assert_uint_eq(u16(0), 2); /* DM_VERSION_RESPONSE */
	ck_assert_uint_eq(sent[8], 1);
	say(3, 32, caps, 3);
	ck_assert_uint_eq(u16(0), 4);
	ck_assert_uint_eq(sent[8], 1);
	ck_assert_int_eq(s.service[SERVICE_MEMORY].state, SERVICE_READY);
}

static void target(uint64_t minimum_mib, uint64_t mib)
{
	struct msg_unit_memory m = {.minimum_bytes = minimum_mib << 20, .target_bytes = mib << 20};

	services_set_memory(&s, &m);
}

/* A balloon's pages: more, count, ranges. */
static void give(bool more, unsigned n, const uint64_t *range)
{
	uint64_t body[200] = {(uint64_t)(more | n << 1) << 32};

	memcpy(body + 1, range, n * 8);
	say(7, 16 + n * 8, body, 1 + n);
}

static uint64_t range(uint64_t first, uint64_t count)
{
	return first | count << 40;
}

START_TEST(an_old_version_is_not_taken)
{
	static const uint64_t old = 3, caps[] = {3, 0, 0};

	open_it(SERVICE_MEMORY);
	say(1, 16, &old, 1);
	ck_assert_uint_eq(u16(0), 2);
	ck_assert_uint_eq(sent[8], 0);
	say(3, 32, caps, 3);
	ck_assert_int_ne(s.service[SERVICE_MEMORY].state, SERVICE_READY);
}
END_TEST

START_TEST(a_balloon_takes_what_the_guest_gives_and_gives_it_back)
{
	const uint64_t some[] = {range(0x1000, 512), range(0x2000, 512)}, back[] = {range(0x2000, 512)};

	ready_memory();
	target(128, 252);
	ck_assert_uint_eq(u16(0), 6); /* DM_BALLOON_REQUEST */
	ck_assert_uint_eq(u16(8), 4 * MIB_PAGES);
	give(true, 1, some);
	ck_assert_uint_eq(discards, 1);
	ck_assert_uint_eq(discarded[0][0], 0x1000000);
	ck_assert_uint_eq(discarded[0][1], 2 << 20);
	sends = 0;
	give(false, 1, some + 1);
	ck_assert_uint_eq(memory_assigned(&s.memory), 252 << 20);
	ck_assert_uint_eq(sends, 0); /* it has what it is to have */
	target(128, 254);
	ck_assert_uint_eq(u16(0), 8); /* DM_UNBALLOON_REQUEST, no more, one range */
	ck_assert_uint_eq(u16(8), 0);
	ck_assert_uint_eq(u16(12), 1);
	ck_assert_mem_eq(sent + 16, back, 8);
	say(9, 8, NULL, 0);
	ck_assert_uint_eq(memory_assigned(&s.memory), 254 << 20);
}
END_TEST

START_TEST(pages_that_are_none_or_given_twice_are_not_taken)
{
	const uint64_t odd[] = {
		range(0x1000, 512), range(0x1000, 512),               /* twice */
		range(0x10000 - 1, 3),                                 /* the last, and beyond its end */
		range(0x100000, 16), range((1ull << 40) - 1, 0xffffff), /* nowhere */
		range(0, 0),        range(0x0fff, 2)};                 /* nothing; one of them again */

	ready_memory();
	give(false, 1, odd); /* nobody asked */
	ck_assert_uint_eq(discards, 0);
	target(128, 128);
	give(false, 7, odd);
	ck_assert_uint_eq(s.memory.ballooned, 512 + 1 + 1);
	ck_assert_uint_eq(discards, 3);
	ck_assert_uint_eq(discarded[1][0], 0xffff000);
	ck_assert_uint_eq(discarded[1][1], 4096);
	ck_assert_uint_eq(discarded[2][0], 0xfff000);
}
END_TEST

START_TEST(memory_is_added_up_to_the_maximum)
{
	const uint64_t yes = 32768 | 1ull << 32, no = 0;

	ready_memory();
	target(256, 384);
	ck_assert_uint_eq(u16(0), 10); /* DM_MEM_HOT_ADD_REQUEST: 128 MiB at 256 MiB */
	ck_assert_mem_eq(sent + 8, (&(uint64_t){range(0x10000, 32768)}), 8);
	say(11, 16, &yes, 1);
	ck_assert_uint_eq(memory_assigned(&s.memory), 384 << 20);
	target(256, 512);
	ck_assert_mem_eq(sent + 8, (&(uint64_t){range(0x18000, 32768)}), 8);
	say(11, 16, &no, 1); /* not now: after a while */
	sends = 0;
	services_tick(&s);
	ck_assert_uint_eq(sends, 0);
	for (unsigned i = 0; i < 10 && !sends; i++)
		services_tick(&s);
	ck_assert_uint_eq(u16(0), 10);
	services_provider_ops.close(&channel[SERVICE_MEMORY]);
	services_reset(&s);
	ck_assert_uint_eq(memory_assigned(&s.memory), 256 << 20);
}
END_TEST

/* 128 MiB below the hole at 3 GiB, and 512 MiB wanted. */
START_TEST(memory_is_added_on_both_sides_of_the_hole_below_4_gib)
{
	const uint64_t yes = 32768 | 1ull << 32;

	ready_memory();
	s.memory.ram_bytes = 8ull << 30;
	s.memory.low_bytes = 3ull << 30;
	s.memory.present_bytes = (3072ull - 128) << 20;
	target(256, 3072 - 128 + 512);
	ck_assert_uint_eq(u16(0), 10);
	ck_assert_mem_eq(sent + 8, (&(uint64_t){range(0xb8000, 32768)}), 8);
	say(11, 16, &yes, 1);
	ck_assert_mem_eq(sent + 8, (&(uint64_t){range(0x100000, 65536)}), 8);
	services_provider_ops.close(&channel[SERVICE_MEMORY]);
}
END_TEST

START_TEST(without_a_target_the_guest_gets_what_it_needs)
{
	const uint64_t idle[] = {200 * MIB_PAGES, 80 * MIB_PAGES, 0, 0, 0},
		       busy[] = {9 * MIB_PAGES, 300 * MIB_PAGES, 0, 0, 0},
		       nonsense[] = {1, UINT64_MAX, 0, 0, 0};

	ready_memory();
	target(128, 0);
	sends = 0;
	say(5, 48, nonsense, 5);
	ck_assert_uint_eq(sends, 0);
	say(5, 48, idle, 5);
	ck_assert_uint_eq(u16(0), 6);
	ck_assert_uint_eq(u16(8), 128 * MIB_PAGES); /* to the minimum */
	give(false, 0, NULL);
	say(5, 48, busy, 5);
	services_tick(&s);
	for (unsigned i = 0; i < 10 && u16(0) != 10; i++)
		services_tick(&s);
	ck_assert_uint_eq(u16(0), 10);
}
END_TEST

/* Cut, changed and unasked answers in every state: none may be taken for a good one or crash. */
START_TEST(nonsense_is_ignored)
{
	uint8_t packet[8192];
	unsigned dice = 1;

	ready_memory();
	target(64, 64);
	for (unsigned i = 0; i < SERVICE_MEMORY; i++) {
		open_it(i);
		for (size_t n = 0; n < sent_bytes && n < 28 + 16; n++) { /* each too short */
			memcpy(packet, sent, n);
			if (n > 25)
				packet[25] = 5;
			deliver(i, packet, n);
			ck_assert_int_eq(s.service[i].state, SERVICE_NEGOTIATING);
			s.service[i].asked = true;
		}
		agree(i, i == SERVICE_FREEZE ? 5 : i == SERVICE_COPY ? 1 : 3,
		      i == SERVICE_COPY);
	}
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = round % SERVICE_COUNT;
		size_t n = (dice >> 8) % (i == SERVICE_VALUES ? 2800 : 300);

		for (size_t k = 0; k < n; k++)
			packet[k] = (dice = dice * 1103515245 + 12345) >> 16;
		if (n > 25 && dice & 1) {
			packet[24] = s.service[i].transaction;
			packet[25] |= 4;
		}
		deliver(i, packet, n);
		services_tick(&s);
	}
	ck_assert_uint_eq(answers, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("integration");
	TCase *t = tcase_create("services");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, an_open_channel_is_asked_for_its_version);
	tcase_add_test(t, a_guest_that_knows_no_version_is_left_alone);
	tcase_add_test(t, a_shutdown_is_asked_and_answered);
	tcase_add_test(t, only_a_driver_that_knows_3_2_is_asked_to_hibernate);
	tcase_add_test(t, a_driver_that_goes_ends_the_wait);
	tcase_add_test(t, a_heart_beats_stops_and_beats_again);
	tcase_add_test(t, the_time_is_sent_when_the_guest_begins_to_listen);
	tcase_add_test(t, what_the_guest_says_of_itself_is_asked_for_pair_by_pair);
	tcase_add_test(t, a_pair_with_a_size_beyond_its_field_is_left_out);
	tcase_add_test(t, a_guest_with_endless_pairs_is_asked_for_a_few);
	tcase_add_test(t, the_host_s_values_are_told_when_the_guest_listens);
	tcase_add_test(t, what_the_guest_kept_is_left_changed_or_taken_back);
	tcase_add_test(t, a_change_waits_for_its_turn);
	tcase_add_test(t, a_store_without_end_is_left);
	tcase_add_test(t, a_guest_is_frozen_and_thawed);
	tcase_add_test(t, a_guest_without_a_program_that_freezes_says_so);
	tcase_add_test(t, a_thaw_that_comes_early_is_sent_after_the_freeze);
	tcase_add_test(t, a_thaw_without_room_is_tried_again);
	tcase_add_test(t, a_reset_ends_a_freeze);
	tcase_add_test(t, a_file_is_copied_step_by_step);
	tcase_add_test(t, an_old_version_is_not_taken);
	tcase_add_test(t, a_balloon_takes_what_the_guest_gives_and_gives_it_back);
	tcase_add_test(t, pages_that_are_none_or_given_twice_are_not_taken);
	tcase_add_test(t, memory_is_added_up_to_the_maximum);
	tcase_add_test(t, memory_is_added_on_both_sides_of_the_hole_below_4_gib);
	tcase_add_test(t, without_a_target_the_guest_gets_what_it_needs);
	tcase_add_test(t, nonsense_is_ignored);
	suite_add_tcase(suite, t);
	return run_suite(suite);
}
