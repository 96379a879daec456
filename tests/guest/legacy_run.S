/* SPDX-License-Identifier: Apache-2.0
 *
 * legacy.h: out of long mode and by IRET into the state that is asked for; back by whatever vector
 * comes, through a 32-bit stub or, for the vectors with task gates, a task switch.
 */
#include "guest.h"
#include "stubs.inc"

	.text
	.code32
	.balign	16
	.globl	legacy_stubs
legacy_stubs:
	VECTOR_STUBS legacy_common

/* DS ES FS GS, registers and the frame go to legacy_out by POPs, which have the stack's own width
 * whatever SS is. */
legacy_common:
	pusha
	push	%gs
	push	%fs
	push	%es
	push	%ds
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	.set	at, 0
	.rept	17				/* segments, PUSHA, vector, error, EIP, CS, EFLAGS */
	popl	legacy_out + at
	.set	at, at + 4
	.endr
	/* The frame's flags may have RF; what it was is in legacy_out now. */
	.rept	17
	push	$0
	.endr
	.rept	17
	popl	legacy_out + 4092
	.endr
	mov	%esp, legacy_out + 68
	mov	%ss, %eax
	mov	%eax, legacy_out + 72
	/* From another level: ESP and SS; from virtual-8086 mode ES DS FS GS, too. */
	testl	$0x20000, legacy_out + 64
	jnz	1f
	testl	$3, legacy_out + 60
	jz	legacy_leave
	popl	legacy_out + 76
	popl	legacy_out + 80
	jmp	legacy_leave
1:	.set	at, 76
	.rept	6
	popl	legacy_out + at
	.set	at, at + 4
	.endr
	jmp	legacy_leave

/* Task gates come here. */
	.globl	legacy_escape
	.set	n, 0
	.balign	16
legacy_escape:
	.rept	16
	.balign	16
	movl	$0x100 + n, %eax
	jmp	escaped
	.set	n, n + 1
	.endr
escaped:
	mov	%eax, legacy_out + 48
	mov	%esp, legacy_out + 68
	/* Vectors 8 to 14 push an error code. */
	sub	$0x108, %eax
	cmp	$6, %eax
	ja	legacy_leave
	popl	legacy_out + 52

legacy_leave:
	cli
	cld
	xor	%eax, %eax
	str	%ax
	mov	%eax, legacy_out + 104
	sldt	%ax
	mov	%eax, legacy_out + 108
	mov	%cr0, %eax
	mov	%eax, legacy_out + 100
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	$0x20, %eax
	mov	%eax, %cr4
	mov	$page_root, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	mov	$0xd01, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0x80010031, %eax
	mov	%eax, %cr0
	lgdt	legacy_home_gdtr
	ljmp	$SEL_CODE64, $back64

	.code64
back64:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	legacy_rsp, %rsp
	push	$2				/* NT, of a task gate, would make IRET a task switch */
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	call	cpu_reload_tables
	xor	%eax, %eax
	lldt	%ax
	mov	%eax, %fs
	mov	%eax, %gs
	ret

/* void legacy_run(void): the state is in legacy_in, the tables' registers in legacy_gdtr and
 * legacy_idtr. */
	.globl	legacy_run
legacy_run:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, legacy_rsp
	cli
	push	$SEL_CODE32
	push	$legacy_compat
	lretq
	.code32
legacy_compat:
	mov	$SEL_DATA, %eax
	mov	%eax, %ss
	mov	%cr0, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	mov	$0x801, %eax			/* NXE, SCE */
	xor	%edx, %edx
	wrmsr
	mov	$legacy_root, %eax
	mov	%eax, %cr3
	mov	legacy_cr4, %eax
	mov	%eax, %cr4
	mov	$0x80010031, %eax
	mov	%eax, %cr0
	lgdt	legacy_gdtr
	lidt	legacy_idtr
	mov	$SEL_TSS, %eax
	ltr	%ax
	mov	$0x50, %eax
	lldt	%ax
	ljmp	$SEL_CODE32, $1f
1:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	legacy_in + 0, %gs
	mov	legacy_in + 4, %fs
	mov	legacy_in + 8, %es
	mov	legacy_in + 16, %edi
	mov	legacy_in + 20, %esi
	mov	legacy_in + 24, %ebp
	mov	legacy_in + 32, %ebx
	mov	legacy_in + 36, %edx
	mov	legacy_in + 40, %ecx
	mov	legacy_in + 44, %eax
	mov	legacy_in + 48, %ss
	mov	legacy_in + 28, %esp
	mov	legacy_in + 12, %ds
	iretl
	.globl	legacy_text_end
legacy_text_end:

	.section .rodata
	.balign	8
legacy_home_gdtr:
	.word	8 * 8 - 1
	.long	boot_gdt, 0

	.bss
	.balign	8
legacy_rsp:
	.skip	8
	.section .note.GNU-stack, "", @progbits
