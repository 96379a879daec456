/* SPDX-License-Identifier: Apache-2.0
 *
 * void modes_trip(void): long mode, compatibility mode, protected mode, 16-bit protected mode, real
 * mode, and all the way back. Notes what it sees in struct modes_result at RESULT (modes.c has the
 * same structure).
 */
#include "guest.h"

	.set	RESULT, MODES_AT + 0xc00
	.set	STACK16, MODES_AT + 0xc00
	.set	R_COMPAT_INC, 0
	.set	R_EFER_COMPAT, 4
	.set	R_EFER_PROTECTED, 8
	.set	R_CR0_PROTECTED, 12
	.set	R_INC_PROTECTED, 16
	.set	R_PUSH16, 20
	.set	R_ADD16, 24
	.set	R_CR0_REAL, 28
	.set	R_SEGMENT, 32
	.set	R_INT_CS, 36
	.set	R_INT_IP, 40
	.set	R_INT_FLAGS, 44
	.set	R_AFTER_INT_FLAGS, 48
	.set	R_DIVIDE_IP, 52
	.set	R_UNREAL, 56
	.set	R_BCD, 60
	.set	R_FAR_RETURN, 64
	.set	R_EFER_BACK, 68
	.set	R_HIGH_HALF, 72
	.set	R_EXPECT_INT_IP, 76
	.set	R_EXPECT_DIVIDE_IP, 80

	.text
	.code64
	.globl	modes_trip
modes_trip:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cli
	mov	%rsp, saved_rsp
	/* Registers keep their upper halves while nobody writes the register. */
	movabs	$0x123456789abcdef0, %r15
	movabs	$0x0fedcba987654321, %r14
	push	$SEL_CODE32
	push	$compat
	lretq

	/* Compatibility mode: 40h is INC EAX, not a REX prefix. */
	.code32
compat:
	mov	$5, %eax
	.byte	0x40
	mov	%eax, RESULT + R_COMPAT_INC
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$0xc0000080, %ecx
	rdmsr
	mov	%eax, RESULT + R_EFER_COMPAT
	/* Leaving long mode: paging off (SDM vol. 3A 9.8.5.4). */
	mov	%cr0, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	jmp	1f
1:	rdmsr
	mov	%eax, RESULT + R_EFER_PROTECTED
	and	$~0x100, %eax
	wrmsr
	mov	%cr4, %eax
	and	$~0x20, %eax
	mov	%eax, %cr4
	mov	%cr0, %eax
	mov	%eax, RESULT + R_CR0_PROTECTED
	mov	$7, %eax
	.byte	0x40
	mov	%eax, RESULT + R_INC_PROTECTED
	lidt	idtr_real
	ljmp	$SEL_CODE16, $MODES_AT + (pm16 - modes_code)

	/* Back from real mode. */
back32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%cr4, %eax
	or	$0x20, %eax
	mov	%eax, %cr4
	mov	$page_root, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE64, $back64

	.code64
back64:
	mov	saved_rsp, %rsp
	mov	$0xc0000080, %ecx
	rdmsr
	mov	%eax, RESULT + R_EFER_BACK
	xor	%eax, %eax
	movabs	$0x123456789abcdef0, %rcx
	cmp	%rcx, %r15
	jne	1f
	movabs	$0x0fedcba987654321, %rcx
	cmp	%rcx, %r14
	jne	1f
	inc	%eax
1:	mov	%eax, RESULT + R_HIGH_HALF
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	jmp	cpu_reload_tables

	.section .rodata
	.globl	modes_code, modes_code_end
	.balign	16
	.code16
modes_code:
pm16:
	mov	$SEL_DATA16, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$STACK16, %esp
	/* Operands have 16 bits by default: a push takes two bytes, an addition wraps. */
	push	%ax
	mov	$STACK16, %bx
	sub	%sp, %bx
	movzwl	%bx, %ebx
	mov	%ebx, RESULT + R_PUSH16
	pop	%ax
	mov	$0x1ffff, %eax
	add	$1, %ax
	mov	%eax, RESULT + R_ADD16
	/* FS keeps base 0 and limit 4 GiB into real mode. */
	mov	$SEL_DATA, %ax
	mov	%ax, %fs
	mov	%cr0, %eax
	and	$~1, %eax
	mov	%eax, %cr0
	ljmp	$0, $MODES_AT + (real - modes_code)

real:
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$STACK16, %sp
	mov	%cr0, %eax
	mov	%eax, RESULT + R_CR0_REAL
	/* segment * 16 + offset */
	mov	$MODES_AT >> 4, %ax
	mov	%ax, %es
	mov	%es:(marker - modes_code), %eax
	mov	%eax, RESULT + R_SEGMENT
	/* INT through the vector table at 0: pushes FLAGS, CS, IP; clears IF. */
	movw	$MODES_AT + (on_int - modes_code), 4 * 0x60
	movw	$0, 4 * 0x60 + 2
	movw	$MODES_AT + (on_divide - modes_code), 0
	movw	$0, 2
	movl	$MODES_AT + (after_int - modes_code), RESULT + R_EXPECT_INT_IP
	pushw	$0x0cd7			/* all arithmetic flags and DF; neither IF nor TF */
	popfw
	int	$0x60
after_int:
	pushfw
	pop	%ax
	movzwl	%ax, %eax
	mov	%eax, RESULT + R_AFTER_INT_FLAGS
	cld
	/* The divide error is a fault: it shows the DIV itself. */
	movl	$MODES_AT + (divide - modes_code), RESULT + R_EXPECT_DIVIDE_IP
	xor	%dx, %dx
	mov	$1, %ax
	xor	%cx, %cx
divide:
	div	%cx
	/* Beyond the 64 KiB: the multiboot magic at the kernel's start. */
	mov	$0x100000, %ebx
	addr32 mov %fs:(%ebx), %eax
	mov	%eax, RESULT + R_UNREAL
	/* BCD, which exists outside of 64-bit mode only. */
	mov	$0x38, %al
	add	$0x45, %al
	daa
	movzbl	%al, %eax
	mov	%eax, RESULT + R_BCD
	/* Far call and return with 16-bit frames. */
	lcall	$MODES_AT >> 4, $far_function - modes_code
	movzwl	%ax, %eax
	mov	%eax, RESULT + R_FAR_RETURN
	/* Back. */
	lgdtl	MODES_AT + (gdtr_back - modes_code)
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $back32

on_int:
	mov	%sp, %bp
	movzwl	(%bp), %eax
	mov	%eax, RESULT + R_INT_IP
	movzwl	2(%bp), %eax
	mov	%eax, RESULT + R_INT_CS
	movzwl	4(%bp), %eax
	mov	%eax, RESULT + R_INT_FLAGS
	xor	%ax, %ax			/* flags come back by IRET */
	iretw

on_divide:
	mov	%sp, %bp
	movzwl	(%bp), %eax
	mov	%eax, RESULT + R_DIVIDE_IP
	addw	$2, (%bp)			/* past DIV CX */
	iretw

far_function:
	mov	%cs, %ax
	lretw

	.balign	4
marker:
	.long	0x5ea1f00d
gdtr_back:
	.word	8 * 8 - 1
	.long	boot_gdt
modes_code_end:

idtr_real:
	.word	0x3ff
	.long	0

	.bss
	.balign	8
saved_rsp:
	.skip	8

	.section .note.GNU-stack, "", @progbits
