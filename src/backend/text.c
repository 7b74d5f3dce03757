/*
 * text.c: texts on their way between the database and all the rest.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "backend/text.h"

static bool
is_ascii_text(const char *text)
{
	for (; *text; text++)
	{
		if (IS_HIGHBIT_SET(*text))
			return false;
	}
	return true;
}

static char *
mask(const char *text)
{
	char *copy = pstrdup(text);
	char *p;

	for (p = copy; *p; p++)
	{
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	}
	return copy;
}

/* Convert piece by piece; a character that cannot be converted is a "?". */
static char *
convert(Oid procedure, const char *text, int from, int to)
{
	int left = strlen(text);
	/* with less room than this not all of the text would be looked at */
	int room = (left + 2) * MAX_CONVERSION_GROWTH + 1;
	char *out = palloc(room);
	char *end = out;

	for (;;)
	{
		int step;
		int done = pg_do_encoding_conversion_buf(
			procedure, from, to, (unsigned char *) unconstify(char *, text),
			left, (unsigned char *) end, room - (end - out), true);

		end += strlen(end);
		text += done;
		left -= done;
		if (left <= 0)
			break;
		step = pg_encoding_verifymbchar(from, text, left);
		step = Max(step, 1);
		text += step;
		left -= step;
		*end++ = '?';
		*end = '\0';
	}
	return out;
}

static char *
recode(const char *text, int from, int to)
{
	Oid procedure;

	if (is_ascii_text(text))
		return unconstify(char *, text);
	if (from == to || from == PG_SQL_ASCII || to == PG_SQL_ASCII)
	{
		/* nothing is known of one side: UTF-8 goes through as it is */
		if (to == PG_SQL_ASCII ||
			pg_verify_mbstr(to, text, strlen(text), true))
			return unconstify(char *, text);
		return mask(text);
	}
	/* conversions are looked up in the catalog */
	procedure = IsTransactionState() ? FindDefaultConversionProc(from, to) :
									   InvalidOid;
	return OidIsValid(procedure) ? convert(procedure, text, from, to) :
								   mask(text);
}

char *
omb_text_to_server(const char *text)
{
	return recode(text, PG_UTF8, GetDatabaseEncoding());
}

char *
omb_text_from_server(const char *text)
{
	return recode(text, GetDatabaseEncoding(), PG_UTF8);
}
