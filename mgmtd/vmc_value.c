/* SPDX-License-Identifier: Apache-2.0
 *
 * Machine definitions: values that the host tells the guest (key-value exchange).
 */
#include "mgmtd/vmc.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int check_key(const char *key, char *why, size_t why_size)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)key[i];

		if (c >= 0x80 || (!isalnum(c) && !strchr("._-", c)))
			return snprintf(why, why_size,
					"a key is made of letters, digits, '.', '_' and '-'");
	}
	if (n == 0 || n >= GUEST_KEY_BYTES)
		return snprintf(why, why_size, "a key has 1 to %d characters, this one has %zu",
				GUEST_KEY_BYTES - 1, n);
	return 0;
}

/* Blanks at its ends would not survive the definition's file. */
static int check_value(const char *value, char *why, size_t why_size)
{
	char text[GUEST_VALUE_BYTES];
	size_t n = strlen(value);

	if (n >= GUEST_VALUE_BYTES)
		return snprintf(why, why_size, "a value has at most %d bytes, this one has %zu",
				GUEST_VALUE_BYTES - 1, n);
	control_text(text, sizeof(text), "%s", value);
	if (strcmp(text, value))
		return snprintf(why, why_size,
				"a value is UTF-8 text of one line without control characters");
	if (n && (value[0] == ' ' || value[n - 1] == ' '))
		return snprintf(why, why_size, "a value neither begins nor ends with a blank");
	return 0;
}

struct guest_value *vmc_find_value(struct vmc *v, const char *key)
{
	for (unsigned i = 0; i < v->nvalues; i++)
		if (!strcmp(v->value[i].key, key))
			return &v->value[i];
	return NULL;
}

int vmc_set_value(struct vmc *v, const char *key, const char *value, char *why, size_t why_size)
{
	struct guest_value *to = vmc_find_value(v, key);

	if (check_key(key, why, why_size) || check_value(value, why, why_size))
		return -EINVAL;
	if (!to && v->nvalues == GUEST_VALUES) {
		snprintf(why, why_size, "more than %d values", GUEST_VALUES);
		return -EINVAL;
	}
	if (!to)
		to = &v->value[v->nvalues++];
	control_text(to->key, sizeof(to->key), "%s", key);
	control_text(to->value, sizeof(to->value), "%s", value);
	return 0;
}

int vmc_remove_value(struct vmc *v, const char *key)
{
	struct guest_value *gone = vmc_find_value(v, key);

	if (!gone)
		return -ENOENT;
	v->nvalues--;
	memmove(gone, gone + 1, (size_t)(&v->value[v->nvalues] - gone) * sizeof(*gone));
	return 0;
}
