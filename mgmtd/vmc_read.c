/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a machine definition. Three passes over a text of at most VMC_MAX_BYTES: libxml2 makes a
 * tree (no network, no other files, no DOCTYPE and so no entities, few elements); the table below
 * turns the tree into a struct vmc and says precisely what is wrong; the published schema has the
 * last word, so that what xmllint and editors say of a file is what we say.
 */
#include "mgmtd/vmc.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/SAX2.h>
#include "bus/log.h"
#include "mgmtd/schema/embed.h"
#include "mgmtd/utf8.h"

enum { MAX_ELEMENTS = 1000 };

struct reader {
	const char *text;
	size_t bytes;
	struct vmc *v;
	struct vmc_error *err;
	bool failed;
	unsigned elements;
	size_t seen; /* offset up to which lines are counted */
	unsigned line;
	size_t line_start;
};

__attribute__((format(printf, 5, 6))) static int wrong(struct reader *r, const xmlNode *node,
						       const char *element, const char *hint,
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

/* ---- the elements */

enum { REQUIRED = 1, MANY = 2 };

struct element {
	const char *name;
	unsigned flags;
	const char *attribute; /* the one it may have */
	int (*text)(struct reader *, const xmlNode *, const char *text, const char *attribute);
	const struct element *children;
};

static const char *const hint_path =
	"write the absolute path of a file that bulkhead-mgmtd may read";

static int read_name(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	char why[CONTROL_TEXT_BYTES];

	if (vmc_check_name(text, why, sizeof(why)))
		return wrong(r, n, "name", "choose another name", "%s", why);
	strcpy(r->v->name, text);
	return 0;
}

static int read_uuid(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	if (vmc_parse_uuid(text, r->v->uuid))
		return wrong(r, n, "uuid", "leave the element out and one will be made",
			     "not a UUID of the form 01234567-89ab-cdef-0123-456789abcdef");
	r->v->has_uuid = true;
	return 0;
}

static int read_memory(struct reader *r, const xmlNode *n, const char *text, const char *unit)
{
	static const char *const hint = "write whole MiB or GiB: <memory unit=\"MiB\">512</memory>";
	char number[32], why[CONTROL_TEXT_BYTES];

	if (unit && strcmp(unit, "MiB") && strcmp(unit, "GiB"))
		return wrong(r, n, "memory", hint, "the unit is neither MiB nor GiB");
	if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
		return wrong(r, n, "memory", hint, "the amount of memory is not a whole number");
	if (strlen(text) > 18)
		return wrong(r, n, "memory", hint, "an amount of memory with %zu digits",
			     strlen(text));
	snprintf(number, sizeof(number), "%s%s", text, unit ? unit : "MiB");
	if (vmc_parse_memory(number, &r->v->ram_bytes))
		return wrong(r, n, "memory", hint, "%s is too much memory", number);
	if (vmc_check_memory(r->v->ram_bytes, why, sizeof(why)))
		return wrong(r, n, "memory", hint, "%s", why);
	return 0;
}

static int read_vcpus(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	char *end;
	long count;

	errno = 0;
	count = strtol(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end)
		return wrong(r, n, "vcpus", "write a whole number: <vcpus>2</vcpus>",
			     "the number of virtual processors is not a number");
	if (errno || count < 1 || count > CONTROL_MAX_VCPUS)
		return wrong(r, n, "vcpus", "choose a number in that range",
			     "%.20s virtual processors; it must be 1 to %d", text,
			     CONTROL_MAX_VCPUS);
	r->v->vcpus = (uint32_t)count;
	return 0;
}

static int read_backend(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	if (vmc_parse_backend(text, &r->v->backend))
		return wrong(r, n, "backend", "write auto, kvm or emu", "no such back end");
	return 0;
}

static int read_policy(struct reader *r, const xmlNode *n, const char *text, enum vmc_policy *p)
{
	if (!strcmp(text, "restart"))
		*p = VMC_RESTART;
	else if (!strcmp(text, "off"))
		*p = VMC_OFF;
	else
		return wrong(r, n, (const char *)n->name, "write restart or off",
			     "neither restart nor off");
	return 0;
}

static int read_on_reboot(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_policy(r, n, text, &r->v->on_reboot);
}

static int read_on_crash(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_policy(r, n, text, &r->v->on_crash);
}

static int read_yes_no(struct reader *r, const xmlNode *n, const char *text, bool *b)
{
	if (strcmp(text, "yes") && strcmp(text, "no"))
		return wrong(r, n, (const char *)n->name, "write yes or no", "neither yes nor no");
	*b = text[0] == 'y';
	return 0;
}

static int read_exit_device(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_yes_no(r, n, text, &r->v->exit_device);
}

static int read_autostart(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_yes_no(r, n, text, &r->v->autostart);
}

static int read_path(struct reader *r, const xmlNode *n, const char *text, char **path)
{
	if (text[0] != '/')
		return wrong(r, n, (const char *)n->name, hint_path, "%s",
			     text[0] ? "not an absolute path" : "no path");
	if (strlen(text) >= VMC_PATH_MAX)
		return wrong(r, n, (const char *)n->name, hint_path,
			     "a path of %zu bytes; at most %u are possible", strlen(text),
			     VMC_PATH_MAX - 1);
	if (strpbrk(text, "\r\n"))
		return wrong(r, n, (const char *)n->name, hint_path, "a path with a line break");
	*path = strdup(text);
	return *path ? 0 : -ENOMEM;
}

static int read_kernel(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	return read_path(r, n, text, &r->v->kernel);
}

static int read_initrd(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	return read_path(r, n, text, &r->v->initrd);
}

static int read_module(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	int rc;

	if (r->v->nmodules == CONTROL_MAX_MODULES)
		return wrong(r, n, "module", "leave some out", "more than %d modules",
			     CONTROL_MAX_MODULES);
	rc = read_path(r, n, text, &r->v->module[r->v->nmodules]);
	r->v->nmodules += rc == 0;
	return rc;
}

/* Of several lines it becomes one. */
static int read_cmdline(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	if (strlen(text) >= CONTROL_CMDLINE_BYTES)
		return wrong(r, n, "cmdline", "shorten it",
			     "a command line of %zu bytes; at most %d are possible", strlen(text),
			     CONTROL_CMDLINE_BYTES - 1);
	if (text[0] == '\0')
		return 0;
	r->v->cmdline = strdup(text);
	if (!r->v->cmdline)
		return -ENOMEM;
	for (char *c = r->v->cmdline; *c; c++)
		if (*c == '\n' || *c == '\r' || *c == '\t')
			*c = ' ';
	return 0;
}

static int read_serial(struct reader *r, const xmlNode *n, const char *text, const char *mode)
{
	if (text[0])
		return wrong(r, n, "serial", "write <serial mode=\"console\"/>",
			     "a serial port has no text");
	if (mode && strcmp(mode, "console"))
		return wrong(r, n, "serial", "write <serial mode=\"console\"/>",
			     "no such mode of a serial port");
	if (r->v->nserial == CONTROL_MAX_SERIAL)
		return wrong(r, n, "serial", "leave some out", "more than %d serial ports",
			     CONTROL_MAX_SERIAL);
	r->v->nserial++;
	return 0;
}

static const struct element boot_elements[] = {
	{"kernel", REQUIRED, NULL, read_kernel, NULL},
	{"initrd", 0, NULL, read_initrd, NULL},
	{"module", MANY, NULL, read_module, NULL},
	{"cmdline", 0, NULL, read_cmdline, NULL},
	{NULL},
};

static const struct element machine_elements[] = {
	{"name", REQUIRED, NULL, read_name, NULL},
	{"uuid", 0, NULL, read_uuid, NULL},
	{"memory", REQUIRED, "unit", read_memory, NULL},
	{"vcpus", 0, NULL, read_vcpus, NULL},
	{"backend", 0, NULL, read_backend, NULL},
	{"boot", REQUIRED, NULL, NULL, boot_elements},
	{"serial", MANY, "mode", read_serial, NULL},
	{"on-reboot", 0, NULL, read_on_reboot, NULL},
	{"on-crash", 0, NULL, read_on_crash, NULL},
	{"exit-device", 0, NULL, read_exit_device, NULL},
	{"autostart", 0, NULL, read_autostart, NULL},
	{NULL},
};

/* ---- the walk */

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
		return wrong(r, n, (const char *)n->name, why, "unknown attribute \"%s\"", name);
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
			return wrong(r, c->type == XML_ELEMENT_NODE ? c : n, (const char *)n->name,
				     "leave only text in it", "something other than text in <%s>",
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
	int rc = read_attribute(r, n, e->attribute, &attribute);

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
			return wrong(r, parent, (const char *)parent->name, "leave it out",
				     "text or an instruction between the elements");
		e = find_element(table, n);
		if (!e) {
			list_elements(table, hint, sizeof(hint));
			return wrong(r, n, (const char *)n->name, hint, "unknown element in <%s>",
				     (const char *)parent->name);
		}
		if (seen & 1u << (e - table) && !(e->flags & MANY))
			return wrong(r, n, e->name, "leave one of them", "<%s> is there twice",
				     e->name);
		seen |= 1u << (e - table);
		rc = read_element(r, n, e);
		if (rc)
			return rc;
	}
	for (const struct element *e = table; e->name; e++)
		if (e->flags & REQUIRED && !(seen & 1u << (e - table)))
			return wrong(r, parent, (const char *)parent->name,
				     "add the element, see vmc(5)", "<%s> is missing", e->name);
	return 0;
}

