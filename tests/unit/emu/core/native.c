/* SPDX-License-Identifier: Apache-2.0 */
#include "native.h"

#if defined(__x86_64__)
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

/* Register file of the run, and where the code is; the assembly addresses them by name. */
__attribute__((used)) uint64_t native_file[17];
__attribute__((used)) void *native_code;
void native_enter(void);

__asm__(".text\n"
	".globl native_enter\n"
	".type native_enter, @function\n"
	"native_enter:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	"
	"push %r15\n"
	"	pushq native_file+128(%rip)\n"
	"	popfq\n"
	"	mov native_file+0(%rip), %rax\n"
	"	mov native_file+8(%rip), %rcx\n"
	"	mov native_file+16(%rip), %rdx\n"
	"	mov native_file+24(%rip), %rbx\n"
	"	mov native_file+40(%rip), %rbp\n"
	"	mov native_file+48(%rip), %rsi\n"
	"	mov native_file+56(%rip), %rdi\n"
	"	mov native_file+64(%rip), %r8\n"
	"	mov native_file+72(%rip), %r9\n"
	"	mov native_file+80(%rip), %r10\n"
	"	mov native_file+88(%rip), %r11\n"
	"	mov native_file+96(%rip), %r12\n"
	"	mov native_file+104(%rip), %r13\n"
	"	mov native_file+112(%rip), %r14\n"
	"	mov native_file+120(%rip), %r15\n"
	"	call *native_code(%rip)\n"
	"	mov %rax, native_file+0(%rip)\n"
	"	mov %rcx, native_file+8(%rip)\n"
	"	mov %rdx, native_file+16(%rip)\n"
	"	mov %rbx, native_file+24(%rip)\n"
	"	mov %rbp, native_file+40(%rip)\n"
	"	mov %rsi, native_file+48(%rip)\n"
	"	mov %rdi, native_file+56(%rip)\n"
	"	mov %r8, native_file+64(%rip)\n"
	"	mov %r9, native_file+72(%rip)\n"
	"	mov %r10, native_file+80(%rip)\n"
	"	mov %r11, native_file+88(%rip)\n"
	"	mov %r12, native_file+96(%rip)\n"
	"	mov %r13, native_file+104(%rip)\n"
	"	mov %r14, native_file+112(%rip)\n"
	"	mov %r15, native_file+120(%rip)\n"
	"	pushfq\n"
	"	popq native_file+128(%rip)\n"
	"	cld\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	"
	"pop %rbx\n"
	"	ret\n"
	".size native_enter, .-native_enter\n");

static sigjmp_buf escape;

static void on_signal(int sig)
{
	siglongjmp(escape, sig);
}

int native_init(void)
{
	static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS, SIGTRAP};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};

	native_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (native_code == MAP_FAILED)
		return -1;
	for (unsigned n = 0; n < sizeof(signals) / sizeof(signals[0]); n++)
		sigaction(signals[n], &sa, NULL);
	return 0;
}

int native_run(struct native_regs *r, const void *code, size_t n)
{
	int sig;

	memcpy(native_code, code, n);
	((uint8_t *)native_code)[n] = 0xc3;
	memcpy(native_file, r, sizeof(native_file));
	native_file[16] = (r->rflags & 0xcd5) | 0x202;
	sig = sigsetjmp(escape, 1);
	if (sig) {
		__asm__ volatile("cld");
		return sig;
	}
	native_enter();
	memcpy(r, native_file, sizeof(native_file));
	return 0;
}
#else
int native_init(void)
{
	return -1;
}

int native_run(struct native_regs *r, const void *code, size_t n)
{
	return -1;
}
#endif
