/* SPDX-License-Identifier: Apache-2.0
 *
 * Says "start" once and then "tick" for ever (Multiboot 1, 32-bit): shows whether it runs.
 */
	.set	COM1, 0x3f8
	.set	MAGIC, 0x1badb002

	.section .multiboot, "a"
	.balign	4
	.long	MAGIC, 0, -MAGIC

	.text
	.globl	_start
_start:	mov	$stack_end, %esp
	mov	$start, %esi
	call	say
1:	mov	$20000, %ecx
2:	loop	2b
	mov	$tick, %esi
	call	say
	jmp	1b

say:	lodsb
	test	%al, %al
	jz	1f
	mov	%al, %bl
	mov	$COM1 + 5, %dx
2:	in	%dx, %al
	test	$0x20, %al
	jz	2b
	mov	$COM1, %dx
	mov	%bl, %al
	out	%al, %dx
	jmp	say
1:	ret

	.section .rodata
start:	.asciz	"start\r\n"
tick:	.asciz	"tick\r\n"

	.bss
	.balign	16
	.skip	4096
stack_end:

	.section .note.GNU-stack, "", @progbits
