/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a machine definition. Three passes over a text of at most VMC_MAX_BYTES: libxml2 makes a
 * tree; the table of elements turns it into a struct vmc and says precisely what is wrong; the
 * published schema has the last word, so that what xmllint and editors say of a file is what we
 * say.
 */
#include "mgmtd/vmc_reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bus/log.h"

int vmc_wrong(struct reader *r, const xmlNode *node, const char *element, const char *hint,
	      const char *fmt, ...)
{
	va_list ap;

	if (r->failed)
		return -EINVAL; /* the first one counts */
	r->failed = true;
	if (node) {
		r->err->line = (unsigned)((uintptr_t)node->_private >> 32);
		r->err->column = (unsigned)((uintptr_t)node->_private & UINT32_MAX);
	}
	log_printable(r->err->element, sizeof(r->err->element), element, strlen(element));
	snprintf(r->err->hint, sizeof(r->err->hint), "%s", hint);
	va_start(ap, fmt);
	vsnprintf(r->err->what, sizeof(r->err->what), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static void list_elements(const struct element *table, char *buf, size_t size)
{
	size_t at = (size_t)snprintf(buf, size, "possible here:");

	for (; table->name && at < size; table++)
		at += (size_t)snprintf(buf + at, size - at, " %s%s", table->name,
				       table[1].name ? "," : "");
}

/* The attribute's value (malloc'd by libxml2) or NULL; any other attribute is an error. */
static int read_attribute(struct reader *r, const xmlNode *n, const char *allowed, xmlChar **value)
{
	char why[CONTROL_TEXT_BYTES], name[64];

	*value = NULL;
	for (const xmlAttr *a = n->properties; a; a = a->next) {
		if (!a->ns && allowed && !strcmp((const char *)a->name, allowed)) {
			*value = xmlNodeListGetString(n->doc, a->children, 1);
			continue;
		}
		log_printable(name, sizeof(name), (const char *)a->name,
			      strlen((const char *)a->name));
		if (allowed)
			snprintf(why, sizeof(why), "the only attribute here is %s", allowed);
		else
			snprintf(why, sizeof(why), "this element has no attributes");
		xmlFree(*value);
		*value = NULL;
		return vmc_wrong(r, n, (const char *)n->name, why, "unknown attribute \"%s\"",
				 name);
	}
	return 0;
}

/* The element's text without surrounding blanks, malloc'd. */
static int read_text(struct reader *r, const xmlNode *n, char **text)
{
	size_t len = 0;
	char *buf = malloc(r->bytes + 1), *start = buf;

	if (!buf)
		return -ENOMEM;
	for (const xmlNode *c = n->children; c; c = c->next) {
		if (c->type == XML_TEXT_NODE || c->type == XML_CDATA_SECTION_NODE) {
			size_t part = strlen((const char *)c->content);

			if (part > r->bytes - len)
				part = r->bytes - len; /* cannot be: no entities */
			memcpy(buf + len, c->content, part);
			len += part;
		} else if (c->type != XML_COMMENT_NODE) {
			free(buf);
			return vmc_wrong(r, c->type == XML_ELEMENT_NODE ? c : n,
					 (const char *)n->name, "leave only text in it",
					 "something other than text in <%s>",
					 (const char *)n->name);
		}
	}
	while (len && isspace((unsigned char)buf[len - 1]))
		len--;
	buf[len] = '\0';
	while (isspace((unsigned char)*start))
		start++;
	memmove(buf, start, strlen(start) + 1);
	*text = buf;
	return 0;
}

static int read_children(struct reader *r, const xmlNode *parent, const struct element *table);

static int read_element(struct reader *r, const xmlNode *n, const struct element *e)
{
	xmlChar *attribute = NULL;
	char *text = NULL;
	int rc = 0;

	if (!(e->flags & OWN_ATTRIBUTES))
		rc = read_attribute(r, n, e->attribute, &attribute);
	if (!rc && e->children)
		rc = read_children(r, n, e->children);
	else if (!rc)
		rc = read_text(r, n, &text);
	if (!rc && e->text)
		rc = e->text(r, n, text, (const char *)attribute);
	free(text);
	xmlFree(attribute);
	return rc;
}

static const struct element *find_element(const struct element *table, const xmlNode *n)
{
	for (; table->name; table++)
		if (!n->ns && !strcmp((const char *)n->name, table->name))
			return table;
	return NULL;
}

static int read_children(struct reader *r, const xmlNode *parent, const struct element *table)
{
	char hint[CONTROL_TEXT_BYTES];
	uint32_t seen = 0;

	for (const xmlNode *n = parent->children; n; n = n->next) {
		const struct element *e;
		int rc;

		if (n->type == XML_COMMENT_NODE ||
		    (n->type == XML_TEXT_NODE && xmlIsBlankNode((xmlNode *)n)))
			continue;
		if (n->type != XML_ELEMENT_NODE)
			return vmc_wrong(r, parent, (const char *)parent->name, "leave it out",
					 "text or an instruction between the elements");
		e = find_element(table, n);
		if (!e) {
			list_elements(table, hint, sizeof(hint));
			return vmc_wrong(r, n, (const char *)n->name, hint,
					 "unknown element in <%s>", (const char *)parent->name);
		}
		if (seen & 1u << (e - table) && !(e->flags & MANY))
			return vmc_wrong(r, n, e->name, "leave one of them", "<%s> is there twice",
					 e->name);
		seen |= 1u << (e - table);
		rc = read_element(r, n, e);
		if (rc)
			return rc;
	}
	for (const struct element *e = table; e->name; e++)
		if (e->flags & REQUIRED && !(seen & 1u << (e - table)))
			return vmc_wrong(r, parent, (const char *)parent->name,
					 "add the element, see vmc(5)", "<%s> is missing", e->name);
	return 0;
}

/* What the broker would refuse at the start is better said now. */
static int check_whole(struct reader *r, const xmlNode *root)
{
	struct vm_config c;
	char why[CONTROL_TEXT_BYTES];

	if (vmc_config(r->v, 1, &c, why, sizeof(why)))
		return vmc_wrong(r, root, "machine", "see vmc(5)", "%s", why);
	return 0;
}

static int read_machine(struct reader *r, const xmlDoc *doc)
{
	const xmlNode *root = xmlDocGetRootElement(doc);
	xmlChar *version;
	bool version_1;
	int rc;

	if (root->ns || strcmp((const char *)root->name, "machine"))
		return vmc_wrong(r, root, (const char *)root->name,
				 "the outermost element is <machine version=\"1\">",
				 "this is no machine definition");
	rc = read_attribute(r, root, "version", &version);
	if (rc)
		return rc;
	version_1 = version && !strcmp((const char *)version, "1");
	xmlFree(version);
	if (!version_1)
		return vmc_wrong(r, root, "machine", "write <machine version=\"1\">",
				 "the version of the format is missing or not 1");
	r->v->nserial = 0;
	rc = read_children(r, root, vmc_elements);
	if (!rc && r->v->nserial == 0)
		r->v->nserial = 1; /* none named: COM1 as a console */
	return rc ? rc : check_whole(r, root);
}

int vmc_read(const char *text, size_t bytes, struct vmc *v, struct vmc_error *err)
{
	struct reader r = {.text = text, .bytes = bytes, .v = v, .err = err, .line = 1};
	xmlDoc *doc;
	int rc;

	memset(err, 0, sizeof(*err));
	vmc_init(v);
	if (bytes > VMC_MAX_BYTES) {
		vmc_wrong(&r, NULL, "", "is this the right file?",
			  "a definition of %zu bytes; at most %u are possible", bytes,
			  VMC_MAX_BYTES);
		return -EFBIG;
	}
	if (bytes == 0)
		return vmc_wrong(&r, NULL, "", "is this the right file?",
				 "the definition is empty");
	doc = vmc_parse(&r);
	if (!doc)
		return -EINVAL;
	rc = read_machine(&r, doc);
	if (!rc)
		rc = vmc_check_schema(&r, doc);
	if (rc == -ENOMEM)
		vmc_wrong(&r, NULL, "", "try again later", "out of memory");
	if (rc)
		vmc_clear(v);
	xmlFreeDoc(doc);
	return rc;
}

const char *vmc_where(const struct vmc_error *err, const char *source, char *buf, size_t size)
{
	size_t at = (size_t)snprintf(buf, size, "%s", source && source[0] ? source : "definition");

	if (err->line && at < size)
		at += (size_t)snprintf(buf + at, size - at, ":%u:%u", err->line,
				       err->column ? err->column : 1);
	if (err->element[0] && at < size)
		snprintf(buf + at, size - at, ", element <%s>", err->element);
	return buf;
}
