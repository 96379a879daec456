/* SPDX-License-Identifier: Apache-2.0
 *
 * Hypercalls (TLFS chapter 3), and every way of asking wrongly.
 */
#include "rig.h"

enum {
	SPIN_WAIT = 0x08,
	SEND_IPI = 0x0b,
	SEND_IPI_EX = 0x15,
	POST_MESSAGE = 0x5c,
	SIGNAL_EVENT = 0x5d,
};
enum {
	OK = 0,
	BAD_CODE = 2,
	BAD_INPUT = 3,
	BAD_ALIGNMENT = 4,
	BAD_PARAMETER = 5,
	BAD_CONNECTION = 18,
	NO_BUFFERS = 19,
};
#define FAST         (1ull << 16)
#define VARIABLE(n)  ((uint64_t)(n) << 17)
#define REP_COUNT(n) ((uint64_t)(n) << 32)
#define REP_START(n) ((uint64_t)(n) << 48)

static void setup(void)
{
	rig_setup();
	enable_hypercalls();
}

struct post {
	uint32_t connection, reserved, type, bytes;
	uint8_t payload[240];
};

static struct post *post_input(uint32_t connection, uint32_t type, uint32_t bytes)
{
	struct post *p = ram(AT_INPUT);

	memset(p, 0, sizeof(*p));
	p->connection = connection;
	p->type = type;
	p->bytes = bytes;
	for (unsigned i = 0; i < 240; i++)
		p->payload[i] = i + 1;
	return p;
}

START_TEST(a_message_is_posted)
{
	const struct post *p = post_input(4, 1, 240);

	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT, 0), OK);
	ck_assert_uint_eq(r->posts, 1);
	ck_assert_uint_eq(r->connection, 4);
	ck_assert_uint_eq(r->type, 1);
	ck_assert_uint_eq(r->bytes, 240);
	ck_assert_mem_eq(r->payload, p->payload, 240);
}
END_TEST

START_TEST(a_message_may_end_with_its_page)
{
	struct post *p = post_input(1, 1, 16);

	memcpy(ram(AT_INPUT + PAGE - 256), p, 256);
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT + PAGE - 256, 0), OK);
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT + PAGE - 248, 0), BAD_ALIGNMENT);
	memcpy(ram(HIGH_RAM + PAGE), p, 256);
	ck_assert_uint_eq(call64(POST_MESSAGE, HIGH_RAM + PAGE, 0), OK);
	ck_assert_uint_eq(r->posts, 2);
}
END_TEST

START_TEST(input_must_be_aligned_and_in_ram)
{
	post_input(1, 1, 16);
	for (unsigned i = 1; i < 8; i++)
		ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT + i, 0), BAD_ALIGNMENT);
	ck_assert_uint_eq(call64(POST_MESSAGE, LOW_END, 0), BAD_ALIGNMENT);
	ck_assert_uint_eq(call64(POST_MESSAGE, 0xfee00000, 0), BAD_ALIGNMENT);
	ck_assert_uint_eq(call64(POST_MESSAGE, HIGH_RAM + RIG_HIGH_PAGES * PAGE, 0), BAD_ALIGNMENT);
	ck_assert_uint_eq(call64(POST_MESSAGE, 0xfffffffffffffff8ull, 0), BAD_ALIGNMENT);
	ck_assert_uint_eq(r->posts, 0);
}
END_TEST

START_TEST(a_message_too_long_or_of_a_reserved_type_is_refused)
{
	post_input(1, 1, 241);
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT, 0), BAD_PARAMETER);
	post_input(1, 1, 0xffffffff);
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT, 0), BAD_PARAMETER);
	post_input(1, 0x80000010, 16); /* the hypervisor's own: no guest may forge a timer */
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT, 0), BAD_PARAMETER);
	ck_assert_uint_eq(r->posts, 0);
}
END_TEST

START_TEST(what_became_of_a_message_is_answered)
{
	post_input(9, 1, 16);
	r->post_answer = -ENOENT;
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT, 0), BAD_CONNECTION);
	r->post_answer = -EAGAIN;
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT, 0), NO_BUFFERS);
	r->ops.post_message = NULL;
	ck_assert_uint_eq(call64(POST_MESSAGE, AT_INPUT, 0), BAD_CONNECTION);
}
END_TEST

