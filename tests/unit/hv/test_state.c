/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved state: what is saved goes on the same elsewhere, and hostile states change nothing.
 */
#include "rig.h"

static struct rig *from, *to;

static void setup(void)
{
	from = rig_new(0);
	to = rig_new(HV_HYPERCALL_BY_PORT);
	r = from;
}

static void teardown(void)
{
	rig_free(from);
	rig_free(to);
}

/* RAM and clock move, too, as they do in the partition. */
static void move_all(void)
{
	struct hv_vm_state vm;
	struct hv_vcpu_state vcpu;
	uint64_t at = clock_pause(from->clock);

	memcpy(to->map, from->map, LOW_END);
	clock_pause(to->clock);
	clock_manual_set(to->clock, 999);
	clock_resume(to->clock, at);
	to->host_ns = 999;
	hv_save_vm(from->hv, &vm);
	ck_assert_int_eq(hv_load_vm(to->hv, &vm), 0);
	for (unsigned i = 0; i < RIG_VCPUS; i++) {
		hv_save_vcpu(&from->vcpu[i], &vcpu);
		ck_assert_int_eq(hv_load_vcpu(&to->vcpu[i], &vcpu), 0);
	}
	r = to;
}

START_TEST(every_register_moves)
{
	static const uint32_t msr[] = {
		GUEST_OS_ID, HYPERCALL,     REFERENCE_TSC, VP_ASSIST,  SCONTROL,     SIMP,
		SIEFP,       SINT(0),       SINT(2),       SINT(15),   STIMER(0),    STIMER(0) + 1,
		STIMER(3),   STIMER(3) + 1, CRASH_P(0),    CRASH_P(4), TSC_INVARIANT};
	uint64_t value[sizeof(msr) / sizeof(msr[0])];

	enable_hypercalls();
	synic_on();
	wr(REFERENCE_TSC, AT_TSC | 1);
	wr(VP_ASSIST, AT_ASSIST | 1);
	wr(SINT(2), 0xf3);
	wr(SINT(15), SINT_AUTO_EOI | 0xe0);
	wr(STIMER(0), 1u << 12 | 0x71 << 4);
	wr(STIMER(0) + 1, 77);
	wr(STIMER(3), 3u << 16 | 8);
	wr(STIMER(3) + 1, 1000000);
	wr(CRASH_P(0), 10);
	wr(CRASH_P(4), 14);
	wr(TSC_INVARIANT, 1);
	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++) {
		value[i] = rd(msr[i]);
		ck_assert_uint_ne(value[i], 0);
	}
	move_all();
	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++)
		ck_assert_msg(rd(msr[i]) == value[i], "MSR %x", msr[i]);
}
END_TEST

START_TEST(the_hypercall_page_leaves_by_the_new_way)
{
	enable_hypercalls();
	move_all();
	ck_assert_mem_eq(ram(AT_HYPERCALL), "\xe7\xe4\xc3", 3);
}
END_TEST

START_TEST(the_reference_tsc_page_gets_a_new_sequence)
{
	uint32_t before;

	wr(REFERENCE_TSC, AT_TSC | 1);
	before = *(uint32_t *)ram(AT_TSC);
	move_all();
	ck_assert_uint_ne(*(uint32_t *)ram(AT_TSC), before);
	ck_assert_uint_ne(*(uint32_t *)ram(AT_TSC), 0);
}
END_TEST

START_TEST(timers_go_on)
{
	at_ns(1000000);
	wr(STIMER(0), 1u << 12 | 0x71 << 4 | 8); /* direct, auto-enable */
	wr(STIMER(0) + 1, 20000);
	wr(STIMER(1), 1u << 12 | 0x61 << 4 | 8 | 2); /* periodic */
	wr(STIMER(1) + 1, 15000);
	move_all();
	after_ns(999000); /* the guest's clock stood at 1000001 ns */
	ck_assert_int_eq(take(), -1);
	after_ns(1000);
	ck_assert_int_eq(take(), 0x71);
	after_ns(500000);
	ck_assert_int_eq(take(), 0x61);
	after_ns(1500000);
	ck_assert_int_eq(take(), 0x61);
}
END_TEST

