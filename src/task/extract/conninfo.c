/*
 * conninfo.c: the little that we need to know of connection strings.
 */
#include "task/extract/conninfo.h"

#include "base/buffer.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static size_t
scheme_length(const char *text)
{
	static const char *const schemes[] = { "postgresql://", "postgres://" };
	size_t i;

	for (i = 0; i < 2; i++)
	{
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
			return strlen(schemes[i]);
	}
	return 0;
}

bool
omb_conninfo_is(const char *text)
{
	return scheme_length(text) > 0 ||
		   (text[0] != '/' && text[0] != '.' && strchr(text, '=') != NULL);
}

static omb_status
refuse_password(omb_error *err)
{
	(void) omb_error_set(err, OMB_USAGE,
						 "the connection string has a password");
	omb_error_detail(err, "Everybody on this machine can read the arguments "
						  "of commands.");
	omb_error_hint(err, "Put it into the file ~/.pgpass, or one that the "
						"variable PGPASSFILE names.");
	return err->status;
}

static omb_status
refuse(omb_error *err)
{
	(void) omb_error_set(err, OMB_USAGE, "invalid connection string");
	omb_error_hint(err, "Write it as \"host=.. port=.. user=.. dbname=..\" or "
						"\"postgresql://user@host:port/dbname\".");
	return err->status;
}

/* ---- name=value name='value' ---- */

/* Read one pair; *text moves behind it. False when it makes no sense. */
static bool
read_pair(const char **text, omb_buf *name, omb_buf *value)
{
	const char *p = *text;
	bool quoted;

	omb_buf_clear(name);
	omb_buf_clear(value);
	while (*p != '\0' && *p != '=' && !isspace((unsigned char) *p))
		omb_buf_put_u8(name, (uint8_t) *p++);
	while (isspace((unsigned char) *p))
		p++;
	if (*p++ != '=' || name->len == 0)
		return false;
	while (isspace((unsigned char) *p))
		p++;
	quoted = *p == '\'';
	if (quoted)
		p++;
	while (*p != '\0' && (quoted ? *p != '\'' : !isspace((unsigned char) *p)))
	{
		if (*p == '\\' && p[1] != '\0')
			p++;
		omb_buf_put_u8(value, (uint8_t) *p++);
	}
	if (quoted && *p++ != '\'')
		return false;
	while (isspace((unsigned char) *p))
		p++;
	*text = p;
	return true;
}

static omb_status
database_of_pairs(const char *text, omb_buf *database, omb_error *err)
{
	omb_buf name = OMB_BUF_INIT;
	omb_buf value = OMB_BUF_INIT;

	while (isspace((unsigned char) *text))
		text++;
	while (*text != '\0' && err->status == OMB_OK)
	{
		if (!read_pair(&text, &name, &value))
			(void) refuse(err);
		else if (strcmp(omb_buf_text(&name), "password") == 0)
			(void) refuse_password(err);
		else if (strcmp(omb_buf_text(&name), "dbname") == 0)
		{
			omb_buf_clear(database);
			omb_buf_put(database, value.data, value.len);
		}
	}
	omb_buf_free(&name);
	omb_buf_free(&value);
	return err->status;
}

/* ---- postgresql://user@host:port/database?name=value&.. ---- */

static bool
decode(const char *text, size_t len, omb_buf *out)
{
	size_t i;

	omb_buf_clear(out);
	for (i = 0; i < len; i++)
	{
		char digits[3];
		uint8_t byte = (uint8_t) text[i];

		if (byte == '%')
		{
			if (i + 2 >= len)
				return false;
			digits[0] = (char) tolower((unsigned char) text[i + 1]);
			digits[1] = (char) tolower((unsigned char) text[i + 2]);
			digits[2] = '\0';
			if (!omb_hex_parse(digits, &byte, 1) || byte == 0)
				return false;
			i += 2;
		}
		omb_buf_put_u8(out, byte);
	}
	return true;
}

static omb_status
database_of_url(const char *text, omb_buf *database, omb_error *err)
{
	const char *authority = text + scheme_length(text);
	size_t len = strcspn(authority, "/?");
	const char *at = memchr(authority, '@', len);
	const char *path = authority + len;
	const char *query = strchr(path, '?');

	if (at != NULL &&
		memchr(authority, ':', (size_t) (at - authority)) != NULL)
		return refuse_password(err);
	if (query != NULL && (strstr(query, "?password=") != NULL ||
						  strstr(query, "&password=") != NULL))
		return refuse_password(err);
	/* rather than understand all that libpq takes */
	if (query != NULL && (strstr(query, "?dbname=") != NULL ||
						  strstr(query, "&dbname=") != NULL))
		return refuse(err);
	if (*path == '/' && !decode(path + 1, strcspn(path + 1, "?"), database))
		return refuse(err);
	return OMB_OK;
}

omb_status
omb_conninfo_database(const char *text, char **database, omb_error *err)
{
	omb_buf name = OMB_BUF_INIT;

	*database = NULL;
	if (scheme_length(text) > 0)
		(void) database_of_url(text, &name, err);
	else
		(void) database_of_pairs(text, &name, err);
	if (err->status == OMB_OK && name.len == 0)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "the connection string names no database");
		omb_error_hint(err, "Name the one to load into: an empty one, or one "
							"that does not exist yet.");
	}
	if (err->status == OMB_OK)
		*database = omb_strdup(omb_buf_text(&name));
	omb_buf_free(&name);
	return err->status;
}

char *
omb_conninfo_with(const char *text, const char *database)
{
	omb_buf out = OMB_BUF_INIT;
	const char *p;

	if (scheme_length(text) > 0)
	{
		size_t begin = scheme_length(text);
		const char *rest;

		begin += strcspn(text + begin, "/?");
		rest = strchr(text + begin, '?');
		omb_buf_put(&out, text, begin);
		omb_buf_put_u8(&out, '/');
		for (p = database; *p; p++)
		{
			if (isalnum((unsigned char) *p))
				omb_buf_put_u8(&out, (uint8_t) *p);
			else
				omb_buf_printf(&out, "%%%02X", (unsigned char) *p);
		}
		omb_buf_printf(&out, "%s", rest ? rest : "");
		return omb_buf_text(&out);
	}
	/* the last one counts */
	omb_buf_printf(&out, "%s dbname='", text);
	for (p = database; *p; p++)
	{
		if (*p == '\'' || *p == '\\')
			omb_buf_put_u8(&out, '\\');
		omb_buf_put_u8(&out, (uint8_t) *p);
	}
	omb_buf_put_u8(&out, '\'');
	return omb_buf_text(&out);
}
