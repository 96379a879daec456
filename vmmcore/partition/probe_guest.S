/* SPDX-License-Identifier: Apache-2.0
 *
 * The probe guest: in 64-bit mode, ring 0, paging on, interrupts off, it goes through instructions
 * that every 64-bit kernel executes and that a KVM may be unable to. Before each step it writes the
 * step's number to PROBE_PORT. It is copied to PROBE_LOAD in guest memory and runs there.
 */
#include "vmmcore/partition/probe.h"

	.section .rodata
	.code64
	.globl	probe_guest, probe_guest_end
	.balign	16

#define AT(label) (PROBE_LOAD + label - probe_guest)
#define STEP(n)   mov $(n), %al; out %al, $PROBE_PORT

probe_guest:
	STEP(PROBE_START)
	mov	$PROBE_STACK, %esp
	lgdt	gdt_pointer(%rip)
	lidt	idt_pointer(%rip)

	STEP(PROBE_FAR_RETURN)
	pushq	$PROBE_KERNEL_CS
	lea	1f(%rip), %rax
	push	%rax
	lretq
1:
	STEP(PROBE_IRETQ)
	mov	%rsp, %rcx
	pushq	$PROBE_KERNEL_DS
	push	%rcx
	pushq	$2
	pushq	$PROBE_KERNEL_CS
	lea	1f(%rip), %rax
	push	%rax
	iretq
1:
	STEP(PROBE_CMPXCHG16B)
	movq	$0x11, PROBE_AREA
	movq	$0x22, PROBE_AREA + 8
	mov	$0x11, %eax
	mov	$0x22, %edx
	mov	$0x33, %ebx
	mov	$0x44, %ecx
	lock cmpxchg16b PROBE_AREA
	jnz	wrong
	cmpq	$0x33, PROBE_AREA
	jne	wrong
	cmpq	$0x44, PROBE_AREA + 8
	jne	wrong

	STEP(PROBE_FXSAVE)
	fninit
	mov	$0x5a5a, %eax
	movd	%eax, %xmm3
	fxsave64 PROBE_AREA
	pxor	%xmm3, %xmm3
	fxrstor64 PROBE_AREA
	movd	%xmm3, %eax
	cmp	$0x5a5a, %eax
	jne	wrong

	/* XRSTOR only where CPUID.1:ECX.XSAVE says it exists; then kernels use it. */
	mov	$1, %eax
	xor	%ecx, %ecx
	cpuid
	bt	$26, %ecx
	jnc	1f
	STEP(PROBE_XRSTOR)
	mov	%cr4, %rax
	or	$0x40000, %eax
	mov	%rax, %cr4
	xor	%ecx, %ecx
	mov	$3, %eax
	xor	%edx, %edx
	xsetbv
	mov	$PROBE_AREA, %edi
	mov	$0x400 / 8, %ecx
	xor	%eax, %eax
	rep stosq
	mov	$3, %eax
	xor	%edx, %edx
	xsave64	PROBE_AREA
	pxor	%xmm3, %xmm3
	xrstor64 PROBE_AREA
	movd	%xmm3, %eax
	cmp	$0x5a5a, %eax
	jne	wrong
1:
	STEP(PROBE_WRMSR)
	mov	$0xc0000102, %ecx		/* KERNEL_GS_BASE */
	mov	$0x1234000, %eax
	mov	$0xffff8000, %edx
	wrmsr
	rdmsr
	cmp	$0x1234000, %eax
	jne	wrong
	cmp	$0xffff8000, %edx
	jne	wrong
	swapgs
	mov	$0xc0000101, %ecx		/* GS_BASE */
	rdmsr
	cmp	$0x1234000, %eax
	jne	wrong
	swapgs

	STEP(PROBE_SYSRET)
	mov	$0xc0000081, %ecx		/* STAR */
	xor	%eax, %eax
	mov	$(PROBE_SYSRET_BASE << 16 | PROBE_KERNEL_CS), %edx
	wrmsr
	mov	$0xc0000082, %ecx		/* LSTAR */
	lea	3f(%rip), %rax
	xor	%edx, %edx
	wrmsr
	mov	$0xc0000084, %ecx		/* SFMASK */
	mov	$0x200, %eax
	xor	%edx, %edx
	wrmsr
	lea	2f(%rip), %rcx
	mov	$0x3002, %r11d			/* IOPL 3: ring 3 may use the port, too */
	sysretq
2:
	STEP(PROBE_SYSCALL)
	mov	%cs, %eax
	cmp	$(PROBE_SYSRET_BASE + 16 + 3), %eax
	jne	wrong
	syscall
3:
	mov	%cs, %eax
	cmp	$PROBE_KERNEL_CS, %eax
	jne	wrong
	mov	$PROBE_STACK, %esp

	STEP(PROBE_PAGE_FAULT)
	xor	%ebx, %ebx
	mov	$0x40000000, %esi
	mov	(%rsi), %al			/* two bytes; the handler skips them */
	cmp	$14, %ebx
	jne	wrong

	STEP(PROBE_INTERRUPT)
	mov	$0x1b, %ecx			/* APIC base: x2APIC mode */
	rdmsr
	or	$0xc00, %eax
	wrmsr
	mov	$0x80f, %ecx			/* spurious vector: enable */
	mov	$0x1ff, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0x83f, %ecx			/* self IPI */
	mov	$PROBE_VECTOR, %eax
	wrmsr
	mov	$1000000, %ecx
	sti
1:	cmp	$PROBE_VECTOR, %ebx
	je	1f
	pause
	loop	1b
	jmp	wrong
1:	cli
	STEP(PROBE_DONE)
	jmp	.

wrong:
	STEP(PROBE_WRONG)
	jmp	.

on_page_fault:
	mov	$14, %ebx
	add	$8, %rsp			/* error code */
	addq	$2, (%rsp)
	iretq

on_interrupt:
	mov	$PROBE_VECTOR, %ebx
	push	%rcx
	mov	$0x80b, %ecx			/* EOI */
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	pop	%rcx
	iretq

	.balign	8
gdt:
	.quad	0
	.quad	0x00af9b000000ffff		/* 08: kernel code */
	.quad	0x00cf93000000ffff		/* 10: kernel data */
	.quad	0x00cffb000000ffff		/* 18: 32-bit user code */
	.quad	0x00cff3000000ffff		/* 20: user data */
	.quad	0x00affb000000ffff		/* 28: user code */
gdt_end:

/* 64-bit interrupt gates (SDM vol. 3A, figure 6-8). PROBE_LOAD is a multiple of 64 KiB, so the
 * offset's low half is the distance from there. */
	.macro	gate handler
	.word	\handler - probe_guest, PROBE_KERNEL_CS
	.byte	0, 0x8e
	.word	PROBE_LOAD >> 16
	.quad	0
	.endm

	.balign	8
idt:
	.fill	14 * 2, 8, 0
	gate	on_page_fault
	.fill	(PROBE_VECTOR - 15) * 2, 8, 0
	gate	on_interrupt
idt_end:

gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	AT(gdt)
idt_pointer:
	.word	idt_end - idt - 1
	.quad	AT(idt)
probe_guest_end:

	.section .note.GNU-stack, "", @progbits