START_TEST(a_timers_waiting_message_comes_after_the_move)
{
	synic_on();
	wr(SINT(3), 0xe3);
	ck_assert_int_eq(hv_message(&r->vcpu[0], 3, 1, "x", 1), 0);
	wr(STIMER(0), 3u << 16 | 8);
	wr(STIMER(0) + 1, 1);
	after_ns(1000);
	move_all();
	memset(slot(3), 0, 4);
	wr(EOM, 0);
	ck_assert_uint_eq(slot_type(3), 0x80000010);
	ck_assert_int_eq(take(), 0xe3);
}
END_TEST

/* ---- hostile states ---- */

static struct hv_vcpu_state good_vcpu(void)
{
	struct hv_vcpu_state s;

	hv_save_vcpu(&r->vcpu[0], &s);
	return s;
}

static void refused(const struct hv_vcpu_state *s)
{
	struct hv_vcpu_state before = good_vcpu(), after;

	ck_assert_int_eq(hv_load_vcpu(&r->vcpu[0], s), -EINVAL);
	after = good_vcpu();
	ck_assert_mem_eq(&before, &after, sizeof(before));
}

#define REFUSED(change)                                                                            \
	do {                                                                                       \
		struct hv_vcpu_state s = good_vcpu();                                              \
		change;                                                                            \
		refused(&s);                                                                       \
	} while (0)

START_TEST(a_hostile_processors_state_is_refused)
{
	synic_on();
	wr(SINT(2), 0xf3);
	REFUSED(s.version++);
	REFUSED(s.size--);
	REFUSED(s.simp = LOW_END | 1);
	REFUSED(s.siefp = UINT64_MAX);
	REFUSED(s.vp_assist = 0xfffffffffffff001ull);
	REFUSED(s.sint[15] = 3);
	REFUSED(s.timer[3].config = 1ull << 40);
	REFUSED(s.timer[0].config = 1u << 12 | 5 << 4);
	REFUSED(s.timer[0].undelivered = 2);
	REFUSED(s.timer[1].due = 1); /* a period of 0 */
}
END_TEST

START_TEST(a_hostile_partitions_state_is_refused)
{
	struct hv_vm_state good, bad, after;

	enable_hypercalls();
	hv_save_vm(r->hv, &good);
	for (unsigned i = 0; i < 4; i++) {
		bad = good;
		if (i == 0)
			bad.version++;
		else if (i == 1)
			bad.size++;
		else if (i == 2)
			bad.hypercall = LOW_END | 1;
		else
			bad.reference_tsc = UINT64_MAX;
		ck_assert_int_eq(hv_load_vm(r->hv, &bad), -EINVAL);
		hv_save_vm(r->hv, &after);
		ck_assert_mem_eq(&after, &good, sizeof(good));
	}
}
END_TEST

/* States that no guest can bring about, but that can be loaded: nothing but the guest's own timers
 * and pages may suffer. A timer that is due again and again would keep the loop for ever. */
START_TEST(extreme_timers_do_not_run_away)
{
	static const uint64_t due[] = {1, 5, 1000, UINT64_MAX / 100, UINT64_MAX};
	static const uint64_t count[] = {1, UINT64_MAX / 100, UINT64_MAX - 5, UINT64_MAX};

	at_ns(1000000);
	for (unsigned i = 0; i < sizeof(due) / sizeof(due[0]); i++)
		for (unsigned j = 0; j < sizeof(count) / sizeof(count[0]); j++) {
			struct hv_vcpu_state s = good_vcpu();

			s.timer[0].config = 1u << 12 | 0x71 << 4 | 3;
			s.timer[0].due = due[i];
			s.timer[0].count = count[j];
			ck_assert_int_eq(hv_load_vcpu(&r->vcpu[0], &s), 0);
			after_ns(1000);
			ck_assert_uint_gt(clock_next_deadline(r->clock), clock_now(r->clock));
		}
}
END_TEST

Suite *state_suite(void)
{
	Suite *s = suite_create("hv state");
	TCase *t = tcase_create("state");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, every_register_moves);
	tcase_add_test(t, the_hypercall_page_leaves_by_the_new_way);
	tcase_add_test(t, the_reference_tsc_page_gets_a_new_sequence);
	tcase_add_test(t, timers_go_on);
	tcase_add_test(t, a_timers_waiting_message_comes_after_the_move);
	tcase_add_test(t, a_hostile_processors_state_is_refused);
	tcase_add_test(t, a_hostile_partitions_state_is_refused);
	tcase_add_test(t, extreme_timers_do_not_run_away);
	suite_add_tcase(s, t);
	return s;
}
