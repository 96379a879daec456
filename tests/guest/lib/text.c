/* SPDX-License-Identifier: Apache-2.0
 *
 * The console, the command line, and the functions that gcc calls by itself.
 */
#include "guest.h"

static char options[512];
static volatile char console_lock;

void *memcpy(void *d, const void *s, size_t n)
{
	void *to = d;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(s), "+c"(n) : : "memory");
	return d;
}

void *memset(void *d, int c, size_t n)
{
	void *to = d;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
	return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

/* ---- output ---- */

static void put(char c)
{
	while (!(inb(COM1 + 5) & 0x20)) /* LSR: transmitter holding register empty */
		pause();
	outb(COM1, (uint8_t)c);
}

static void put_string(const char *s)
{
	for (; *s; s++)
		put(*s);
}

static void put_number(uint64_t v, unsigned base, unsigned width, char fill)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	for (; width > n; width--)
		put(fill);
	while (n)
		put(digits[--n]);
}

static void format(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		unsigned width = 0;
		bool is_long = false;
		char fill = ' ';
		uint64_t v;

		if (*fmt != '%') {
			if (*fmt == '\n')
				put('\r');
			put(*fmt);
			continue;
		}
		if (*++fmt == '0')
			fill = *fmt++;
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned)(*fmt - '0');
		for (; *fmt == 'l'; fmt++)
			is_long = true;
		switch (*fmt) {
		case 's':
			put_string(va_arg(ap, const char *));
			break;
		case 'c':
			put((char)va_arg(ap, int));
			break;
		case 'd':
			v = is_long ? va_arg(ap, uint64_t) : (uint64_t)va_arg(ap, int);
			if ((int64_t)v < 0) {
				put('-');
				v = -v;
			}
			put_number(v, 10, width, fill);
			break;
		case 'u':
		case 'x':
			v = is_long ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
			put_number(v, *fmt == 'x' ? 16 : 10, width, fill);
			break;
		default:
			put(*fmt);
			break;
		}
	}
}

void vprint(const char *fmt, va_list ap)
{
	while (__atomic_test_and_set(&console_lock, __ATOMIC_ACQUIRE))
		pause();
	format(fmt, ap);
	__atomic_clear(&console_lock, __ATOMIC_RELEASE);
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

/* ---- command line ---- */

void text_init(const char *cmdline)
{
	for (size_t i = 0; cmdline && cmdline[i] && i < sizeof options - 1; i++)
		options[i] = cmdline[i];
}

/* The text after "name=", or NULL. */
static const char *find_option(const char *name)
{
	for (const char *p = options; *p;) {
		const char *n = name;

		while (*n && *p == *n) {
			p++;
			n++;
		}
		if (!*n && *p == '=')
			return p + 1;
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
	}
	return NULL;
}

uint64_t option(const char *name, uint64_t otherwise)
{
	const char *p = find_option(name);
	unsigned base = 10;
	uint64_t v = 0;

	if (!p)
		return otherwise;
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	for (; *p; p++) {
		unsigned digit = *p >= 'a' ? (unsigned)(*p - 'a') + 10 : (unsigned)(*p - '0');

		if (digit >= base)
			break;
		v = v * base + digit;
	}
	return v;
}
