/* SPDX-License-Identifier: Apache-2.0
 *
 * The code cache: a memfd mapped twice, once writable and once executable, never both. Bounded;
 * when it is full everything goes, together with the decoded blocks.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

bool jit_cache_init(struct emu_jit *j, size_t bytes)
{
	void *rw, *rx;
	int fd = memfd_create("translations", MFD_CLOEXEC | MFD_EXEC);

	/* Kernels before 6.3 do not know MFD_EXEC. */
	if (fd < 0)
		fd = memfd_create("translations", MFD_CLOEXEC);
	if (fd < 0)
		return false;
	if (ftruncate(fd, (off_t)bytes)) {
		close(fd);
		return false;
	}
	rw = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rx = mmap(NULL, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	if (rw == MAP_FAILED || rx == MAP_FAILED) {
		if (rw != MAP_FAILED)
			munmap(rw, bytes);
		if (rx != MAP_FAILED)
			munmap(rx, bytes);
		return false;
	}
	j->rw = rw;
	j->rx = rx;
	j->size = (uint32_t)bytes;
	return true;
}

void jit_cache_fini(struct emu_jit *j)
{
	munmap(j->rw, j->size);
	munmap(j->rx, j->size);
}

/* The branch's stub has left its place in jit_site and itself in link_from; emu_block_get() has set
 * its link. Only if that is b the branch leads here: an interrupt may have come between. */
void jit_link(struct emu_cpu *cpu, struct emu_block *b)
{
	struct emu_jit *j = cpu->jit;
	struct jit_site s;
	uint32_t at, to;
	int32_t d;

	memcpy(&s, j->rw + cpu->jit_site, sizeof(s));
	cpu->jit_site = 0;
	if (cpu->jit_from->link != b)
		return;
	/* Forward inside one page nothing needs to be checked: the generation was compared when
	 * the page was entered, and a loop must jump backward somewhere. */
	to = b->insn[0].off > s.from_off && s.gen == b->gen ? b->body : b->checked;
	/* Behind STI there is no place for an interrupt. */
	if (cpu->jit_from->op == OP_sti && to == b->checked)
		return;
	/* The check is where interrupts are taken, which show the flags as they are. */
	at = b->live_in || to == b->checked ? s.with_save : s.direct;
	d = (int32_t)(to - (at + 4));
	memcpy(j->rw + at, &d, 4);
}

#endif
