/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest guest (Multiboot 1, 32-bit): says hello on COM1, reads a device back, ends with the
 * exit device. If this does not run, nothing will.
 */
	.set	COM1, 0x3f8
	.set	EXIT, 0xf4
	.set	MAGIC, 0x1badb002

	.section .multiboot, "a"
	.balign	4
	.long	MAGIC, 0, -MAGIC

	.text
	.globl	_start
_start:
	cmp	$0x2badb002, %eax
	jne	fail
	mov	$stack_end, %esp

	/* The scratch register of the UART keeps what is written: a write that needs no answer,
	 * then a read that does. */
	mov	$COM1 + 7, %dx
	mov	$0x5a, %al
	out	%al, %dx
	in	%dx, %al
	cmp	$0x5a, %al
	jne	fail

	mov	$text, %esi
next:	lodsb
	test	%al, %al
	jz	done
	call	put
	jmp	next
done:	xor	%eax, %eax
	jmp	quit

put:	mov	%al, %bl
	mov	$COM1 + 5, %dx
1:	in	%dx, %al
	test	$0x20, %al
	jz	1b
	mov	$COM1, %dx
	mov	%bl, %al
	out	%al, %dx
	ret

fail:	mov	$1, %eax
quit:	out	%eax, $EXIT
1:	hlt
	jmp	1b

	.section .rodata
text:	.asciz	"hello from the guest\r\n"

	.bss
	.balign	16
	.skip	4096
stack_end:

	.section .note.GNU-stack, "", @progbits
