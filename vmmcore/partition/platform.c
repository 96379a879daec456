/* SPDX-License-Identifier: Apache-2.0
 *
 * What a vCPU's thread asks of the partition in the middle of an instruction: ports and device
 * memory (the interrupt fabric's here, all others the worker's, by channel), MSRs, hypercalls.
 */
#include <errno.h>
#include <stdint.h>

#include "bus/log.h"
#include "vmmcore/partition/partition.h"

/* Sends an access under the next ticket, which is returned. */
static uint64_t intercept_send(struct vcpu_thread *t, uint8_t type, uint64_t address, unsigned size,
			       uint64_t value)
{
	struct partition *p = t->part;
	struct intercept msg = {
		.type = type,
		.size = size,
		.vcpu = t->vcpu.index,
		.address = address,
		.value = value,
	};
	uint64_t ticket = atomic_fetch_add(&p->ticket, 1);
	int r;

	while ((r = channel_send(&t->intercept, 0, ticket, &msg, sizeof(msg))) == -EAGAIN) {
		r = channel_wait_room(&t->intercept, sizeof(msg), -1, NULL);
		if (r)
			break;
	}
	if (r)
		fatal("vCPU %u: the worker broke its intercept channel (%d)", t->vcpu.index, r);
	return ticket;
}

/* The answer to the read with that ticket. The wait has no end but the answer: a vCPU cannot stop
 * within an instruction. If the worker dies, the broker ends us, too. */
static uint64_t intercept_answer(struct vcpu_thread *t, uint64_t ticket)
{
	struct ring_packet pkt;
	struct intercept_reply reply;
	ptrdiff_t n;

	for (;;) {
		channel_wait(&t->intercept, -1, NULL);
		n = channel_recv(&t->intercept, &pkt, &reply, sizeof(reply));
		if (n != -EAGAIN)
			break;
	}
	if (n != sizeof(reply) || pkt.type != RING_INBAND || pkt.transaction_id != ticket)
		fatal("vCPU %u: the worker's answer is not one to its question", t->vcpu.index);
	return reply.value;
}

static uint64_t ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1;
}

/* A write behind which the A20 gate may lie. */
static void write_gate(struct vcpu_thread *t, uint16_t port, unsigned size, uint32_t value)
{
	struct partition *p = t->part;
	uint64_t open;

	pthread_mutex_lock(&p->gate_lock);
	open = intercept_answer(t, intercept_send(t, INTERCEPT_PIO_GATE, port, size, value));
	p->backend->a20(&p->vm, open & 1);
	pthread_mutex_unlock(&p->gate_lock);
}

static void pio(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct vcpu_thread *t = v->thread;

	if (irq_pio(v, port, size, write, value))
		return;
	if (write && t->part->backend->a20 && intercept_gates(port, size))
		write_gate(t, port, size, (uint32_t)(*value & ones(size)));
	else if (write)
		intercept_send(t, INTERCEPT_PIO_WRITE, port, size, *value & ones(size));
	else
		*value = intercept_answer(t, intercept_send(t, INTERCEPT_PIO_READ, port, size, 0)) &
			 ones(size);
}

static void mmio(struct vcpu *v, uint64_t gpa, unsigned size, bool write, uint64_t *value)
{
	struct vcpu_thread *t = v->thread;

	if (irq_mmio(v, gpa, size, write, value))
		return;
	if (write)
		intercept_send(t, INTERCEPT_MMIO_WRITE, gpa, size, *value & ones(size));
	else
		*value = intercept_answer(t, intercept_send(t, INTERCEPT_MMIO_READ, gpa, size, 0)) &
			 ones(size);
}

static int rdmsr(struct vcpu *v, uint32_t index, uint64_t *value)
{
	enum irq_msr_result r = irq_rdmsr(v, index, value);

	if (r == IRQ_MSR_NOT_MINE)
		r = hv_rdmsr(v, index, value);
	if (r == IRQ_MSR_NOT_MINE)
		return msr_read(v, index, value);
	return r == IRQ_MSR_OK ? 0 : -1;
}

static int wrmsr(struct vcpu *v, uint32_t index, uint64_t value)
{
	enum irq_msr_result r = irq_wrmsr(v, index, value);

	if (r == IRQ_MSR_NOT_MINE)
		r = hv_wrmsr(v, index, value);
	if (r == IRQ_MSR_NOT_MINE)
		return msr_write(v, index, value);
	return r == IRQ_MSR_OK ? 0 : -1;
}

const struct vcpu_platform partition_platform = {
	.pio = pio,
	.mmio = mmio,
	.rdmsr = rdmsr,
	.wrmsr = wrmsr,
	.cpuid = partition_cpuid,
	.irq_take = irq_take,
	.get_cr8 = irq_get_cr8,
	.set_cr8 = irq_set_cr8,
	.tsc = irq_tsc,
	.hypercall = hv_hypercall,
};
