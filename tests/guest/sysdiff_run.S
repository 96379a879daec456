/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest sysdiff: into a random state by IRETQ, out of it by whatever vector comes.
 */
#include "stubs.inc"

	.text
	.balign	16
	.globl	sys_stubs, sys_run, sys_case
sys_stubs:
	VECTOR_STUBS sys_common

sys_common:
	PUSH_REGISTERS
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
