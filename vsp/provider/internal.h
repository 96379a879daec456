/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the provider library: provider.c is the provider channel, reset.c what is said on it
 * when a process takes a dead one's place, ring.c the guest's rings and the signal channel.
 */
#ifndef BULKHEAD_VSP_PROVIDER_INTERNAL_H
#define BULKHEAD_VSP_PROVIDER_INTERNAL_H

#include "vsp/provider/provider.h"

/* provider.c: to the worker */
void provider_simple(struct provider *p, uint32_t type, uint32_t channel, uint32_t value);

/* reset.c: whether this message of the worker's belongs to a reset, and has been dealt with. */
bool provider_reset_message(struct provider *p, uint32_t type, const void *message, ptrdiff_t bytes);

/* ring.c */
int provider_watch_signals(struct provider *p);
/* Any thread: there is something for the guest in the channel's rings. */
void provider_interrupt(struct provider_channel *ch);
/* After a channel was opened or closed. */
void provider_rings_changed(struct provider *p);

#endif