START_TEST(a_message_does_not_fit_into_registers)
{
	ck_assert_uint_eq(call64(POST_MESSAGE | FAST, 1, 1), BAD_INPUT);
	ck_assert_uint_eq(r->posts, 0);
}
END_TEST

START_TEST(an_event_is_signalled_fast_and_from_ram)
{
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST, 0x2005, 0), OK);
	ck_assert_uint_eq(r->connection, 0x2005);
	ck_assert_uint_eq(r->flag, 0);
	*(uint64_t *)ram(AT_INPUT + 8) = 7ull << 32 | 0x2006;
	ck_assert_uint_eq(call64(SIGNAL_EVENT, AT_INPUT + 8, 0), OK);
	ck_assert_uint_eq(r->connection, 0x2006);
	ck_assert_uint_eq(r->flag, 7);
	ck_assert_uint_eq(r->signals, 2);
}
END_TEST

START_TEST(an_event_for_nobody_is_refused)
{
	r->signal_answer = -ENOENT;
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST, 0x2005, 0), BAD_CONNECTION);
	ck_assert_uint_eq(r->signals, 1);
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST, 0x01002005, 0), BAD_CONNECTION);
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST, 1ull << 48 | 0x2005, 0), BAD_PARAMETER);
	ck_assert_uint_eq(r->signals, 1);
}
END_TEST

START_TEST(reserved_bits_and_reps_of_simple_calls_are_refused)
{
	static const uint64_t reserved[] = {1ull << 27, 1ull << 28, 1ull << 31, 1ull << 44,
					    1ull << 47, 1ull << 60, 1ull << 63};

	for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST | reserved[i], 0x2005, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST | REP_COUNT(1), 0x2005, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST | REP_COUNT(0xfff), 0x2005, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST | REP_START(1), 0x2005, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST | VARIABLE(1), 0x2005, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(SIGNAL_EVENT | FAST | VARIABLE(0x3ff), 0x2005, 0), BAD_INPUT);
	ck_assert_uint_eq(r->signals, 0);
}
END_TEST

START_TEST(unknown_calls_are_bad_codes)
{
	r->ops.discard = NULL; /* no extended ones */
	for (uint32_t code = 0; code <= 0xffff; code++)
		if (code != SPIN_WAIT && code != SEND_IPI && code != SEND_IPI_EX &&
		    code != POST_MESSAGE && code != SIGNAL_EVENT)
			ck_assert_uint_eq(call64(code | FAST, 0, 0), BAD_CODE);
	ck_assert_uint_eq(call64(3 | REP_COUNT(2), AT_INPUT, 0), BAD_CODE);
}
END_TEST

START_TEST(spinning_is_fine)
{
	ck_assert_uint_eq(call64(SPIN_WAIT | FAST, 1000, 0), OK);
}
END_TEST

/* 32-bit callers: control in EDX:EAX, input in EBX:ECX, output in EDI:ESI, result in EDX:EAX. */
START_TEST(a_32_bit_caller_uses_pairs_of_registers)
{
	uint64_t gpr[16] = {0};
	const uint64_t junk = 0xffffffff00000000ull;

	gpr[R_AX] = junk | SIGNAL_EVENT | FAST;
	gpr[R_DX] = junk;
	gpr[R_BX] = junk | 3; /* flag number */
	gpr[R_CX] = junk | 0x2007;
	ck_assert(hv_hypercall(&r->vcpu[0], gpr, false));
	ck_assert_uint_eq(gpr[R_AX], OK);
	ck_assert_uint_eq(gpr[R_DX], 0);
	ck_assert_uint_eq(r->connection, 0x2007);
	ck_assert_uint_eq(r->flag, 3);

	post_input(1, 1, 8);
	memset(gpr, 0, sizeof(gpr));
	gpr[R_AX] = POST_MESSAGE;
	gpr[R_CX] = AT_INPUT;
	ck_assert(hv_hypercall(&r->vcpu[0], gpr, false));
	ck_assert_uint_eq(gpr[R_AX], OK);
	gpr[R_AX] = POST_MESSAGE;
	gpr[R_DX] = 1; /* a rep count */
	ck_assert(hv_hypercall(&r->vcpu[0], gpr, false));
	ck_assert_uint_eq(gpr[R_AX], BAD_INPUT);
	ck_assert_uint_eq(r->posts, 1);
}
END_TEST

