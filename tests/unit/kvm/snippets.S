/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of guest code for the KVM back end's suite, each loaded at 0x1000. They talk through ports.
 */
	.macro	snippet name
	.globl	snippet_\name, snippet_\name\()_end
snippet_\name:
	.endm
	.macro	done name
	mov	$0, %al
	out	%al, $0xff
snippet_\name\()_end:
	.endm

	.section .rodata

/* ---- real mode ---- */
	.code16
snippet real_ports
	mov	$0x1234, %ax
	out	%ax, $0x10
	in	$0x11, %al			/* the platform answers 0x5a */
	inc	%al
	out	%al, $0x12
	mov	$0x345, %dx
	out	%eax, %dx
done real_ports

snippet real_string
	mov	$0x1000 + text - snippet_real_string, %si
	mov	$0x20, %dx
	mov	$5, %cx
	cld
	rep	outsb
	mov	$0x2000, %di
	mov	$0x21, %dx
	mov	$3, %cx
	rep	insb
	mov	0x2000, %al
	out	%al, $0x22
	mov	0x2002, %al
	out	%al, $0x22
	mov	$0, %al
	out	%al, $0xff
text:	.ascii	"hello"
	.globl	snippet_real_string_end
snippet_real_string_end:

/* Reads a port; what comes after it must not run before the reader is asked to stop. */
snippet real_read
	in	$0x11, %al
	mov	%al, %bl
done real_read

snippet real_loop
1:	jmp	1b
done real_loop

/* With interrupts on, until the handler of vector 0x20 has said so. */
snippet real_interrupt
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$0x8000, %sp
	movw	$0x1000 + 2f - snippet_real_interrupt, 0x20 * 4
	movw	%ax, 0x20 * 4 + 2
	out	%al, $0x30			/* ready */
	sti
1:	jmp	1b
2:	mov	$0x31, %al
	out	%al, $0x31
	mov	$0, %al
	out	%al, $0xff
	.globl	snippet_real_interrupt_end
snippet_real_interrupt_end:

/* ---- flat 32-bit protected mode ---- */
	.code32
snippet flat_mmio
	mov	$0xd0000000, %ebx
	movb	$0x11, (%ebx)
	movw	$0x2222, 2(%ebx)
	movl	$0x33333333, 4(%ebx)
	movl	8(%ebx), %eax			/* the platform answers 0xcafe0008 */
	out	%eax, $0x10
	movzbl	9(%ebx), %eax
	out	%eax, $0x10
done flat_mmio

/* MSRs that KVM does not have; CPUID. */
snippet flat_msr
	mov	$0x40000123, %ecx
	rdmsr
	out	%eax, $0x10
	mov	%edx, %eax
	out	%eax, $0x10
	mov	$0x40000124, %ecx
	mov	$0x89abcdef, %eax
	mov	$0x01234567, %edx
	wrmsr
done flat_msr

/* No interrupt table: an exception is a triple fault. */
snippet flat_msr_fault
	mov	$0x40000666, %ecx
	rdmsr
done flat_msr_fault

snippet flat_cpuid
	mov	$0x40000000, %eax
	cpuid
	mov	%ebx, %eax
	out	%eax, $0x10
	mov	$0x80000002, %eax
	cpuid
	out	%eax, $0x10
done flat_cpuid

/* ---- 64-bit mode, identity-mapped by 1 GiB or 2 MiB pages ---- */
	.code64
snippet long_high
	mov	$0x100000000, %rbx		/* RAM above the hole */
	movabs	$0x1122334455667788, %rax
	mov	%rax, 0x1000(%rbx)
	xor	%eax, %eax
	mov	0x1004(%rbx), %eax
	out	%eax, $0x10
done long_high

snippet long_registers
	lea	1(%rax), %r8
	lea	(%rbx, %rcx), %r9
	mov	%rsp, %r10
done long_registers

	.section .note.GNU-stack, "", @progbits
