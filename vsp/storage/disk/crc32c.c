/* SPDX-License-Identifier: Apache-2.0 */
/* Eight bytes a step from eight tables, built once from the polynomial 0x1edc6f41 (reflected). */
#include "vsp/storage/disk/crc32c.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void build(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
}

uint32_t crc32c(uint32_t crc, const void *data, size_t length)
{
	const uint8_t *p = data;

	pthread_once(&once, build);
	for (; length >= 8; p += 8, length -= 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		v = le64toh(v) ^ crc;
		crc = table[7][v & 255] ^ table[6][v >> 8 & 255] ^ table[5][v >> 16 & 255] ^
		      table[4][v >> 24 & 255] ^ table[3][v >> 32 & 255] ^ table[2][v >> 40 & 255] ^
		      table[1][v >> 48 & 255] ^ table[0][v >> 56];
	}
	for (; length; p++, length--)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
	return crc;
}