/* What the broker would refuse at the start is better said now. */
static int check_whole(struct reader *r, const xmlNode *root)
{
	struct vm_config c;
	char why[CONTROL_TEXT_BYTES];

	if (vmc_config(r->v, 1, &c, why, sizeof(why)))
		return wrong(r, root, "machine", "see vmc(5)", "%s", why);
	return 0;
}

static int read_machine(struct reader *r, const xmlDoc *doc)
{
	const xmlNode *root = xmlDocGetRootElement(doc);
	xmlChar *version;
	bool version_1;
	int rc;

	if (root->ns || strcmp((const char *)root->name, "machine"))
		return wrong(r, root, (const char *)root->name,
			     "the outermost element is <machine version=\"1\">",
			     "this is no machine definition");
	rc = read_attribute(r, root, "version", &version);
	if (rc)
		return rc;
	version_1 = version && !strcmp((const char *)version, "1");
	xmlFree(version);
	if (!version_1)
		return wrong(r, root, "machine", "write <machine version=\"1\">",
			     "the version of the format is missing or not 1");
	r->v->nserial = 0;
	rc = read_children(r, root, machine_elements);
	if (!rc && r->v->nserial == 0)
		r->v->nserial = 1; /* none named: COM1 as a console */
	return rc ? rc : check_whole(r, root);
}