/* ---- inter-processor interrupts (TLFS 10.5) ---- */

START_TEST(an_ipi_reaches_the_processors_of_its_mask)
{
	ck_assert_uint_eq(call64(SEND_IPI | FAST, 0x40, 2), OK);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), -1);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), 0x40);
	ck_assert_uint_eq(call64(SEND_IPI | FAST, 0x50, UINT64_MAX), OK);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), 0x50);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), 0x50);
}
END_TEST

START_TEST(an_ipi_has_a_vector_of_its_own)
{
	ck_assert_uint_eq(call64(SEND_IPI | FAST, 0x0f, 1), BAD_PARAMETER);
	ck_assert_uint_eq(call64(SEND_IPI | FAST, 0x100, 1), BAD_PARAMETER);
	ck_assert_uint_eq(call64(SEND_IPI | FAST, 1ull << 32 | 0x40, 1), BAD_PARAMETER); /* VTL 1 */
	ck_assert_int_eq(irq_take(&r->vcpu[0]), -1);
}
END_TEST

static void ipi_ex(uint32_t vector, uint64_t format, uint64_t valid, uint64_t bank0)
{
	uint64_t *in = ram(AT_INPUT);

	in[0] = vector;
	in[1] = format;
	in[2] = valid;
	in[3] = bank0;
	memset(in + 4, 0, 63 * 8);
}

START_TEST(an_ipi_reaches_a_sparse_set)
{
	ipi_ex(0x40, 0, 1, 2);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(1), AT_INPUT, 0), OK);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), -1);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), 0x40);
	ipi_ex(0x50, 1, 0, 0);
	ck_assert_uint_eq(call64(SEND_IPI_EX, AT_INPUT, 0), OK);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), 0x50);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), 0x50);
	/* The first bank given is bank 1: processors 64 and up, of which there are none. */
	ipi_ex(0x60, 0, 2, 3);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(1), AT_INPUT, 0), OK);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), -1);
	ipi_ex(0x70, 0, 0, 0);
	ck_assert_uint_eq(call64(SEND_IPI_EX, AT_INPUT, 0), OK);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), -1);
}
END_TEST

START_TEST(a_sparse_set_has_the_banks_it_says)
{
	ipi_ex(0x40, 0, 3, 1);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(1), AT_INPUT, 0), BAD_INPUT);
	ipi_ex(0x40, 0, UINT64_MAX, 1);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(63), AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(64), AT_INPUT, 0), OK);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), 0x40);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(65), AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(0x3ff), AT_INPUT, 0), BAD_INPUT);
	ipi_ex(0x40, 2, 0, 0);
	ck_assert_uint_eq(call64(SEND_IPI_EX, AT_INPUT, 0), BAD_PARAMETER);
	ipi_ex(0x0f, 1, 0, 0);
	ck_assert_uint_eq(call64(SEND_IPI_EX, AT_INPUT, 0), BAD_PARAMETER);
	ck_assert_uint_eq(call64(SEND_IPI_EX | VARIABLE(64), AT_INPUT + PAGE - 24, 0),
			  BAD_ALIGNMENT);
	ck_assert_uint_eq(call64(SEND_IPI_EX | FAST, 0x40, 1), BAD_INPUT);
}
END_TEST

/* ---- translations (TLFS, HvCallFlushVirtualAddressSpace and its like) ---- */

enum { FLUSH_SPACE = 0x02, FLUSH_LIST = 0x03, FLUSH_SPACE_EX = 0x13, FLUSH_LIST_EX = 0x14 };
enum { ALL_PROCESSORS = 1, ALL_SPACES = 2, NON_GLOBAL = 4 };

