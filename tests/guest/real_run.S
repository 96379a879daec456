/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to real mode and back; see real.h. The part between real_text and real_text_end is copied
 * to REAL_AT.
 */
#include "real.h"

#define LOW(symbol) (REAL_AT + (symbol) - real_text)

	.text
	.code64
	.globl	real_go
real_go:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cli
	mov	%rsp, saved_rsp
	push	$SEL_CODE32
	push	$compat
	lretq

	.code32
compat:
	mov	$SEL_DATA, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	/* Out of long mode: SDM vol. 3A 9.8.5.4. */
	mov	%cr0, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	rdmsr
	mov	%eax, saved_efer
	and	$~0x100, %eax
	wrmsr
	mov	%cr4, %eax
	mov	%eax, saved_cr4
	xor	%eax, %eax
	mov	%eax, %cr4
	ljmp	$SEL_CODE16, $LOW(protected16)

back32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	saved_cr4, %eax
	mov	%eax, %cr4
	mov	$page_root, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	mov	saved_efer, %eax
	xor	%edx, %edx
	and	$~0x400, %eax
	wrmsr
	mov	$0x80010031, %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE64, $back64

	.code64
back64:
	mov	saved_rsp, %rsp
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	push	$2
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	jmp	cpu_reload_tables

	.section .rodata
	.balign	16
	.globl	real_text, real_text_end, real_stubs
	.code16
real_text:
protected16:
	/* Limits of 64 KiB go with the segments into real mode. */
	mov	$SEL_DATA16, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%ax, %fs
	mov	%ax, %gs
	cmpl	$0, REAL_IO + IO_KEEP
	je	1f
	mov	$SEL_DATA, %ax
	mov	%ax, %fs
1:	mov	%cr0, %eax
	and	$~1, %eax
	mov	%eax, %cr0
	ljmp	$0, $LOW(real)

real:
	lidtl	%cs:REAL_IO + IO_IDTR
	mov	%cs:REAL_IO + IO_SEGS + 0, %es
	mov	%cs:REAL_IO + IO_SEGS + 10, %gs
	cmpl	$0, %cs:REAL_IO + IO_KEEP
	jne	1f
	mov	%cs:REAL_IO + IO_SEGS + 8, %fs
1:	mov	%cs:REAL_IO + IO_SEGS + 4, %ss
	mov	%cs:REAL_IO + IO_GPR + 16, %esp
	mov	%cs:REAL_IO + IO_GPR + 0, %eax
	mov	%cs:REAL_IO + IO_GPR + 4, %ecx
	mov	%cs:REAL_IO + IO_GPR + 8, %edx
	mov	%cs:REAL_IO + IO_GPR + 12, %ebx
	mov	%cs:REAL_IO + IO_GPR + 20, %ebp
	mov	%cs:REAL_IO + IO_GPR + 24, %esi
	mov	%cs:REAL_IO + IO_GPR + 28, %edi
	mov	%cs:REAL_IO + IO_SEGS + 6, %ds
	iretw

	/* CS is 0 here: it serves for data that must not go over the stack. */
common:
	mov	%eax, %cs:REAL_IO + OUT_GPR + 0
	mov	%ecx, %cs:REAL_IO + OUT_GPR + 4
	mov	%edx, %cs:REAL_IO + OUT_GPR + 8
	mov	%ebx, %cs:REAL_IO + OUT_GPR + 12
	mov	%ebp, %cs:REAL_IO + OUT_GPR + 20
	mov	%esi, %cs:REAL_IO + OUT_GPR + 24
	mov	%edi, %cs:REAL_IO + OUT_GPR + 28
	.set	at, 0
	.rept	4
	popw	%cs:REAL_IO + OUT_FRAME + at
	.set	at, at + 2
	.endr
	mov	%esp, %cs:REAL_IO + OUT_GPR + 16
	mov	%es, %cs:REAL_IO + OUT_SEGS + 0
	mov	%ss, %cs:REAL_IO + OUT_SEGS + 4
	mov	%ds, %cs:REAL_IO + OUT_SEGS + 6
	mov	%fs, %cs:REAL_IO + OUT_SEGS + 8
	mov	%gs, %cs:REAL_IO + OUT_SEGS + 10
	xor	%ax, %ax
	mov	%ax, %ss
	mov	$REAL_STACK, %esp
	pushfl
	popl	%cs:REAL_IO + OUT_FLAGS
	mov	%cr0, %eax
	mov	%eax, %cs:REAL_IO + OUT_CR0
	cld
	lgdtl	%cs:LOW(gdtr_back)
	mov	$1, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $back32

gdtr_back:
	.word	8 * 8 - 1
	.long	boot_gdt

	.balign	2
real_stubs:
	.set	n, 0
	.rept	256
	.byte	0x68				/* PUSH imm16 and JMP rel16: 6 bytes in each */
	.word	n
	.byte	0xe9
	.word	common - (. + 2)
	.set	n, n + 1
	.endr
real_text_end:

	.bss
	.balign	8
saved_rsp:
	.skip	8
saved_efer:
	.skip	4
saved_cr4:
	.skip	4

	.section .note.GNU-stack, "", @progbits
