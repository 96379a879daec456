/* SPDX-License-Identifier: Apache-2.0
 *
 * Machine definitions. What is accepted must keep the limits and survive being written and read
 * again; what is not must come with words and a place within the text.
 */
#include <string.h>
#include "mgmtd/vmc.h"
#include "tests/fuzz/fuzz.h"

static unsigned long accepted;

static void check_error(const struct vmc_error *err, const uint8_t *data, size_t size)
{
	unsigned lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	fuzz_require(err->what[0] && err->hint[0]);
	fuzz_require(memchr(err->what, 0, sizeof(err->what)));
	fuzz_require(err->line <= lines);
}

static void check_accepted(const struct vmc *v)
{
	char why[CONTROL_TEXT_BYTES];

	fuzz_require(!vmc_check_name(v->name, why, sizeof(why)));
	fuzz_require(!vmc_check_memory(v->ram_bytes, why, sizeof(why)));
	fuzz_require(v->vcpus >= 1 && v->vcpus <= CONTROL_MAX_VCPUS);
	fuzz_require(v->nserial >= 1 && v->nserial <= CONTROL_MAX_SERIAL);
	fuzz_require(v->nmodules <= CONTROL_MAX_MODULES);
	fuzz_require(v->kernel && v->kernel[0] == '/' && strlen(v->kernel) < VMC_PATH_MAX);
	fuzz_require(!v->cmdline || strlen(v->cmdline) < CONTROL_CMDLINE_BYTES);
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct vmc v, again;
	struct vmc_error err;
	size_t first_bytes, second_bytes;
	char *first, *second;

	if (vmc_read((const char *)data, size, &v, &err)) {
		check_error(&err, data, size);
		return 0;
	}
	accepted++;
	check_accepted(&v);
	first = vmc_write(&v, &first_bytes);
	fuzz_require(first);
	fuzz_require(!vmc_read(first, first_bytes, &again, &err));
	second = vmc_write(&again, &second_bytes);
	fuzz_require(second && first_bytes == second_bytes && !memcmp(first, second, first_bytes));
	free(first);
	free(second);
	vmc_clear(&v);
	vmc_clear(&again);
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of vmc: %lu accepted\n", accepted);
}