/* ---- libxml2's side */

static void on_xml_error(void *arg, xmlErrorPtr e)
{
	xmlParserCtxtPtr ctxt = arg;
	struct reader *r = ctxt->_private;
	char text[CONTROL_TEXT_BYTES];
	size_t n = e->message ? strlen(e->message) : 0;

	if (r->failed || e->level < XML_ERR_ERROR)
		return;
	while (n && isspace((unsigned char)e->message[n - 1]))
		n--;
	log_printable(text, sizeof(text), e->message ? e->message : "", n);
	wrong(r, NULL, "", "correct the XML at this place", "%s", text);
	r->err->line = e->line > 0 ? (unsigned)e->line : 1;
	r->err->column = e->int2 > 0 ? (unsigned)e->int2 : 0;
}

static void on_doctype(void *arg, const xmlChar *name, const xmlChar *external,
		       const xmlChar *system)
{
	xmlParserCtxtPtr ctxt = arg;
	struct reader *r = ctxt->_private;

	if (!r->failed) {
		wrong(r, NULL, "", "remove the DOCTYPE", "a definition has no DOCTYPE");
		r->err->line = (unsigned)ctxt->input->line;
		r->err->column = (unsigned)ctxt->input->col;
	}
	xmlStopParser(ctxt);
}

