/* SPDX-License-Identifier: Apache-2.0
 *
 * Which devices a machine has.
 */
#include "workers/machine.h"

#include "bus/guestmem.h"

static void init_serials(struct chipset *c, const struct vm_config *config,
			 const struct uart_host line[])
{
	static const uint16_t port[CONTROL_MAX_SERIAL] = {PORT_COM1, PORT_COM2};
	static const uint8_t irq[CONTROL_MAX_SERIAL] = {IRQ_COM1, IRQ_COM2};

	for (unsigned i = 0; i < config->serials; i++)
		uart_init(&c->com[i], port[i], irq[i], &line[i]);
}

int machine_build(struct chipset *c, const struct vm_config *config, const struct uart_host line[])
{
	uint64_t ram = config->ram_bytes - config->later_bytes;
	uint64_t low = ram < GUESTMEM_LOW_MAX ? ram : GUESTMEM_LOW_MAX;
	struct device *const all[] = {
		&c->com[0].d,  config->serials > 1 ? &c->com[1].d : NULL,
		&c->rtc.d,     &c->i8042.d,
		&c->acpi_pm.d, &c->reset_control.d,
		&c->pci.d,     config->exit_device ? &c->exit_device.d : NULL,
	};
	int err = 0;

	init_serials(c, config, line);
	rtc_init(&c->rtc);
	rtc_set_memory(&c->rtc, low, ram - low);
	i8042_init(&c->i8042);
	acpi_pm_init(&c->acpi_pm);
	reset_control_init(&c->reset_control);
	pci_host_init(&c->pci);
	exit_device_init(&c->exit_device);
	for (unsigned i = 0; i < sizeof(all) / sizeof(*all) && !err; i++)
		if (all[i])
			err = chipset_add(c, all[i]);
	return err;
}
