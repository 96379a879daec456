/* SPDX-License-Identifier: Apache-2.0
 *
 * Ends in a triple fault (Multiboot 1, 32-bit): an exception with no interrupt table.
 */
	.set	MAGIC, 0x1badb002

	.section .multiboot, "a"
	.balign	4
	.long	MAGIC, 0, -MAGIC

	.text
	.globl	_start
_start:	lidt	nothing
	ud2
1:	jmp	1b

	.section .rodata
nothing:
	.word	0
	.long	0

	.section .note.GNU-stack, "", @progbits