/* Remembers in node->_private where its start tag begins: line in the high half, column in the low.
 */
static void note_place(struct reader *r, xmlParserCtxtPtr ctxt)
{
	long at = xmlByteConsumed(ctxt);
	size_t tag;

	if (!ctxt->node || at < 0 || (size_t)at > r->bytes)
		return;
	/* The start tag's '<' is the last one before here: attributes cannot hold one. */
	for (tag = (size_t)at; tag > 0 && (tag == r->bytes || r->text[tag] != '<'); tag--)
		;
	for (; r->seen < tag; r->seen++) {
		if (r->text[r->seen] == '\n') {
			r->line++;
			r->line_start = r->seen + 1;
		}
	}
	if (tag < r->line_start)
		return;
	ctxt->node->_private =
		(void *)((uintptr_t)r->line << 32 | (uintptr_t)(tag - r->line_start + 1));
}

static void on_start_element(void *arg, const xmlChar *name, const xmlChar *prefix,
			     const xmlChar *uri, int nb_namespaces, const xmlChar **namespaces,
			     int nb_attributes, int nb_defaulted, const xmlChar **attributes)
{
	xmlParserCtxtPtr ctxt = arg;
	struct reader *r = ctxt->_private;

	xmlSAX2StartElementNs(arg, name, prefix, uri, nb_namespaces, namespaces, nb_attributes,
			      nb_defaulted, attributes);
	note_place(r, ctxt);
	if (++r->elements > MAX_ELEMENTS) {
		wrong(r, ctxt->node, (const char *)name, "leave some out", "more than %d elements",
		      MAX_ELEMENTS);
		xmlStopParser(ctxt);
	}
}

/* Says it about a byte of the text. */
static int wrong_byte(struct reader *r, size_t at, const char *hint, const char *what)
{
	wrong(r, NULL, "", hint, "%s", what);
	r->err->line = 1;
	r->err->column = 1;
	for (size_t i = 0; i < at; i++) {
		bool line_end = r->text[i] == '\n';

		r->err->line += line_end;
		r->err->column = line_end ? 1 : r->err->column + 1;
	}
	return -EINVAL;
}

/* Only UTF-8: libxml2 would load converters for a hundred other encodings, chosen by the text. */
static int check_declaration(struct reader *r)
{
	const char *end = memmem(r->text, r->bytes, "?>", 2);
	const char *value = end ? memmem(r->text, (size_t)(end - r->text), "encoding", 8) : NULL;

	if (!value || !memmem(r->text, (size_t)(value - r->text), "<?xml", 5))
		return 0;
	while (value < end && *value != '"' && *value != '\'')
		value++;
	if (!strncasecmp(value + 1, "UTF-8", 5) || !strncasecmp(value + 1, "US-ASCII", 8))
		return 0;
	return wrong_byte(r, (size_t)(value - r->text), "save the file as UTF-8",
			  "the declared encoding is not UTF-8");
}

static int check_encoding(struct reader *r)
{
	size_t n;

	if (check_declaration(r))
		return -EINVAL;
	for (size_t at = 0; at < r->bytes; at += n) {
		n = utf8_length(r->text + at, r->bytes - at);
		if (n == 0 || r->text[at] == '\0')
			return wrong_byte(r, at, "save the file as UTF-8",
					  "a byte that is not UTF-8 text");
	}
	return 0;
}

static void quiet(void *arg, const char *fmt, ...)
{
}

