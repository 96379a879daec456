/* SPDX-License-Identifier: Apache-2.0
 *
 * 256 interrupt stubs, each VECTOR_STUB bytes: error code (0 where the processor pushes none; SDM
 * vol. 3A table 6-1), vector, registers, then interrupt(frame).
 */
#include "guest.h"
#include "stubs.inc"

	.text
	.balign	16
	.globl	vector_stubs
vector_stubs:
	VECTOR_STUBS common

common:
	PUSH_REGISTERS
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	interrupt
	mov	%rbp, %rsp
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
	add	$16, %rsp
	iretq

/* void catch_call(void (*fn)(void *), void *arg, uint64_t *catch_rsp): interrupt() comes back to
 * catch_return with RSP as it is at the label, whatever fn has done to the other registers. */
	.globl	catch_call, catch_return
catch_call:
	pushfq
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	(%rdx)				/* the catch around this one */
	push	%rdx
	mov	%rsp, (%rdx)
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
catch_return:
	pop	%rdx
	pop	(%rdx)
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	popfq
	ret

/* void user_enter(struct user_entry *e): rip, rsp, rflags, argument. Does not return. */
	.globl	user_enter, user_exit
user_enter:
	push	$SEL_UDATA
	push	8(%rdi)
	push	16(%rdi)
	push	$SEL_UCODE
	push	(%rdi)
	mov	24(%rdi), %rdi
	iretq
user_exit:
	int	$VECTOR_USER_EXIT
	ud2

	.section .note.GNU-stack, "", @progbits
