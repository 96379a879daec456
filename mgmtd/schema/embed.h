/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that are compiled in.
 */
#ifndef BULKHEAD_MGMTD_SCHEMA_EMBED_H
#define BULKHEAD_MGMTD_SCHEMA_EMBED_H

extern const unsigned char vmc_rng[]; /* schema/vmc.rng */
extern const unsigned int vmc_rng_bytes;

#endif
