/*
 * json.c: writing JSON as a stream.
 */
#include "base/json.h"

#include <inttypes.h>

void
omb_json_begin(omb_json *json, FILE *out)
{
	json->out = out;
	json->depth = 0;
	json->first = true;
}

static void
put_string(FILE *out, const char *text)
{
	(void) fputc('"', out);
	for (; *text; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c == '"' || c == '\\')
			(void) fprintf(out, "\\%c", c);
		else if (c < 0x20)
			(void) fprintf(out, "\\u%04x", c);
		else
			(void) fputc(c, out);
	}
	(void) fputc('"', out);
}

static void
indent(const omb_json *json)
{
	int i;

	(void) fputc('\n', json->out);
	for (i = 0; i < json->depth; i++)
		(void) fputs("  ", json->out);
}

/* Comma, new line, and the name of a value. */
static void
lead(omb_json *json, const char *name)
{
	if (!json->first)
		(void) fputc(',', json->out);
	if (json->depth > 0)
		indent(json);
	json->first = false;
	if (name != NULL)
	{
		put_string(json->out, name);
		(void) fputs(": ", json->out);
	}
}

void
omb_json_open(omb_json *json, const char *name, char bracket)
{
	lead(json, name);
	(void) fputc(bracket, json->out);
	json->depth++;
	json->first = true;
}

void
omb_json_close(omb_json *json, char bracket)
{
	bool empty = json->first;

	json->depth--;
	if (!empty)
		indent(json);
	json->first = false;
	(void) fputc(bracket, json->out);
}

void
omb_json_text(omb_json *json, const char *name, const char *value)
{
	lead(json, name);
	put_string(json->out, value);
}

void
omb_json_raw(omb_json *json, const char *name, const char *value)
{
	lead(json, name);
	(void) fputs(value, json->out);
}

void
omb_json_u64(omb_json *json, const char *name, uint64_t value)
{
	lead(json, name);
	(void) fprintf(json->out, "%" PRIu64, value);
}

void
omb_json_bool(omb_json *json, const char *name, bool value)
{
	lead(json, name);
	(void) fputs(value ? "true" : "false", json->out);
}

void
omb_json_end(omb_json *json)
{
	(void) fputc('\n', json->out);
}