static void flush_setup(void)
{
	setup();
	enable_flushes();
}

static uint64_t *flush_input(uint64_t flags, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t *in = ram(AT_INPUT);

	memcpy(in, (uint64_t[6]){0x1000, flags, a, b, c, d}, 48);
	return in;
}

START_TEST(a_space_is_flushed_on_the_processors_of_the_mask)
{
	flush_input(0, 2, 0, 0, 0);
	ck_assert_uint_eq(call64(FLUSH_SPACE, AT_INPUT, 0), OK);
	ck_assert_uint_eq(r->flushes, 1);
	ck_assert_uint_eq(r->flush_vcpus, 2);
	ck_assert(r->flush_global);
	ck_assert_uint_eq(r->flush_pages, 0);
	flush_input(NON_GLOBAL | ALL_SPACES, UINT64_MAX, 0, 0, 0);
	ck_assert_uint_eq(call64(FLUSH_SPACE, AT_INPUT, 0), OK);
	ck_assert_uint_eq(r->flush_vcpus, 3); /* those that exist */
	ck_assert(!r->flush_global);
	flush_input(ALL_PROCESSORS, 0, 0, 0, 0);
	ck_assert_uint_eq(call64(FLUSH_SPACE, AT_INPUT, 0), OK);
	ck_assert_uint_eq(r->flush_vcpus, 3);
	ck_assert_uint_eq(r->flushes, 3);
	flush_input(0, 4, 0, 0, 0); /* nobody */
	ck_assert_uint_eq(call64(FLUSH_SPACE, AT_INPUT, 0), OK);
	ck_assert_uint_eq(r->flushes, 3);
}
END_TEST

START_TEST(a_list_is_flushed_page_by_page)
{
	flush_input(0, 1, 0x7000, 0x12345002, 0);
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(2), AT_INPUT, 0), REP_COUNT(2) | OK);
	ck_assert_uint_eq(r->flush_vcpus, 1);
	ck_assert_uint_eq(r->flush_pages, 4);
	ck_assert_uint_eq(r->flush_page[0], 0x7000);
	ck_assert_uint_eq(r->flush_page[1], 0x12345000);
	ck_assert_uint_eq(r->flush_page[3], 0x12347000);
	/* From its second element on. */
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(2) | REP_START(1), AT_INPUT, 0),
			  REP_COUNT(2) | OK);
	ck_assert_uint_eq(r->flush_pages, 3);
	ck_assert_uint_eq(r->flush_page[0], 0x12345000);
}
END_TEST

START_TEST(a_long_list_flushes_everything)
{
	flush_input(0, 1, 0x7fff, 0, 0);
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(1), AT_INPUT, 0), REP_COUNT(1) | OK);
	ck_assert_uint_eq(r->flush_pages, 0);
	ck_assert(r->flush_global);
	/* As long as a page can hold, and one more. */
	for (unsigned i = 3; i < 512; i++)
		((uint64_t *)ram(AT_INPUT))[i] = i * 0x1000;
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(509), AT_INPUT, 0), REP_COUNT(509) | OK);
	ck_assert_uint_eq(r->flush_pages, 0);
	ck_assert_uint_eq(r->flushes, 2);
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(510), AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(509), AT_INPUT + 8, 0), BAD_ALIGNMENT);
	ck_assert_uint_eq(r->flushes, 2);
}
END_TEST

