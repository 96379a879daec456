/* SPDX-License-Identifier: Apache-2.0
 *
 * Boot sector for a machine that loads no multiboot kernels itself (Bochs): reads a flat image of
 * up to 192 KiB from sector 1 on to 1 MiB, and enters it as multiboot 1 says (specification 0.6.96,
 * 3.2), with a command line and nothing else. The entry point is patched in at offset 500, the
 * command line at 400.
 */
	.code16
	.globl	_start
_start:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7c00, %sp
	sti
	mov	%dl, drive
	mov	$6, %cx				/* six times 64 sectors */
1:	push	%cx
	mov	drive, %dl
	mov	$packet, %si
	mov	$0x42, %ah
	int	$0x13
	jc	fail
	addw	$0x800, packet_segment
	addl	$64, packet_sector
	pop	%cx
	loop	1b
	mov	$0x3fb, %dx			/* COM1: 115200 baud, 8 bits */
	mov	$0x83, %al
	out	%al, %dx
	mov	$0x3f8, %dx
	mov	$1, %ax
	out	%ax, %dx
	mov	$0x3fb, %dx
	mov	$3, %al
	out	%al, %dx
	in	$0x92, %al
	or	$2, %al				/* A20 */
	out	%al, $0x92
	cli
	lgdtl	gdtr
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$8, $protected
fail:
	hlt
	jmp	fail

	.code32
protected:
	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	cld
	mov	$0x10000, %esi
	mov	$0x100000, %edi
	mov	$0x30000 / 4, %ecx
	rep movsl
	xor	%eax, %eax			/* what follows is zero: the kernel's .bss */
	mov	$0x2d0000 / 4, %ecx
	rep stosl
	movl	$4, information			/* there is a command line */
	movl	$0x7c00 + 400, information + 16
	mov	$0x2badb002, %eax
	mov	$information, %ebx
	jmp	*0x7c00 + 500

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdtr:
	.word	gdtr - gdt - 1
	.long	gdt
packet:
	.byte	16, 0
	.word	64
	.word	0
packet_segment:
	.word	0x1000
packet_sector:
	.long	1, 0
drive:
	.byte	0
	.org	510
	.word	0xaa55
	.set	information, 0x600
	.section .note.GNU-stack, "", @progbits