static xmlDoc *parse(struct reader *r)
{
	xmlParserCtxtPtr ctxt = xmlNewParserCtxt();
	xmlDoc *doc;

	if (!ctxt)
		return NULL;
	ctxt->_private = r;
	ctxt->sax->serror = on_xml_error;
	ctxt->sax->internalSubset = on_doctype;
	ctxt->sax->startElementNs = on_start_element;
	doc = xmlCtxtReadMemory(ctxt, r->text, (int)r->bytes, NULL, "UTF-8", XML_PARSE_NONET);
	if (r->failed || !ctxt->wellFormed || (doc && !xmlDocGetRootElement(doc))) {
		if (doc)
			xmlFreeDoc(doc);
		doc = NULL;
		wrong(r, NULL, "", "correct the XML", "this is not well-formed XML");
	}
	xmlFreeParserCtxt(ctxt);
	return doc;
}

/* ---- the schema's last word */

static void on_schema_error(void *arg, xmlErrorPtr e)
{
	struct reader *r = arg;
	const xmlNode *node = e->node;
	char text[CONTROL_TEXT_BYTES];
	size_t n = e->message ? strcspn(e->message, "\n") : 0;

	log_printable(text, sizeof(text), e->message ? e->message : "", n);
	wrong(r, node && node->type == XML_ELEMENT_NODE ? node : NULL,
	      node && node->name ? (const char *)node->name : "", "see vmc(5)", "%s", text);
}

static xmlRelaxNGPtr schema(void)
{
	static xmlRelaxNGPtr parsed; /* for the life of the process */
	xmlRelaxNGParserCtxtPtr ctxt;

	if (parsed)
		return parsed;
	ctxt = xmlRelaxNGNewMemParserCtxt((const char *)vmc_rng, (int)vmc_rng_bytes);
	if (ctxt) {
		parsed = xmlRelaxNGParse(ctxt);
		xmlRelaxNGFreeParserCtxt(ctxt);
	}
	return parsed;
}

static int check_schema(struct reader *r, xmlDoc *doc)
{
	xmlRelaxNGValidCtxtPtr ctxt;
	int rc;

	if (!schema())
		return -ENOMEM;
	ctxt = xmlRelaxNGNewValidCtxt(schema());
	if (!ctxt)
		return -ENOMEM;
	xmlRelaxNGSetValidStructuredErrors(ctxt, on_schema_error, r);
	rc = xmlRelaxNGValidateDoc(ctxt, doc);
	xmlRelaxNGFreeValidCtxt(ctxt);
	if (rc == 0)
		return 0;
	return wrong(r, NULL, "", "see vmc(5)", "the definition does not match the schema");
}

static xmlParserInputPtr refuse_entity(const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
	return NULL;
}

int vmc_read(const char *text, size_t bytes, struct vmc *v, struct vmc_error *err)
{
	struct reader r = {.text = text, .bytes = bytes, .v = v, .err = err, .line = 1};
	xmlDoc *doc;
	int rc;

	memset(err, 0, sizeof(*err));
	vmc_init(v);
	if (bytes > VMC_MAX_BYTES) {
		wrong(&r, NULL, "", "is this the right file?",
		      "a definition of %zu bytes; at most %u are possible", bytes, VMC_MAX_BYTES);
		return -EFBIG;
	}
	if (bytes == 0)
		return wrong(&r, NULL, "", "is this the right file?", "the definition is empty");
	if (check_encoding(&r))
		return -EINVAL;
	xmlSetExternalEntityLoader(refuse_entity);
	xmlSetGenericErrorFunc(NULL, quiet); /* errors come to us, not to stderr */
	doc = parse(&r);
	if (!doc)
		return -EINVAL;
	rc = read_machine(&r, doc);
	if (!rc)
		rc = check_schema(&r, doc);
	if (rc == -ENOMEM)
		wrong(&r, NULL, "", "try again later", "out of memory");
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
