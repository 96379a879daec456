/* SPDX-License-Identifier: Apache-2.0
 *
 * Any message of the API as JSON, by its descriptor: names as in api.proto, enumerations without
 * their prefix and in small letters ("running"), bytes as text.
 */
#include "mgmtd/cli/cli.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

void json_string(FILE *f, const char *s, size_t bytes)
{
	fputc('"', f);
	for (size_t i = 0; i < bytes; i++) {
		unsigned char ch = (unsigned char)s[i];

		if (ch == '"' || ch == '\\')
			fprintf(f, "\\%c", ch);
		else if (ch == '\n')
			fputs("\\n", f);
		else if (ch < 0x20 || ch == 0x7f)
			fprintf(f, "\\u%04x", ch);
		else
			fputc(ch, f);
	}
	fputc('"', f);
}

static void put_enum(FILE *f, const ProtobufCEnumDescriptor *d, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);
	const char *name = v ? v->name : "UNKNOWN";
	const char *short_name = strchr(name, '_');

	fputc('"', f);
	for (name = short_name ? short_name + 1 : name; *name; name++)
		fputc(tolower((unsigned char)*name), f);
	fputc('"', f);
}

static void put_value(FILE *f, const ProtobufCFieldDescriptor *d, const void *at)
{
	const ProtobufCBinaryData *data = at;
	const char *text = NULL;

	switch (d->type) {
	case PROTOBUF_C_TYPE_BOOL:
		fputs(*(const protobuf_c_boolean *)at ? "true" : "false", f);
		break;
	case PROTOBUF_C_TYPE_UINT32:
		fprintf(f, "%" PRIu32, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT32:
		fprintf(f, "%" PRId32, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		fprintf(f, "%" PRIu64, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		put_enum(f, d->descriptor, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_STRING:
		text = *(char *const *)at;
		json_string(f, text ? text : "", text ? strlen(text) : 0);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		json_string(f, (const char *)data->data, data->len);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		json_message(f, *(ProtobufCMessage *const *)at);
		break;
	default: /* api.proto has no others */
		fputs("null", f);
	}
}

static size_t element_bytes(const ProtobufCFieldDescriptor *d)
{
	switch (d->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_UINT64:
		return 8;
	default:
		return 4;
	}
}

static void put_field(FILE *f, const ProtobufCFieldDescriptor *d, const uint8_t *m)
{
	size_t n;
	const uint8_t *elements;

	if (d->label != PROTOBUF_C_LABEL_REPEATED) {
		put_value(f, d, m + d->offset);
		return;
	}
	memcpy(&n, m + d->quantifier_offset, sizeof(n));
	memcpy(&elements, m + d->offset, sizeof(elements));
	fputc('[', f);
	for (size_t i = 0; i < n; i++) {
		if (i)
			fputc(',', f);
		put_value(f, d, elements + i * element_bytes(d));
	}
	fputc(']', f);
}

static bool is_absent(const ProtobufCFieldDescriptor *d, const uint8_t *m)
{
	int chosen;

	if (d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		memcpy(&chosen, m + d->quantifier_offset, sizeof(chosen));
		return chosen != (int)d->id;
	}
	return d->type == PROTOBUF_C_TYPE_MESSAGE && d->label != PROTOBUF_C_LABEL_REPEATED &&
	       *(void *const *)(m + d->offset) == NULL;
}

void json_message(FILE *f, const ProtobufCMessage *m)
{
	bool first = true;

	fputc('{', f);
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *d = &m->descriptor->fields[i];

		if (is_absent(d, (const uint8_t *)m))
			continue;
		fprintf(f, "%s\"%s\":", first ? "" : ",", d->name);
		put_field(f, d, (const uint8_t *)m);
		first = false;
	}
	fputc('}', f);
}

void print_json(const ProtobufCMessage *m)
{
	json_message(stdout, m);
	putchar('\n');
	fflush(stdout);
}
