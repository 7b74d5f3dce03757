/*
 * xmlread.c: what servers answer, over expat, which no other file knows.
 */
#include "store/xmlread.h"

#include "base/buffer.h"
#include "base/text.h"

#include <expat.h>

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16
#define TEXT_MAX ((size_t) 16 * 1024)
#define PATH_MAX_LEN 256

typedef struct walk
{
	XML_Parser parser;
	char path[PATH_MAX_LEN];
	int depth;
	omb_buf text;
	omb_xml_element end;
	void *arg;
	bool bad;
} walk;

static void
give_up(walk *w)
{
	w->bad = true;
	(void) XML_StopParser(w->parser, XML_FALSE);
}

static void
on_start(void *arg, const char *name, const char **attributes)
{
	walk *w = arg;
	size_t used = strlen(w->path);
	const char *colon = strrchr(name, ':');
	size_t len;

	/* prefixes are chosen by whoever writes */
	if (colon != NULL)
		name = colon + 1;
	len = strlen(name);

	if (w->depth >= DEPTH_MAX || used + len + 2 > sizeof(w->path))
	{
		give_up(w);
		return;
	}
	if (used > 0)
		w->path[used++] = '/';
	memcpy(w->path + used, name, len + 1);
	w->depth++;
	omb_buf_clear(&w->text);
}

static void
on_end(void *arg, const char *name)
{
	walk *w = arg;
	char *slash;

	if (!w->bad && !w->end(w->path, omb_buf_text(&w->text), w->arg))
		give_up(w);
	omb_buf_clear(&w->text);
	slash = strrchr(w->path, '/');
	if (slash != NULL)
		*slash = '\0';
	else
		w->path[0] = '\0';
	w->depth--;
}

static void
on_text(void *arg, const char *text, int len)
{
	walk *w = arg;

	if (w->text.len + (size_t) len > TEXT_MAX)
		give_up(w);
	else
		omb_buf_put(&w->text, text, (size_t) len);
}

/* No server declares one, and entities could grow without end. */
static void
on_doctype(void *arg, const char *name, const char *system, const char *public,
		   int internal)
{
	give_up(arg);
}

bool
omb_xml_read(const void *data, size_t len, omb_xml_element end, void *arg)
{
	const char *text = data;
	walk w;
	bool good;

	/* a server that works for long sends space to keep the connection */
	while (len > 0 && strchr(" \t\r\n", *text) != NULL && *text != '\0')
	{
		text++;
		len--;
	}
	if (len == 0 || len > (size_t) 64 * 1024 * 1024)
		return false;
	memset(&w, 0, sizeof(w));
	w.end = end;
	w.arg = arg;
	w.parser = XML_ParserCreate(NULL);
	if (w.parser == NULL)
		return false;
	XML_SetUserData(w.parser, &w);
	XML_SetElementHandler(w.parser, on_start, on_end);
	XML_SetCharacterDataHandler(w.parser, on_text);
	XML_SetStartDoctypeDeclHandler(w.parser, on_doctype);
	good = XML_Parse(w.parser, text, (int) len, 1) == XML_STATUS_OK && !w.bad;
	XML_ParserFree(w.parser);
	omb_buf_free(&w.text);
	return good;
}

/* ---- tables ---- */

typedef struct fields_reader
{
	const omb_xml_field *field;
	size_t count;
	void *out;
} fields_reader;

static void
keep(char *out, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		len = size - 1;
	memcpy(out, text, len);
	out[len] = '\0';
}

static bool
take(const omb_xml_field *field, const char *text, void *out)
{
	void *member = (char *) out + field->offset;

	switch (field->kind)
	{
		case OMB_XML_SEEN:
			*(bool *) member = true;
			break;
		case OMB_XML_IS:
			*(bool *) member = strcmp(text, field->word) == 0;
			break;
		case OMB_XML_TEXT:
			free(*(char **) member);
			*(char **) member = omb_strdup(text);
			break;
		case OMB_XML_SHORT:
			keep(member, field->size, text);
			break;
		case OMB_XML_U64:
			return omb_u64_parse(text, member);
		case OMB_XML_TIME:
			return omb_time_parse(text, member);
		case OMB_XML_END:
			return field->end(out);
	}
	return true;
}

static bool
look_up(const char *path, const char *text, void *arg)
{
	const fields_reader *r = arg;
	const char *root = r->field[0].path;
	size_t i;

	/* a long answer of another kind is not read to its end */
	if (strncmp(path, root, strcspn(root, "/")) != 0)
		return false;
	for (i = 0; i < r->count; i++)
		if (strcmp(path, r->field[i].path) == 0)
			return take(&r->field[i], text, r->out);
	return true;
}

bool
omb_xml_read_fields(const void *data, size_t len, const omb_xml_field *field,
					size_t count, void *out)
{
	fields_reader r = { field, count, out };

	return omb_xml_read(data, len, look_up, &r);
}

void *
omb_xml_add(void **items, size_t *count, size_t *cap, size_t size)
{
	uint8_t *item;

	if (*count == *cap)
	{
		*cap = *cap ? 2 * *cap : 64;
		*items = omb_realloc(*items, *cap * size);
	}
	item = (uint8_t *) *items + (*count)++ * size;
	memset(item, 0, size);
	return item;
}
