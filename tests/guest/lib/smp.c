/* SPDX-License-Identifier: Apache-2.0
 *
 * The other processors: started as SDM vol. 3A 8.4.4 says, then asleep until they are called.
 */
#include "guest.h"

extern const uint8_t ap_code[], ap_code_end[];
extern volatile uint32_t ap_count;
volatile uint32_t ap_count;        /* that have taken a block */
static volatile uint32_t ap_ready; /* that wait for calls */
void ap_main(unsigned index);

static struct cpu *cpu_of(unsigned index)
{
	return (struct cpu *)cpu_block[index];
}

uint32_t smp_apic_id(unsigned cpu)
{
	return cpu_of(cpu)->apic_id;
}

void ap_main(unsigned index)
{
	struct cpu *c = this_cpu();

	c->index = index;
	cpu_tables(c);
	paging_init();
	apic_enable();
	c->apic_id = apic_x2() ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
	__atomic_fetch_add(&ap_ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		void (*fn)(void *);

		cli();
		while (!(fn = c->call))
			wait_interrupt();
		fn(c->call_arg);
		__atomic_store_n(&c->call, NULL, __ATOMIC_SEQ_CST);
	}
}

unsigned smp_start(void)
{
	unsigned want = (unsigned)option("cpus", 1);

	if (want < 2 || ap_ready)
		return 1 + ap_ready;
	apic_enable();
	memcpy((void *)AP_PAGE, ap_code, (size_t)(ap_code_end - ap_code));
	apic_icr(0, 0xc4500); /* INIT, all but self */
	delay_us(10000);
	apic_icr(0, 0xc4600 | AP_PAGE >> 12);
	delay_us(200);
	apic_icr(0, 0xc4600 | AP_PAGE >> 12);
	if (!WAIT(ap_ready + 1 >= want, 10000))
		guest_die("%u of %u processors came up", 1 + ap_ready, want);
	return 1 + ap_ready;
}

void smp_call(unsigned cpu, void (*fn)(void *), void *arg)
{
	struct cpu *c = cpu_of(cpu);

	while (c->call)
		pause();
	c->call_arg = arg;
	__atomic_store_n(&c->call, fn, __ATOMIC_SEQ_CST);
	apic_icr(c->apic_id, 0x4000 | VECTOR_CALL);
}

bool smp_done(unsigned cpu)
{
	return !cpu_of(cpu)->call;
}
