/* SPDX-License-Identifier: Apache-2.0
 *
 * Time: the PIT is the one clock whose rate is known (1,193,182 Hz); the TSC is measured by it.
 */
#include "guest.h"

#define PIT_HZ 1193182u

void pit_set(unsigned channel, unsigned mode, uint16_t count)
{
	outb(0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	outb((uint16_t)(0x40 + channel), (uint8_t)count);
	outb((uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

/* At most 54 ms: one run of channel 2 in mode 0, until its output rises. */
static void pit_wait(uint16_t count)
{
	outb(0x61, (inb(0x61) & 0x0c) | 1); /* gate open, speaker off */
	pit_set(2, 0, count);
	while (!(inb(0x61) & 0x20))
		pause();
}

void delay_us(unsigned us)
{
	for (; us > 50000; us -= 50000)
		pit_wait((uint16_t)(50000ull * PIT_HZ / 1000000));
	pit_wait((uint16_t)((uint64_t)us * PIT_HZ / 1000000 + 1));
}

uint32_t tsc_khz(void)
{
	static uint32_t khz;

	if (!khz) {
		uint64_t start = rdtsc();

		delay_us(20000);
		khz = (uint32_t)((rdtsc() - start) / 20);
	}
	return khz;
}

uint64_t deadline_ms(unsigned ms)
{
	return rdtsc() + (uint64_t)tsc_khz() * ms;
}
