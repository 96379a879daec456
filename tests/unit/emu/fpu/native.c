/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's side of the differential tests.
 */
#include "tests/unit/emu/fpu/native.h"

#ifdef __x86_64__

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { CODE_BYTES = 65536 };
static uint8_t *code_page;
static size_t code_used;
static struct native *running;
static uint64_t resume_at;

/* void native_enter(struct native *n, const void *code); R12 and R13 are free for us because no
 * instruction under test uses them. */
__asm__(".text\n"
	".globl native_enter\n"
	"native_enter:\n"
	"	push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"	sub $24, %rsp\n"
	"	stmxcsr (%rsp)\n fnstcw 8(%rsp)\n"
	"	mov %rdi, %r12\n mov %rsi, %r13\n"
	"	fxrstor64 (%r12)\n"
	"	pushq 1088(%r12)\n popfq\n"
	"	mov 1024(%r12), %rax\n mov 1032(%r12), %rcx\n mov 1040(%r12), %rdx\n"
	"	mov 1048(%r12), %rbx\n mov 1072(%r12), %rsi\n mov 1080(%r12), %rdi\n"
	"	call *%r13\n"
	"	mov %rax, 1024(%r12)\n mov %rcx, 1032(%r12)\n mov %rdx, 1040(%r12)\n"
	"	mov %rbx, 1048(%r12)\n mov %rsi, 1072(%r12)\n mov %rdi, 1080(%r12)\n"
	"	pushfq\n popq 1088(%r12)\n"
	"	fxsave64 512(%r12)\n"
	"	fninit\n fldcw 8(%rsp)\n ldmxcsr (%rsp)\n cld\n"
	"	add $24, %rsp\n"
	"	pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
	"	ret\n"
	".section .note.GNU-stack,\"\",@progbits\n"
	".text\n");
void native_enter(struct native *n, const void *code);
_Static_assert(offsetof(struct native, out) == 512, "native_enter");
_Static_assert(offsetof(struct native, gpr) == 1024, "native_enter");
_Static_assert(offsetof(struct native, eflags) == 1088, "native_enter");

/* Leaves the instruction undone: on to the RET behind it. */
static void on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (!running)
		_Exit(99);
	running->trap = sig;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)resume_at;
}

int native_open(const char **why)
{
	struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	void *p = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		*why = "no page that is writable and executable";
		return -1;
	}
	code_page = p;
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	return 0;
}

void native_reset(void)
{
	code_used = 0;
}

/* Two bytes before the code say how long it is. */
const void *native_code(const uint8_t *bytes, unsigned n)
{
	uint8_t *p = code_page + code_used;

	if (code_used + 32 > CODE_BYTES || n > 24)
		return NULL;
	code_used += 32;
	p[0] = (uint8_t)n;
	memcpy(p + 1, bytes, n);
	p[1 + n] = 0xc3;
	return p + 1;
}

void native_run(struct native *n, const void *code)
{
	const uint8_t *p = code;

	n->trap = 0;
	n->eflags = (n->eflags & 0x8d5) | 0x202;
	resume_at = (uint64_t)p + p[-1];
	running = n;
	native_enter(n, code);
	running = NULL;
}

#else

int native_open(const char **why)
{
	*why = "the host is not x86-64, so there is nothing to compare with";
	return -1;
}

void native_reset(void)
{
}

const void *native_code(const uint8_t *bytes, unsigned n)
{
	return NULL;
}

void native_run(struct native *n, const void *code)
{
}

#endif
