/* SPDX-License-Identifier: Apache-2.0
 *
 * The side of the reader that deals with libxml2: no network, no other files, no DOCTYPE and so no
 * entities, no encoding but UTF-8, few elements; and the schema.
 */
#include "mgmtd/vmc_reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/SAX2.h>
#include "bus/log.h"
#include "mgmtd/schema/embed.h"
#include "mgmtd/utf8.h"

enum { MAX_ELEMENTS = 1000 };

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
	vmc_wrong(r, NULL, "", "correct the XML at this place", "%s", text);
	r->err->line = e->line > 0 ? (unsigned)e->line : 1;
	r->err->column = e->int2 > 0 ? (unsigned)e->int2 : 0;
}

static void on_doctype(void *arg, const xmlChar *name, const xmlChar *external,
		       const xmlChar *system)
{
	xmlParserCtxtPtr ctxt = arg;
	struct reader *r = ctxt->_private;

	if (!r->failed) {
		vmc_wrong(r, NULL, "", "remove the DOCTYPE", "a definition has no DOCTYPE");
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
		vmc_wrong(r, ctxt->node, (const char *)name, "leave some out",
			  "more than %d elements", MAX_ELEMENTS);
		xmlStopParser(ctxt);
	}
}

/* Says it about a byte of the text. */
static int wrong_byte(struct reader *r, size_t at, const char *hint, const char *what)
{
	vmc_wrong(r, NULL, "", hint, "%s", what);
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

static xmlParserInputPtr refuse_entity(const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
	return NULL;
}

static void quiet(void *arg, const char *fmt, ...)
{
}

xmlDoc *vmc_parse(struct reader *r)
{
	xmlParserCtxtPtr ctxt;
	xmlDoc *doc;

	if (check_encoding(r))
		return NULL;
	xmlSetExternalEntityLoader(refuse_entity);
	xmlSetGenericErrorFunc(NULL, quiet); /* errors come to us, not to stderr */
	ctxt = xmlNewParserCtxt();
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
		vmc_wrong(r, NULL, "", "correct the XML", "this is not well-formed XML");
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
	vmc_wrong(r, node && node->type == XML_ELEMENT_NODE ? node : NULL,
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

int vmc_check_schema(struct reader *r, xmlDoc *doc)
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
	return vmc_wrong(r, NULL, "", "see vmc(5)", "the definition does not match the schema");
}
