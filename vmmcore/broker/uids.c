/* SPDX-License-Identifier: Apache-2.0
 *
 * A user id of its own for every child, from a range nobody else uses. Ids are handed out in turn,
 * so that one which has just been given back rests as long as possible.
 */
#include <errno.h>
#include <stdlib.h>

#include "vmmcore/broker/broker.h"

int uids_init(struct broker *b)
{
	b->uid_used = calloc(b->opt.uid_count, 1);
	return b->uid_used ? 0 : -ENOMEM;
}

int uid_take(struct broker *b, uid_t *uid)
{
	for (uint32_t i = 0; i < b->opt.uid_count; i++) {
		uint32_t n = (b->uid_next + i) % b->opt.uid_count;

		if (b->uid_used[n])
			continue;
		b->uid_used[n] = 1;
		b->uid_next = n + 1;
		*uid = b->opt.uid_base + n;
		return 0;
	}
	return -EUSERS;
}

void uid_give(struct broker *b, uid_t uid)
{
	b->uid_used[uid - b->opt.uid_base] = 0;
}
