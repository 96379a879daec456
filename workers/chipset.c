/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/chipset.h"

#include <errno.h>

void chipset_init(struct chipset *c, const struct chipset_host *host)
{
	c->host = *host;
	c->devices = 1;
	c->a20 = true;
}

static int claim_ports(struct chipset *c, uint64_t base, uint64_t count)
{
	if (base > UINT16_MAX || count > UINT16_MAX + 1 - base)
		return -EINVAL;
	for (uint64_t p = base; p < base + count; p++)
		if (c->port_owner[p])
			return -EBUSY;
	for (uint64_t p = base; p < base + count; p++)
		c->port_owner[p] = (uint8_t)c->devices;
	return 0;
}

static int claim_mmio(struct chipset *c, struct device *d, uint64_t base, uint64_t count)
{
	unsigned at = 0;

	if (c->mmios == CHIPSET_MAX_MMIO)
		return -ENOSPC;
	if (base + count < base)
		return -EINVAL;
	while (at < c->mmios && c->mmio[at].base < base)
		at++;
	if (at && c->mmio[at - 1].end > base)
		return -EBUSY;
	if (at < c->mmios && c->mmio[at].base < base + count)
		return -EBUSY;
	for (unsigned i = c->mmios; i > at; i--)
		c->mmio[i] = c->mmio[i - 1];
	c->mmio[at] = (struct chipset_mmio){base, base + count, d};
	c->mmios++;
	return 0;
}

int chipset_add(struct chipset *c, struct device *d)
{
	int err = 0;

	if (c->devices == CHIPSET_MAX_DEVICES)
		return -ENOSPC;
	d->chipset = c;
	for (unsigned i = 0; i < DEVICE_MAX_RANGES && !err; i++) {
		if (d->port[i].count)
			err = claim_ports(c, d->port[i].base, d->port[i].count);
		if (d->mmio[i].count && !err)
			err = claim_mmio(c, d, d->mmio[i].base, d->mmio[i].count);
	}
	if (err)
		return err;
	c->device[c->devices++] = d;
	d->ops->reset(d);
	return 0;
}

static uint64_t all_ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1;
}

/* The device that takes a port access as a whole; NULL if there is none. */
static struct device *port_device(const struct chipset *c, unsigned port, unsigned size)
{
	unsigned owner = c->port_owner[port], last = port + size - 1;
	struct device *d = c->device[owner];

	if (!d || size > d->ops->widest || last > UINT16_MAX || c->port_owner[last] != owner)
		return NULL;
	return d;
}

uint64_t chipset_pio_read(struct chipset *c, uint16_t port, unsigned size)
{
	struct device *d = port_device(c, port, size);
	uint64_t value = 0;

	if (d)
		return d->ops->read(d, port, size) & all_ones(size);
	if (size == 1)
		return 0xff;
	for (unsigned i = 0; i < size; i++) {
		uint64_t byte = port + i > UINT16_MAX ? 0xff : chipset_pio_read(c, port + i, 1);

		value |= byte << (i * 8);
	}
	return value;
}

void chipset_pio_write(struct chipset *c, uint16_t port, unsigned size, uint64_t value)
{
	struct device *d = port_device(c, port, size);

	if (d) {
		d->ops->write(d, port, size, value & all_ones(size));
		return;
	}
	for (unsigned i = 0; size > 1 && i < size && port + i <= UINT16_MAX; i++)
		chipset_pio_write(c, port + i, 1, value >> (i * 8) & 0xff);
}

/* As port_device. */
static struct device *mmio_device(const struct chipset *c, uint64_t address, unsigned size)
{
	unsigned low = 0, high = c->mmios;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		const struct chipset_mmio *m = &c->mmio[mid];

		if (address < m->base)
			high = mid;
		else if (address >= m->end)
			low = mid + 1;
		else
			return size <= m->owner->ops->widest && size <= m->end - address ? m->owner
											 : NULL;
	}
	return NULL;
}

uint64_t chipset_mmio_read(struct chipset *c, uint64_t address, unsigned size)
{
	struct device *d = mmio_device(c, address, size);
	uint64_t value = 0;

	if (d)
		return d->ops->read(d, address, size) & all_ones(size);
	if (size == 1)
		return 0xff;
	for (unsigned i = 0; i < size; i++)
		value |= chipset_mmio_read(c, address + i, 1) << (i * 8);
	return value;
}

void chipset_mmio_write(struct chipset *c, uint64_t address, unsigned size, uint64_t value)
{
	struct device *d = mmio_device(c, address, size);

	if (d) {
		d->ops->write(d, address, size, value & all_ones(size));
		return;
	}
	for (unsigned i = 0; size > 1 && i < size; i++)
		chipset_mmio_write(c, address + i, 1, value >> (i * 8) & 0xff);
}

void chipset_reset(struct chipset *c)
{
	c->a20 = true;
	for (unsigned i = 1; i < c->devices; i++) {
		c->device[i]->deadline_ns = 0;
		c->device[i]->unsettled = false;
		c->device[i]->ops->reset(c->device[i]);
	}
}

void chipset_settle(struct chipset *c)
{
	if (!c->unsettled)
		return;
	c->unsettled = false;
	for (unsigned i = 1; i < c->devices; i++) {
		struct device *d = c->device[i];

		if (d->unsettled) {
			d->unsettled = false;
			if (d->ops->settle)
				d->ops->settle(d);
		}
	}
}

uint64_t chipset_next_deadline(const struct chipset *c)
{
	uint64_t next = 0;

	for (unsigned i = 1; i < c->devices; i++) {
		uint64_t t = c->device[i]->deadline_ns;

		if (t && (!next || t < next))
			next = t;
	}
	return next;
}

uint64_t chipset_timers(struct chipset *c)
{
	uint64_t now = clock_now(&c->clock);

	for (unsigned i = 1; i < c->devices; i++) {
		struct device *d = c->device[i];

		if (d->deadline_ns && d->deadline_ns <= now) {
			d->deadline_ns = 0;
			d->ops->expire(d, now);
		}
	}
	return chipset_next_deadline(c);
}

uint64_t device_now(const struct device *d)
{
	return clock_now(&d->chipset->clock);
}

void device_line(struct device *d, unsigned gsi, bool level)
{
	struct chipset *c = d->chipset;
	uint32_t bit = 1u << gsi;

	if (!!(c->lines & bit) == level)
		return;
	c->lines ^= bit;
	c->host.line(c->host.arg, gsi, level);
}

void device_event(struct device *d, unsigned event, uint32_t value)
{
	d->chipset->host.event(d->chipset->host.arg, event, value);
}

void device_unsettled(struct device *d)
{
	d->unsettled = true;
	d->chipset->unsettled = true;
}

void device_set_a20(struct device *d, bool open)
{
	d->chipset->a20 = open;
}

bool device_a20(const struct device *d)
{
	return d->chipset->a20;
}