START_TEST(a_sparse_set_is_flushed)
{
	flush_input(NON_GLOBAL, 0, 1, 2, 0);
	ck_assert_uint_eq(call64(FLUSH_SPACE_EX | VARIABLE(1), AT_INPUT, 0), OK);
	ck_assert_uint_eq(r->flush_vcpus, 2);
	ck_assert(!r->flush_global);
	/* Banks 0 and 3, then the list. */
	flush_input(0, 0, 9, 1, UINT64_MAX);
	((uint64_t *)ram(AT_INPUT))[6] = 0x9001;
	ck_assert_uint_eq(call64(FLUSH_LIST_EX | VARIABLE(2) | REP_COUNT(1), AT_INPUT, 0),
			  REP_COUNT(1) | OK);
	ck_assert_uint_eq(r->flush_vcpus, 1);
	ck_assert_uint_eq(r->flush_pages, 2);
	ck_assert_uint_eq(r->flush_page[1], 0xa000);
	flush_input(0, 1, 0, 0x5000, 0); /* all processors */
	ck_assert_uint_eq(call64(FLUSH_LIST_EX | REP_COUNT(1), AT_INPUT, 0), REP_COUNT(1) | OK);
	ck_assert_uint_eq(r->flush_vcpus, 3);
	ck_assert_uint_eq(r->flush_page[0], 0x5000);
}
END_TEST

START_TEST(a_flush_that_makes_no_sense_is_refused)
{
	flush_input(8, 1, 0x7000, 0, 0);
	ck_assert_uint_eq(call64(FLUSH_SPACE, AT_INPUT, 0), BAD_PARAMETER);
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	flush_input(NON_GLOBAL, 1, 0x7000, 0, 0);
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	flush_input(0, 0, 3, 1, 0); /* two banks, one given */
	ck_assert_uint_eq(call64(FLUSH_SPACE_EX | VARIABLE(1), AT_INPUT, 0), BAD_INPUT);
	flush_input(0, 7, 1, 1, 0);
	ck_assert_uint_eq(call64(FLUSH_SPACE_EX | VARIABLE(1), AT_INPUT, 0), BAD_PARAMETER);
	flush_input(0, 1, 0x7000, 0, 0);
	ck_assert_uint_eq(call64(FLUSH_LIST, AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(FLUSH_LIST | REP_COUNT(1) | REP_START(1), AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(FLUSH_SPACE | REP_COUNT(1), AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(FLUSH_SPACE | VARIABLE(1), AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(FLUSH_SPACE | FAST, 0, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(FLUSH_LIST_EX | VARIABLE(0x3ff) | REP_COUNT(0xfff), AT_INPUT, 0),
			  BAD_INPUT);
	ck_assert_uint_eq(r->flushes, 0);
	r->backend.flush_tlb = NULL;
	ck_assert_uint_eq(call64(FLUSH_SPACE, AT_INPUT, 0), BAD_CODE);
}
END_TEST

/* ---- extended calls ---- */

enum { EXTENDED_CAPABILITIES = 0x8001, HEAT_HINT = 0x8003, COLD_DISCARD = 2 };

/* A range of 4 KiB pages, so many. */
static uint64_t small(uint64_t gpa, unsigned pages)
{
	return gpa | (pages - 1);
}

START_TEST(extended_capabilities_are_those_that_there_are)
{
	ck_assert_uint_eq(call64(EXTENDED_CAPABILITIES, 0, AT_INPUT + 8), OK);
	ck_assert_uint_eq(*(uint64_t *)ram(AT_INPUT + 8), 1u << 8); /* discarding cold memory */
	ck_assert_uint_eq(call64(EXTENDED_CAPABILITIES, 0, AT_INPUT + 4), BAD_ALIGNMENT);
	ck_assert_uint_eq(call64(EXTENDED_CAPABILITIES, 0, LOW_END), BAD_ALIGNMENT);
	ck_assert_uint_eq(call64(EXTENDED_CAPABILITIES | FAST, 0, AT_INPUT), BAD_INPUT);
	ck_assert_uint_eq(call64(EXTENDED_CAPABILITIES | REP_COUNT(1), 0, AT_INPUT), BAD_INPUT);
	r->ops.discard = NULL;
	ck_assert_uint_eq(call64(EXTENDED_CAPABILITIES, 0, AT_INPUT), BAD_CODE);
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(1), AT_INPUT, 0), BAD_CODE);
}
END_TEST

START_TEST(cold_memory_is_discarded_range_by_range)
{
	uint64_t *in = ram(AT_INPUT);

	in[0] = COLD_DISCARD;
	in[1] = small(AT_MESSAGES, 2);
	in[2] = small(HIGH_RAM, 1);
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(2), AT_INPUT, 0), REP_COUNT(2) | OK);
	ck_assert_uint_eq(r->discards, 2);
	ck_assert_uint_eq(r->discard_gpa, HIGH_RAM);
	ck_assert_uint_eq(r->discard_bytes, PAGE);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_MESSAGES + 2 * PAGE - 1), 0);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_MESSAGES + 2 * PAGE), 0xa5);
	/* From the second on. */
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(2) | REP_START(1), AT_INPUT, 0),
			  REP_COUNT(2) | OK);
	ck_assert_uint_eq(r->discards, 3);
}
END_TEST

