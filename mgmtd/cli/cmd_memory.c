/* SPDX-License-Identifier: Apache-2.0
 *
 * memory: dynamic memory of a running machine.
 */
#include "mgmtd/cli/cli.h"

#include <string.h>
#include "mgmtd/vmc.h"

/* How much of what it has the guest has promised to its programs. */
unsigned memory_pressure(const Bulkhead__Vm *vm)
{
	uint64_t need = vm->memory_committed_bytes, held = vm->memory_ballooned_bytes;

	need = need > held ? need - held : 0; /* guests count what they gave back as used */
	return vm->memory_assigned_bytes ? (unsigned)(need * 100 / vm->memory_assigned_bytes) : 0;
}

static void print(const Bulkhead__Vm *vm)
{
	char text[32];
	struct table t;

	if (table_begin(&t))
		return;
	fprintf(t.f, "minimum:\t%s\n", text_size(vm->memory_minimum_bytes, text, sizeof(text)));
	fprintf(t.f, "at the start:\t%s\n", text_size(vm->memory_bytes, text, sizeof(text)));
	fprintf(t.f, "maximum:\t%s\n", text_size(vm->memory_maximum_bytes, text, sizeof(text)));
	if (vm->memory_assigned_bytes) {
		fprintf(t.f, "now:\t%s\n",
			text_size(vm->memory_assigned_bytes, text, sizeof(text)));
		fprintf(t.f, "given back:\t%s\n",
			text_size(vm->memory_ballooned_bytes, text, sizeof(text)));
		fprintf(t.f, "is to have:\t%s\n",
			vm->memory_target_bytes
				? text_size(vm->memory_target_bytes, text, sizeof(text))
				: "what it needs");
	}
	if (vm->memory_committed_bytes)
		fprintf(t.f, "pressure:\t%u %%\n", memory_pressure(vm));
	table_end(&t);
}

int cmd_memory(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmMemoryRequest m = BULKHEAD__VM_MEMORY_REQUEST__INIT;

	if (argc < 2 || argc > 3 || argv[1][0] == '-')
		return fail_usage(c, "memory VM [SIZE | auto]");
	if (argc == 2)
		return call_vm_show(c, argv[1], print);
	m.vm = argv[1];
	if (strcmp(argv[2], "auto") && vmc_parse_memory(argv[2], &m.target_bytes))
		return fail_usage(c, "memory %s: write for example 512M or 2G, or auto", argv[2]);
	r.body_case = BULKHEAD__REQUEST__BODY_VM_MEMORY;
	r.vm_memory = &m;
	return call_vm(c, &r, NULL);
}
