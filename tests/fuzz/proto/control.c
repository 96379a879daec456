/* SPDX-License-Identifier: Apache-2.0
 *
 * control_check() on any bytes. It must not look beyond them, must give a reason when it refuses,
 * and what it accepts must keep its promises, which are checked here once more, by hand.
 *
 * Input: a byte for the form, a byte for the number of descriptors, and then
 *   form even  the message as it is;
 *   form odd   a type (2 bytes), and changes to a zeroed message of that type: offset (2 bytes),
 *              count (1 byte), the bytes.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/control.h"
#include "tests/fuzz/fuzz.h"

static uint64_t accepted, refused;

/* A message of n bytes, aligned to 8 and as close before an inaccessible page as that allows. */
static uint8_t *place(size_t n)
{
	static uint8_t *end;
	if (!end) {
		uint8_t *p = mmap(NULL, MSG_MAX_BYTES + 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		fuzz_require(p != MAP_FAILED);
		end = p + MSG_MAX_BYTES;
		fuzz_require(mprotect(end, 4096, PROT_NONE) == 0);
	}
	return end - ((n + 7) & ~7ul);
}

static size_t as_it_is(struct fuzz_input *in, uint8_t **m)
{
	size_t n = in->size < MSG_MAX_BYTES ? in->size : MSG_MAX_BYTES;
	*m = place(n);
	memcpy(*m, in->data, n);
	return n;
}

static size_t by_changes(struct fuzz_input *in, uint8_t **m)
{
	struct msg_header h;
	control_header(&h, (uint16_t)fuzz_take(in, 2), 1);
	size_t n = h.bytes ? h.bytes : sizeof(h);
	*m = place(n);
	memset(*m, 0, n);
	memcpy(*m, &h, sizeof(h));
	while (in->size) {
		size_t at = (size_t)fuzz_take(in, 2) % n, count = (size_t)fuzz_take(in, 1);
		for (; count && in->size; count--, at++)
			(*m)[at % n] = (uint8_t)fuzz_take(in, 1);
	}
	return n;
}

static void check_string(const char *s, size_t size)
{
	size_t len = strnlen(s, size);
	fuzz_require(len < size);
	for (size_t i = 0; i < len; i++)
		fuzz_require((uint8_t)s[i] >= ' ' && s[i] != 0x7f);
}

static void check_config(const struct vm_config *c)
{
	fuzz_require(c->id && c->vcpus >= 1 && c->vcpus <= CONTROL_MAX_VCPUS);
	fuzz_require(c->ram_bytes >= CONTROL_MIN_RAM && c->ram_bytes <= CONTROL_MAX_RAM);
	fuzz_require(c->ram_bytes % (1 << 20) == 0);
	fuzz_require(c->modules <= CONTROL_MAX_MODULES);
	fuzz_require(c->job ? !c->serials : c->serials >= 1 && c->serials <= CONTROL_MAX_SERIAL);
	check_string(c->name, sizeof(c->name));
	check_string(c->cmdline, sizeof(c->cmdline));
	fuzz_require(c->name[0] && c->name[0] != '.' && !strchr(c->name, '/'));
}

static void check_accepted(const uint8_t *m, size_t n, size_t nfds)
{
	struct msg_header h;
	memcpy(&h, m, sizeof(h));
	fuzz_require(h.version == MSG_VERSION && h.bytes == n);
	const struct msg_start_worker *start = (const void *)m; /* START_PARTITION is the same */
	switch (h.type) {
	case MSG_VM_CREATE:
		check_config(&((const struct msg_vm_create *)m)->config);
		fuzz_require(((const struct msg_vm_create *)m)->config.job ||
			     nfds >= 1 + ((const struct msg_vm_create *)m)->config.modules);
		break;
	case MSG_START_PARTITION:
	case MSG_START_WORKER:
		check_config(&start->config);
		fuzz_require(nfds >= 6 + 3 * start->config.vcpus && nfds <= MSG_MAX_FDS);
		break;
	case MSG_ERROR:
	case MSG_FAILED:
		fuzz_require(((const struct msg_error *)m)->error > 0);
		check_string(((const struct msg_error *)m)->text, CONTROL_TEXT_BYTES);
		break;
	case MSG_EVENT_GUEST:
		check_string(((const struct msg_event_guest *)m)->text, CONTROL_TEXT_BYTES);
		break;
	case MSG_EVENT_CRASH:
		fuzz_require(memchr(((const struct msg_event_crash *)m)->text, 0, CONTROL_CRASH_BYTES));
		break;
	case MSG_VM_GONE:
		fuzz_require(((const struct msg_vm_gone *)m)->role < ROLE_COUNT);
		break;
	default:
		break;
	}
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char why[80] = "";
	uint8_t *m;
	uint64_t form = fuzz_take(&in, 1);
	size_t nfds = (size_t)fuzz_take(&in, 1);
	size_t n = form & 1 ? by_changes(&in, &m) : as_it_is(&in, &m);
	int rc = control_check(m, n, nfds, why, sizeof(why));
	if (rc < 0) {
		fuzz_require(rc == -EPROTO && why[0] && strnlen(why, sizeof(why)) < sizeof(why));
		refused++;
	} else {
		fuzz_require(rc == 0);
		check_accepted(m, n, nfds);
		accepted++;
	}
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of control: %llu accepted, %llu refused\n", (unsigned long long)accepted,
	       (unsigned long long)refused);
}