START_TEST(a_hint_that_makes_no_sense_is_refused)
{
	uint64_t *in = ram(AT_INPUT);

	in[0] = COLD_DISCARD;
	in[1] = small(AT_MESSAGES, 1);
	in[2] = small(LOW_END - PAGE, 2); /* its second page is no RAM */
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(2), AT_INPUT, 0), REP_COUNT(1) | BAD_PARAMETER);
	in[1] = small(HIGH_RAM + (RIG_HIGH_PAGES - 1) * PAGE, 2);
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	in[1] = ~0xfffull;
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	in[1] = 1u << 11 | 0x7ff; /* large ones, beyond the end */
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	in[1] = 1u << 12 | 1u << 11; /* of 1 GiB */
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	in[0] = 1; /* hot */
	in[1] = small(AT_MESSAGES, 1);
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	in[0] = COLD_DISCARD | 4; /* reserved */
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(1), AT_INPUT, 0), BAD_PARAMETER);
	in[0] = COLD_DISCARD;
	ck_assert_uint_eq(call64(HEAT_HINT, AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(call64(HEAT_HINT | REP_COUNT(512), AT_INPUT, 0), BAD_INPUT);
	ck_assert_uint_eq(r->discards, 1);
}
END_TEST

Suite *hypercall_suite(void)
{
	Suite *s = suite_create("hv hypercall");
	TCase *t = tcase_create("hypercall");

	tcase_add_checked_fixture(t, setup, rig_teardown);
	tcase_add_test(t, a_message_is_posted);
	tcase_add_test(t, a_message_may_end_with_its_page);
	tcase_add_test(t, input_must_be_aligned_and_in_ram);
	tcase_add_test(t, a_message_too_long_or_of_a_reserved_type_is_refused);
	tcase_add_test(t, what_became_of_a_message_is_answered);
	tcase_add_test(t, a_message_does_not_fit_into_registers);
	tcase_add_test(t, an_event_is_signalled_fast_and_from_ram);
	tcase_add_test(t, an_event_for_nobody_is_refused);
	tcase_add_test(t, reserved_bits_and_reps_of_simple_calls_are_refused);
	tcase_add_test(t, unknown_calls_are_bad_codes);
	tcase_add_test(t, spinning_is_fine);
	tcase_add_test(t, a_32_bit_caller_uses_pairs_of_registers);
	tcase_add_test(t, an_ipi_reaches_the_processors_of_its_mask);
	tcase_add_test(t, an_ipi_has_a_vector_of_its_own);
	tcase_add_test(t, an_ipi_reaches_a_sparse_set);
	tcase_add_test(t, a_sparse_set_has_the_banks_it_says);
	suite_add_tcase(s, t);
	t = tcase_create("flush");
	tcase_add_checked_fixture(t, flush_setup, rig_teardown);
	tcase_add_test(t, a_space_is_flushed_on_the_processors_of_the_mask);
	tcase_add_test(t, a_list_is_flushed_page_by_page);
	tcase_add_test(t, a_long_list_flushes_everything);
	tcase_add_test(t, a_sparse_set_is_flushed);
	tcase_add_test(t, a_flush_that_makes_no_sense_is_refused);
	tcase_add_test(t, extended_capabilities_are_those_that_there_are);
	tcase_add_test(t, cold_memory_is_discarded_range_by_range);
	tcase_add_test(t, a_hint_that_makes_no_sense_is_refused);
	suite_add_tcase(s, t);
	return s;
}
