/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the provider library: provider.c is the provider channel, ring.c the guest's rings
 * and the signal channel.
 */
#ifndef BULKHEAD_VSP_PROVIDER_INTERNAL_H
#define BULKHEAD_VSP_PROVIDER_INTERNAL_H

#include "vsp/provider/provider.h"

/* ring.c */
int provider_watch_signals(struct provider *p);
/* After a channel was opened or closed. */
void provider_rings_changed(struct provider *p);

#endif
