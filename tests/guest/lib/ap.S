/* SPDX-License-Identifier: Apache-2.0
 *
 * Where an application processor starts: copied to AP_PAGE, entered in real mode by a SIPI. Takes a
 * number and its block, and goes the way of start.S.
 */
#include "guest.h"

	.section .rodata
	.globl	ap_code, ap_code_end
	.code16
ap_code:
	cli
	cld
	mov	%cs, %ax
	mov	%ax, %ds			/* offsets are from AP_PAGE */
	lgdtl	ap_gdtr - ap_code
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $AP_PAGE + (ap_32 - ap_code)
	.code32
ap_32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
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
	or	$0x80010000, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE64, $ap_64
	.balign	8
ap_gdtr:
	.word	8 * 8 - 1
	.long	boot_gdt
ap_code_end:

	.text
	.code64
ap_64:
	mov	$1, %eax
	lock xadd %eax, ap_count
	inc	%eax				/* 0 is the boot processor */
	mov	%eax, %edi
	inc	%eax
	imul	$CPU_BLOCK, %eax, %eax
	lea	cpu_block(%rax), %rsp
	call	ap_main
	ud2

	.section .note.GNU-stack, "", @progbits
