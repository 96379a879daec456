/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: reads a port in a loop, for the intercept bench. Options: n=READS (100000), port=NUMBER
 * (3FFh, the scratch register of COM1: a real device that nothing depends on), write=1 to write
 * instead. Prints one line:
 *
 *   pio port=0x3ff op=read n=100000 tsc_khz=2000000 cycles=... ns_each=... per_second=...
 */
#include "guest.h"

void guest_main(void)
{
	uint64_t n = option("n", 100000), cycles, ns;
	uint16_t port = (uint16_t)option("port", 0x3ff);
	bool writes = option("write", 0);
	uint32_t khz = tsc_khz();
	uint64_t start;

	if (!n)
		n = 1;
	for (unsigned i = 0; i < 1000; i++) /* warm */
		inb(port);
	start = rdtsc();
	if (writes)
		for (uint64_t i = 0; i < n; i++)
			outb(port, (uint8_t)i);
	else
		for (uint64_t i = 0; i < n; i++)
			inb(port);
	if (writes)
		inb(port); /* posted writes: until they are done */
	cycles = rdtsc() - start;
	ns = cycles / khz * 1000000 + cycles % khz * 1000000 / khz;
	print("pio port=0x%x op=%s n=%lu tsc_khz=%u cycles=%lu ns_each=%lu per_second=%lu\n", port,
	      writes ? "write" : "read", n, khz, cycles, ns / n, ns ? n * 1000000000 / ns : 0);
}
