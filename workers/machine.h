/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine that a configuration describes.
 */
#ifndef BULKHEAD_WORKERS_MACHINE_H
#define BULKHEAD_WORKERS_MACHINE_H

#include "proto/control.h"
#include "workers/chipset.h"

/* Puts the devices of a (checked) configuration into a chipset fresh from chipset_init(). line:
 * the other side of each serial port, config->serials of them. */
int machine_build(struct chipset *c, const struct vm_config *config, const struct uart_host line[]);

#endif
