/* SPDX-License-Identifier: Apache-2.0
 *
 * What partition and worker say to each other in channels. The partition is end 0 of each channel,
 * the worker end 1 (bus/channel.h).
 *
 * Intercept channels: one per vCPU. The vCPU's thread sends accesses, the worker answers reads.
 * Writes are posted: the vCPU does not wait. So that accesses of different vCPUs keep the order in
 * which they were made, each carries a ticket from one counter per VM in its transaction id, and
 * the worker handles them in ticket order. (A guest that releases a lock after a posted write and
 * lets another vCPU go on would otherwise see, say, an index register change under its hands.)
 * One kind of write is answered: to a port behind which the A20 gate lies (INTERCEPT_PIO_GATE).
 * The vCPU's next instruction is to see what it has done to the gate.
 *
 * Platform channel: one per VM. The worker drives interrupt lines and hands over boot state.
 *
 * In all of these channels the partition has end 0 and the worker end 1. Tickets go on counting
 * through pause and reset. The worker answers reads also while it is paused, because a vCPU can
 * only park between instructions. The worker puts the boot state into the platform channel before
 * it answers UNIT_LOAD, so the partition empties that channel before it acts on UNIT_RUN.
 */
#ifndef BULKHEAD_PROTO_INTERCEPT_H
#define BULKHEAD_PROTO_INTERCEPT_H

#include <stdbool.h>
#include <stdint.h>

#define INTERCEPT_RING_BYTES (4096u + 4096u)    /* each direction */
#define PLATFORM_RING_BYTES  (4096u + 8192u)

enum intercept_type {
	INTERCEPT_PIO_READ = 1,
	INTERCEPT_PIO_WRITE,
	INTERCEPT_MMIO_READ,
	INTERCEPT_MMIO_WRITE,
	INTERCEPT_PIO_GATE,     /* a write to a port of intercept_gates(), which waits for its answer */
};

/* vCPU to worker; transaction id = ticket (64 bits, from 0 up without a gap). */
struct intercept {
	uint8_t type;           /* enum intercept_type */
	uint8_t size;           /* 1, 2, 4; MMIO also 8 */
	uint16_t vcpu;
	uint32_t pad;
	uint64_t address;       /* port or guest-physical address */
	uint64_t value;         /* writes; 0 in reads */
};
_Static_assert(sizeof(struct intercept) == 24, "wire size");

/* Worker to vCPU, for reads and INTERCEPT_PIO_GATE; transaction id repeated. Ports and addresses
 * that nobody owns read as all ones. After INTERCEPT_PIO_GATE: 1 if A20 is open now, 0 if address
 * bit 20 is to be masked. */
struct intercept_reply {
	uint64_t value;
};

/* Whether a write of that many bytes can move the A20 gate: keyboard controller, ports 60h and 64h
 * (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"),
 * and system control port A, 92h. */
static inline bool intercept_gates(uint16_t port, unsigned size)
{
	static const uint16_t gate[] = {0x60, 0x64, 0x92};

	for (unsigned i = 0; i < 3; i++)
		if (gate[i] >= port && gate[i] - port < (int)size)
			return true;
	return false;
}

enum platform_type {
	PLATFORM_LINE = 1,      /* worker to partition: set a global system interrupt's level */
	PLATFORM_BOOT,          /* worker to partition: the boot vCPU's state for the next run */
};

struct platform_line {
	uint32_t type;
	uint16_t gsi;           /* 0 to 23; ISA IRQ n is wired to both PIC input n and GSI n (0: GSI 2) */
	uint8_t level;          /* 1 asserted; an edge is 1 then 0 */
	uint8_t pad;
};
_Static_assert(sizeof(struct platform_line) == 8, "wire size");

/* The small set of registers that boot protocols define, so that the worker stays free of the
 * back ends' headers. Everything else is as after reset. */
struct boot_segment {
	uint64_t base;
	uint32_t limit;         /* bytes */
	uint32_t attr;          /* VMCS access-rights layout, SDM vol. 3C table 24-2 */
	uint16_t selector;
	uint16_t pad[3];
};

struct platform_boot {
	uint32_t type;
	uint32_t pad;
	uint64_t gpr[16];       /* ModRM order */
	uint64_t rip, rflags;
	uint64_t cr0, cr3, cr4, efer;
	struct boot_segment cs, data, tr;       /* data: DS, ES, SS, FS, GS */
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
	uint32_t pad2;
};

#endif
