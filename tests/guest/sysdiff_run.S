/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest sysdiff: into a random state by IRETQ, out of it by whatever vector comes.
 */
	.text
	.balign	16
	.globl	sys_stubs, sys_run, sys_case
sys_stubs:
	.set	n, 0
	.rept	256
	.balign	16
	.if	(n == 8) || (n >= 10 && n <= 14) || (n == 17) || (n == 21) || (n == 29) || (n == 30)
	.else
	push	$0
	.endif
	push	$n
	jmp	sys_common
	.set	n, n + 1
	.endr

sys_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%ds, %eax
	push	%rax
	mov	%es, %eax
	push	%rax
	mov	%fs, %eax
	push	%rax
	mov	%gs, %eax
	push	%rax
	cld
	mov	%rsp, %rsi
	mov	$sys_case, %edi
	mov	$26, %ecx
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	rep movsq
	mov	%eax, %ss
	mov	sys_stack, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	popfq
	ret

/* void sys_run(uint64_t *state): GS FS ES DS r15 ... rax, then a frame for IRETQ. */
sys_run:
	pushfq
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, sys_stack
	mov	%rdi, %rsp
	pop	%rax
	mov	%eax, %gs
	pop	%rax
	mov	%eax, %fs
	pop	%rax
	mov	%eax, %es
	pop	%rax
	mov	%eax, %ds
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq

	.bss
	.balign	16
sys_case:
	.skip	26 * 8
sys_stack:
	.skip	8
	.section .note.GNU-stack, "", @progbits
