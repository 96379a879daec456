/* SPDX-License-Identifier: Apache-2.0
 *
 * Multiboot 1 entry (32-bit protected mode, no paging; specification 0.6.96, 3.2): page tables for
 * the first 4 GiB, long mode, C.
 */
#include "guest.h"

	.set	MULTIBOOT_MAGIC, 0x1badb002
	.set	FLAGS, 2			/* memory information, please */

	.section .multiboot, "a"
	.balign	4
	.long	MULTIBOOT_MAGIC, FLAGS, -(MULTIBOOT_MAGIC + FLAGS)

	.text
	.code32
	.globl	_start
_start:
	cli
	cld
	mov	$cpu_block + CPU_BLOCK, %esp
	cmp	$0x2badb002, %eax
	jne	no_multiboot
	mov	%ebx, %ebp			/* multiboot information */

	/* PML4[0] -> PDPT; PDPT[0..3] -> four directories; 2048 pages of 2 MiB. */
	mov	$page_dirs, %edi
	mov	$0x87, %eax			/* present, writable, user, 2 MiB */
	xor	%ecx, %ecx
1:	mov	%eax, (%edi, %ecx, 8)
	movl	$0, 4(%edi, %ecx, 8)
	add	$0x200000, %eax
	inc	%ecx
	cmp	$2048, %ecx
	jb	1b
	mov	$page_dirs + 7, %eax
	xor	%ecx, %ecx
2:	mov	%eax, page_pdpt(, %ecx, 8)
	add	$0x1000, %eax
	inc	%ecx
	cmp	$4, %ecx
	jb	2b
	movl	$page_pdpt + 7, page_root

	mov	$page_root, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax			/* LME */
	wrmsr
	mov	%cr0, %eax
	or	$0x80010000, %eax		/* PG, WP */
	mov	%eax, %cr0
	lgdt	boot_gdtr
	ljmp	$SEL_CODE64, $start64

no_multiboot:
	mov	$0xff, %eax
	out	%eax, $EXIT_PORT
	hlt

	.code64
start64:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$cpu_block + CPU_BLOCK, %rsp
	mov	%ebp, %edi
	call	cpu_start
	ud2

	.section .rodata
	.balign	8
	.globl	boot_gdt
boot_gdt:
	.quad	0
	.quad	0x00209b0000000000		/* 64-bit code */
	.quad	0x00cf93000000ffff		/* data */
	.quad	0x00cf9b000000ffff		/* 32-bit code */
	.quad	0x00009b000000ffff		/* 16-bit code, base 0, 64 KiB */
	.quad	0x000093000000ffff		/* 16-bit data */
	.quad	0x00cff3000000ffff		/* user data */
	.quad	0x0020fb0000000000		/* user 64-bit code */
boot_gdt_end:
boot_gdtr:
	.word	boot_gdt_end - boot_gdt - 1
	.long	boot_gdt, 0

	.bss
	.balign	4096
	.globl	page_root
page_root:
	.skip	4096
page_pdpt:
	.skip	4096
page_dirs:
	.skip	4 * 4096

	.section .note.GNU-stack, "", @progbits
