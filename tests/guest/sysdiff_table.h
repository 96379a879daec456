/* SPDX-License-Identifier: Apache-2.0
 *
 * The instructions of sysdiff and sysdiff_legacy. tests/unit/emu/core/test_forms.c counts them,
 * too.
 */
#ifndef BULKHEAD_TESTS_GUEST_SYSDIFF_TABLE_H
#define BULKHEAD_TESTS_GUEST_SYSDIFF_TABLE_H

#include <stdint.h>

/* Modes in which an instruction is run, and what else there is to it. ONLY: in sysdiff_legacy. */
enum {
	M64 = 1,
	M32 = 2,
	M16 = 4,
	LEGACY = M32 | M16,
	ANY = 7,
	LOCKS = 8,
	NEAR = 16,
	NO_W = 32,
	ONLY = 64,
	FARS = 128
};

/* Opcode bytes, whether a ModRM byte follows with which reg field (8: any; -1: none), bytes of
 * immediate (FAR: a far pointer), modes. */
enum { FAR = 255 };
struct form {
	const char *name;
	uint8_t n, op[3];
	int8_t reg;
	uint8_t imm;
	uint16_t modes;
};

static const struct form sys_forms[] = {
	{"mov sreg, rm", 1, {0x8e}, 8, 0, ANY},
	{"mov rm, sreg", 1, {0x8c}, 8, 0, ANY},
	{"lar", 2, {0x0f, 0x02}, 8, 0, ANY},
	{"lsl", 2, {0x0f, 0x03}, 8, 0, ANY},
	{"sldt", 2, {0x0f, 0x00}, 0, 0, ANY},
	{"str", 2, {0x0f, 0x00}, 1, 0, ANY},
	{"lldt", 2, {0x0f, 0x00}, 2, 0, ANY},
	{"verr", 2, {0x0f, 0x00}, 4, 0, ANY},
	{"verw", 2, {0x0f, 0x00}, 5, 0, ANY},
	{"sgdt", 2, {0x0f, 0x01}, 0, 0, ANY},
	{"sidt", 2, {0x0f, 0x01}, 1, 0, ANY},
	{"smsw", 2, {0x0f, 0x01}, 4, 0, ANY},
	{"lmsw", 2, {0x0f, 0x01}, 6, 0, ANY},
	{"clts", 2, {0x0f, 0x06}, -1, 0, ANY},
	{"lss", 2, {0x0f, 0xb2}, 8, 0, ANY | NO_W},
	{"lfs", 2, {0x0f, 0xb4}, 8, 0, ANY | NO_W},
	{"lgs", 2, {0x0f, 0xb5}, 8, 0, ANY | NO_W},
	{"les", 1, {0xc4}, 8, 0, LEGACY},
	{"lds", 1, {0xc5}, 8, 0, LEGACY},
	{"push fs", 2, {0x0f, 0xa0}, -1, 0, ANY},
	{"pop fs", 2, {0x0f, 0xa1}, -1, 0, ANY},
	{"push gs", 2, {0x0f, 0xa8}, -1, 0, ANY},
	{"pop gs", 2, {0x0f, 0xa9}, -1, 0, ANY},
	{"push cs", 1, {0x0e}, -1, 0, ANY},
	{"pop es", 1, {0x07}, -1, 0, ANY},
	{"pop ss", 1, {0x17}, -1, 0, ANY},
	{"pop ds", 1, {0x1f}, -1, 0, ANY},
	{"call far m", 1, {0xff}, 3, 0, ANY | FARS | NO_W},
	{"jmp far m", 1, {0xff}, 5, 0, ANY | FARS | NO_W},
	{"retf", 1, {0xcb}, -1, 0, ANY | FARS},
	{"retf n", 1, {0xca}, -1, 2, ANY | FARS},
	{"iret", 1, {0xcf}, -1, 0, ANY},
	{"int n", 1, {0xcd}, -1, 1, ANY},
	{"int3", 1, {0xcc}, -1, 0, ANY},
	{"into", 1, {0xce}, -1, 0, ANY},
	{"bound", 1, {0x62}, 8, 0, LEGACY},
	{"arpl", 1, {0x63}, 8, 0, LEGACY},
	{"cli", 1, {0xfa}, -1, 0, ANY},
	{"sti", 1, {0xfb}, -1, 0, ANY},
	{"pushf", 1, {0x9c}, -1, 0, ANY},
	{"popf", 1, {0x9d}, -1, 0, ANY},
	{"lahf", 1, {0x9f}, -1, 0, ANY},
	{"sahf", 1, {0x9e}, -1, 0, ANY},
	{"out 80h", 2, {0xe6, 0x80}, -1, 0, ANY},
	{"mov r, cr", 2, {0x0f, 0x20}, 8, 0, ANY},
	{"mov r, dr", 2, {0x0f, 0x21}, 8, 0, ANY},
	{"swapgs", 3, {0x0f, 0x01, 0xf8}, -1, 0, ANY},
	{"syscall", 2, {0x0f, 0x05}, -1, 0, M64},
	{"sysret", 2, {0x0f, 0x07}, -1, 0, M64},
	{"rdmsr", 2, {0x0f, 0x32}, -1, 0, ANY},
	{"wrmsr", 2, {0x0f, 0x30}, -1, 0, ANY},
	{"invlpg", 2, {0x0f, 0x01}, 7, 0, ANY},
	{"enter", 1, {0xc8}, -1, 3, ANY},
	{"leave", 1, {0xc9}, -1, 0, ANY},
	{"pusha", 1, {0x60}, -1, 0, ANY},
	{"popa", 1, {0x61}, -1, 0, ANY},
	{"push rm", 1, {0xff}, 6, 0, ANY},
	{"pop rm", 1, {0x8f}, 0, 0, ANY},
	{"call rm", 1, {0xff}, 2, 0, ANY | NEAR},
	{"jmp rm", 1, {0xff}, 4, 0, ANY | NEAR},
	{"ret n", 1, {0xc2}, -1, 2, ANY | NEAR},
	{"mov r, rm", 1, {0x8b}, 8, 0, ANY},
	{"mov rm, r", 1, {0x89}, 8, 0, ANY},
	{"cmpxchg8b", 2, {0x0f, 0xc7}, 1, 0, ANY | LOCKS},
	{"movs", 1, {0xa5}, -1, 0, ANY},
	{"stos", 1, {0xab}, -1, 0, ANY},
	{"cmps", 1, {0xa7}, -1, 0, M64 | M32},
	{"xlat", 1, {0xd7}, -1, 0, ANY},
	{"ud2", 2, {0x0f, 0x0b}, -1, 0, ANY},
	{"wbinvd", 2, {0x0f, 0x09}, -1, 0, ANY},
	{"xchg rm, r", 1, {0x87}, 8, 0, ANY},
	{"add rm, r", 1, {0x01}, 8, 0, ANY | LOCKS},
	{"call far", 1, {0x9a}, -1, FAR, LEGACY | ONLY | FARS},
	{"jmp far", 1, {0xea}, -1, FAR, LEGACY | ONLY | FARS},
	{"daa", 1, {0x27}, -1, 0, LEGACY | ONLY},
	{"das", 1, {0x2f}, -1, 0, LEGACY | ONLY},
	{"aaa", 1, {0x37}, -1, 0, LEGACY | ONLY},
	{"aas", 1, {0x3f}, -1, 0, LEGACY | ONLY},
	{"aam", 1, {0xd4}, -1, 1, LEGACY | ONLY},
	{"aad", 1, {0xd5}, -1, 1, LEGACY | ONLY},
	{"inc r", 1, {0x43}, -1, 0, LEGACY | ONLY},
	{"dec r", 1, {0x4b}, -1, 0, LEGACY | ONLY},
	{"push r", 1, {0x54}, -1, 0, LEGACY | ONLY},
	{"pop r", 1, {0x5b}, -1, 0, LEGACY | ONLY},
	{"push ss", 1, {0x16}, -1, 0, LEGACY | ONLY},
	{"in 80h", 2, {0xe5, 0x80}, -1, 0, LEGACY | ONLY},
	{"out dx", 1, {0xee}, -1, 0, LEGACY | ONLY},
	{"loop", 1, {0xe2}, -1, 1, LEGACY | ONLY | NEAR},
	{"jcxz", 1, {0xe3}, -1, 1, LEGACY | ONLY | NEAR},
	{"lods", 1, {0xad}, -1, 0, LEGACY | ONLY},
	{"scas", 1, {0xaf}, -1, 0, LEGACY | ONLY},
};
enum { SYS_FORMS = sizeof sys_forms / sizeof sys_forms[0] };

#endif
