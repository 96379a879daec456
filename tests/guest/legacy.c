/* SPDX-License-Identifier: Apache-2.0 */
#include "legacy.h"

uint32_t legacy_in[16], legacy_cr4 = 0x20;
struct table_register legacy_gdtr, legacy_idtr;
uint64_t legacy_root[4] __attribute__((aligned(4096)));
uint32_t legacy_out[1024] __attribute__((aligned(4096)));
struct legacy_area legacy __attribute__((aligned(4096)));

static uint32_t address(const volatile void *p)
{
	return (uint32_t)(uint64_t)p;
}

uint64_t descriptor32(uint32_t base, uint32_t limit, uint32_t attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(attr >> 12 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

uint64_t gate32(uint16_t selector, uint32_t offset, unsigned params, uint32_t attr)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)params << 32 |
	       (uint64_t)attr << 40 | (uint64_t)(offset >> 16) << 48;
}

/* One to one and the user's, but for V86_NO_USER. */
void legacy_init(void)
{
	uint64_t *dir = page_alloc(), *first = page_alloc();

	for (uint64_t i = 0; i < 512; i++) {
		dir[i] = i << 21 | PTE_P | PTE_W | PTE_U | PTE_PS;
		first[i] = i << 12 | PTE_P | PTE_W | (i << 12 == V86_NO_USER ? 0 : PTE_U);
	}
	dir[0] = (uint64_t)first | PTE_P | PTE_W | PTE_U;
	legacy_root[0] = (uint64_t)dir | PTE_P;
}

static void make_idt(void)
{
	for (unsigned i = 0; i < 256; i++) {
		bool user = i == 3 || i == 4 || (i >= 0x70 && i < 0x80);

		legacy.idt[i] = gate32(SEL_CODE32, address(legacy_stubs[i]), 0, user ? 0xee : 0x8e);
	}
	legacy_task_gate(8, 0);
}

void legacy_task_gate(unsigned vector, unsigned k)
{
	struct tss32 *t = &legacy.escape[k];

	memset(t, 0, sizeof *t);
	t->cr3 = address(legacy_root);
	t->eip = address(legacy_escape[vector]);
	t->eflags = 2;
	t->gpr[4] = address(&legacy.escape_stack[k][64]);
	for (unsigned i = 0; i < 6; i++)
		t->seg[i].sel = i == 1 ? SEL_CODE32 : SEL_DATA;
	legacy.gdt[SEL_ESCAPE / 8 + k] = descriptor32(address(t), sizeof *t - 1, 0x89);
	legacy.idt[vector] = gate32((uint16_t)(SEL_ESCAPE + 8 * k), 0, 0, 0x85);
}

static void make_tasks(void)
{
	struct tss32 *t = &legacy.tss, *n = &legacy.next;

	t->level[0].esp = address(&legacy.stack0[64]);
	t->level[0].ss = SEL_DATA;
	t->level[1].esp = address(&legacy.stack1[64]);
	t->level[1].ss = SEL_TEST2 | 1; /* a test's, if it wants level 1 */
	t->cr3 = address(legacy_root);
	t->iomap = sizeof legacy.tss;
	memset(legacy.iomap, 0xff, sizeof legacy.iomap);
	*n = *t;
	n->iomap = sizeof *n;
	n->eip = CODE_AT + 0x100;
	n->eflags = 2;
	for (unsigned i = 0; i < 8; i++)
		n->gpr[i] = 0x11110000 + i;
	n->gpr[4] = address(&legacy.next_stack[64]);
	for (unsigned i = 0; i < 6; i++)
		n->seg[i].sel = i == 1 ? SEL_CODE32 : SEL_DATA;
	legacy.next16.ip = 0x100;
	legacy.next16.flags = 2;
	for (unsigned i = 0; i < 8; i++)
		legacy.next16.gpr[i] = (uint16_t)(0x2220 + i);
	for (unsigned i = 0; i < 4; i++)
		legacy.next16.seg[i] = i == 1 ? SEL_CODE16 : SEL_DATA;
}

static void make_gdt(void)
{
	static const uint64_t flat[7] = {0,
					 0x00af9b000000ffff, /* 64-bit code, for the way back */
					 0x00cf93000000ffff,
					 0x00cf9b000000ffff,
					 0,
					 0x00cffb000000ffff,
					 0x00cff3000000ffff};

	memcpy(legacy.gdt, flat, sizeof flat);
	legacy.gdt[SEL_CODE16 / 8] = descriptor32(CODE_AT, 0xffff, 0x9b);
	legacy.gdt[SEL_TSS / 8] = descriptor32(address(&legacy.tss),
					       sizeof legacy.tss + sizeof legacy.iomap - 1, 0x89);
	legacy.gdt[SEL_LDT / 8] = descriptor32(address(legacy.ldt), sizeof legacy.ldt - 1, 0x82);
	legacy.gdt[SEL_TSS32 / 8] =
		descriptor32(address(&legacy.next), sizeof legacy.next - 1, 0x89);
	legacy.gdt[SEL_TSS16 / 8] =
		descriptor32(address(&legacy.next16), sizeof legacy.next16 - 1, 0x81);
	legacy_gdtr = (struct table_register){sizeof legacy.gdt - 1, (uint64_t)legacy.gdt};
	legacy_idtr = (struct table_register){sizeof legacy.idt - 1, (uint64_t)legacy.idt};
}

static void frame(uint32_t *f, uint32_t eip, uint16_t cs, uint32_t flags)
{
	f[0] = eip;
	f[1] = cs;
	f[2] = flags;
}

void legacy_default(void)
{
	memset(&legacy, 0, sizeof legacy);
	memset(legacy_in, 0, sizeof legacy_in);
	memset(legacy_out, 0, OUT_COUNT * 4);
	make_idt();
	make_gdt();
	make_tasks();
	for (unsigned i = IN_ES; i <= IN_DS; i++)
		legacy_in[i] = SEL_DATA;
	legacy_in[IN_SS] = SEL_DATA;
	/* No change of level: IRET's frame lies on the code's own stack. */
	legacy_in[IN_SP] = address(&legacy.stack0[61]);
	frame(&legacy.stack0[61], CODE_AT, SEL_CODE32, 2);
}

void legacy_user(void)
{
	legacy_in[IN_ES] = legacy_in[IN_DS] = SEL_USER_DATA;
	legacy_in[IN_SP] = address(legacy.frame);
	frame(legacy.frame, CODE_AT, SEL_USER32, 2);
	legacy.frame[3] = address(&legacy.stack3[64]);
	legacy.frame[4] = SEL_USER_DATA;
}

void legacy_v86(uint32_t flags)
{
	legacy_in[IN_SP] = address(legacy.frame);
	frame(legacy.frame, 0, V86_CODE >> 4, flags | 0x20002);
	legacy.frame[3] = 0x8000;
	legacy.frame[4] = V86_SS >> 4;
	for (unsigned i = 5; i < 9; i++)
		legacy.frame[i] = V86_DATA >> 4;
}

void legacy_go(void)
{
	legacy_run();
	WRITE_CR(0, READ_CR(0) & ~8ull); /* TS, of task switches */
}
