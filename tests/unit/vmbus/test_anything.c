/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest that says anything at all.
 */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

START_TEST(random_messages_change_nothing_that_is_not_theirs)
{
	static const uint8_t likely[] = {1, 2, 3, 5, 7, 8, 9, 11, 13, 14, 16, 21, 22, 99};
	uint8_t b[VMBUS_MESSAGE_MAX + 8];

	srand(20061);
	for (int i = 0; i < 6; i++)
		offer(i);
	connect_guest();
	request_offers();
	for (int i = 0; i < 300000; i++) {
		size_t n = rand() % sizeof(b);

		for (size_t k = 0; k < n; k++)
			b[k] = rand() % 3 ? rand() % 8 : rand();
		if (n >= 8) {
			memset(b, 0, 8);
			b[0] = likely[rand() % sizeof(likely)];
		}
		g.sent = g.taken = 0;
		g.room = rand() % 4 ? 200 : 0;
		if (g.room)
			vmbus_server_room(g.s);
		if (vmbus_server_ready(g.s))
			vmbus_server_message(g.s, rand() % 2 ? 4 : 1, b, n);
		ck_assert_uint_le(vmbus_server_gpadl_pages(g.s), VMBUS_GPADL_PAGES_MAX);
	}
}
END_TEST

TCase *anything_tests(void)
{
	TCase *tc = rig_case("anything");

	tcase_add_test(tc, random_messages_change_nothing_that_is_not_theirs);
	return tc;
}
