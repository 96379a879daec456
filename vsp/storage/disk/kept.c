/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/kept.h"
#include "vsp/storage/disk/internal.h"

/* OVERFLOWN: a change was not noted, so nobody can go on before the next flush. */
enum { KEPT_NEW, KEPT_BOUND, KEPT_OVERFLOWN };

struct kept {
	_Atomic uint32_t state;
	_Atomic uint32_t count;
	uint8_t identity[KEPT_IDENTITY];
	uint32_t reserved;
	struct kept_record record[];
};

#define RECORDS ((uint32_t)((DISK_KEPT_BYTES - sizeof(struct kept)) / sizeof(struct kept_record)))

void disk_kept_clear(void *kept)
{
	struct kept *k = kept;

	atomic_store_explicit(&k->count, 0, memory_order_release);
	atomic_store_explicit(&k->state, KEPT_NEW, memory_order_release);
}

int kept_goes_on(struct disk *d, const uint8_t identity[KEPT_IDENTITY])
{
	struct kept *k = d->kept;

	if (!k || atomic_load(&k->state) == KEPT_NEW)
		return 0;
	if (atomic_load(&k->state) != KEPT_BOUND)
		return disk_fail(d, -ESTALE, "what its last process had not written yet is not known");
	if (memcmp(k->identity, identity, KEPT_IDENTITY))
		return disk_fail(d, -ESTALE,
				 "somebody else changed it while it had no process, so what that had "
				 "not written yet does not belong to it any more");
	return 1;
}

void kept_bind(struct disk *d, const uint8_t identity[KEPT_IDENTITY])
{
	struct kept *k = d->kept;

	if (!k)
		return;
	disk_kept_clear(k); /* nothing is changed before the stamp */
	memcpy(k->identity, identity, KEPT_IDENTITY);
	atomic_store_explicit(&k->state, KEPT_BOUND, memory_order_release);
}

void kept_note(struct disk *d, uint32_t type, uint64_t index, uint64_t value)
{
	struct kept *k = d->kept;
	uint32_t n;

	if (!k)
		return;
	n = atomic_load_explicit(&k->count, memory_order_relaxed);
	if (n >= RECORDS || index > UINT32_MAX) {
		atomic_store_explicit(&k->state, KEPT_OVERFLOWN, memory_order_release);
		return;
	}
	k->record[n] = (struct kept_record){type, (uint32_t)index, value};
	atomic_store_explicit(&k->count, n + 1, memory_order_release);
}

bool kept_is_full(const struct disk *d)
{
	struct kept *k = d->kept;

	return k && atomic_load_explicit(&k->count, memory_order_relaxed) + KEPT_STEP > RECORDS;
}

void kept_empty(struct disk *d)
{
	struct kept *k = d->kept;

	if (!k)
		return;
	atomic_store_explicit(&k->count, 0, memory_order_release);
	if (atomic_load(&k->state) == KEPT_OVERFLOWN)
		atomic_store(&k->state, KEPT_BOUND);
}

int kept_replay(struct disk *d, int (*f)(struct disk *d, const struct kept_record *r))
{
	struct kept *k = d->kept;
	uint32_t n = atomic_load(&k->count);
	int err = n > RECORDS ? -EUCLEAN : 0;

	d->kept = NULL;
	for (uint32_t i = 0; i < n && !err; i++) {
		struct kept_record r = k->record[i];

		err = f(d, &r);
	}
	d->kept = k;
	if (err == -EUCLEAN)
		return disk_fail(d, err, "what its last process left of its tables makes no sense");
	return err;
}
