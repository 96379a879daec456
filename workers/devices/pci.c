/* SPDX-License-Identifier: Apache-2.0
 *
 * PCI configuration mechanism 1 and the only function it reaches: a host bridge at 00:00.0 with the
 * identity of Intel's 440BX without AGP, the one that operating systems know from virtual machines.
 */
#include "workers/devices/devices.h"

#include <string.h>

enum {
	CONFIG_VENDOR = 0x00,
	CONFIG_DEVICE = 0x02,
	CONFIG_COMMAND = 0x04,
	CONFIG_STATUS = 0x06,
	CONFIG_REVISION = 0x08,
	CONFIG_CLASS = 0x0a,
	CONFIG_LATENCY = 0x0d,
	CONFIG_OWN = 0x40,
};
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS   0x80fffffcu /* 30-24 and 1-0 are reserved and read as 0 */
#define NOT_OFFSET     0x00ffff00u /* bus, device and function */

static uint64_t pci_read(struct device *d, uint64_t address, unsigned size)
{
	struct pci_host *p = (struct pci_host *)d;
	uint32_t value = 0;

	if (address < PORT_PCI_DATA)
		return address == PORT_PCI_ADDRESS && size == 4 ? p->s.address : UINT32_MAX;
	if (!(p->s.address & ADDRESS_ENABLE) || p->s.address & NOT_OFFSET)
		return UINT32_MAX;
	memcpy(&value, p->s.config + (p->s.address & 0xfc) + (address - PORT_PCI_DATA), size);
	return value;
}

/* Which bits of a byte the guest can change. */
static uint8_t writable(unsigned offset)
{
	if (offset == CONFIG_COMMAND + 1)
		return 0x01; /* SERR# enable; memory space and bus master are fixed on */
	if (offset == CONFIG_LATENCY)
		return 0xf8;
	return offset >= CONFIG_OWN ? 0xff : 0;
}

static void pci_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	struct pci_host *p = (struct pci_host *)d;

	if (address < PORT_PCI_DATA) {
		/* Narrower accesses are ordinary I/O, and nobody is there. */
		if (address == PORT_PCI_ADDRESS && size == 4)
			p->s.address = value & ADDRESS_BITS;
		return;
	}
	if (!(p->s.address & ADDRESS_ENABLE) || p->s.address & NOT_OFFSET)
		return;
	for (unsigned i = 0; i < size; i++) {
		unsigned offset = (p->s.address & 0xfc) + (unsigned)(address - PORT_PCI_DATA) + i;
		uint8_t mask = writable(offset), byte = value >> (i * 8);

		p->s.config[offset] = (p->s.config[offset] & ~mask) | (byte & mask);
	}
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void pci_reset(struct device *d)
{
	struct pci_host *p = (struct pci_host *)d;

	memset(&p->s, 0, sizeof(p->s));
	put16(p->s.config + CONFIG_VENDOR, 0x8086);
	put16(p->s.config + CONFIG_DEVICE, 0x7192);
	put16(p->s.config + CONFIG_COMMAND, 0x0006); /* memory space, bus master */
	put16(p->s.config + CONFIG_STATUS, 0x0200);  /* medium DEVSEL# */
	p->s.config[CONFIG_REVISION] = 3;
	put16(p->s.config + CONFIG_CLASS, 0x0600); /* bridge, host */
}

static const struct device_ops ops = {
	.name = "pci",
	.widest = 4,
	.read = pci_read,
	.write = pci_write,
	.reset = pci_reset,
};

/* CF9h, in the middle of the address register, is the reset control's when accessed as a byte. */
void pci_host_init(struct pci_host *p)
{
	p->d.ops = &ops;
	p->d.port[0] = (struct device_range){PORT_PCI_ADDRESS, 1};
	p->d.port[1] = (struct device_range){PORT_PCI_ADDRESS + 2, 2};
	p->d.port[2] = (struct device_range){PORT_PCI_DATA, 4};
}
