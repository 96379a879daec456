/* SPDX-License-Identifier: Apache-2.0
 *
 * values: what host and guest tell each other.
 */
#include "mgmtd/cli/cli.h"

#include <string.h>

static void print_pairs(FILE *f, const char *from, Bulkhead__GuestValue *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s\t%s\t%s\n", from, v[i]->key, v[i]->value);
}

static void print_values(const Bulkhead__Vm *vm)
{
	static const char *const told[] = {"the guest has not been told yet", "the guest knows them",
					   "the guest does not store them"};
	struct table t;

	if (table_begin(&t))
		return;
	fprintf(t.f, "FROM\tKEY\tVALUE\n");
	print_pairs(t.f, "host", vm->host_values, vm->n_host_values);
	print_pairs(t.f, "guest", vm->guest_values, vm->n_guest_values);
	table_end(&t);
	if (vm->n_processes && vm->n_host_values && (unsigned)vm->host_values_told < 3)
		printf("\nvalues from the host: %s\n", told[vm->host_values_told]);
}

/* value NULL: take it back. */
static int set(struct cli *c, char *vm, char *key, char *value)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmValueRequest v = BULKHEAD__VM_VALUE_REQUEST__INIT;

	v.vm = vm;
	v.key = key;
	if (value)
		v.value = value;
	v.remove = !value;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_VALUE;
	r.vm_value = &v;
	return call_vm(c, &r, NULL);
}

int cmd_values(struct cli *c, int argc, char **argv)
{
	if (argc == 2 && argv[1][0] != '-')
		return call_vm_show(c, argv[1], print_values);
	if (argc == 5 && !strcmp(argv[2], "set"))
		return set(c, argv[1], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[2], "remove"))
		return set(c, argv[1], argv[3], NULL);
	return fail_usage(c, "values VM | values VM set KEY VALUE | values VM remove KEY");
}
