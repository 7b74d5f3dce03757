/*
 * fields.c: parsing and escaping of named text values.
 */
#include "base/fields.h"

#include "base/percent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
		   c == '-';
}

static bool
is_name(const char *name)
{
	if (*name == '\0')
		return false;
	for (; *name; name++)
	{
		if (!is_name_char(*name))
			return false;
	}
	return true;
}

static bool
needs_escape(unsigned char c)
{
	return c <= 0x20 || c == 0x7f || c == '%' || c == '=';
}

/* Undo the escapes of a terminated value in place. */
static bool
unescape(char *value)
{
	char *out = value;

	for (; *value; value++)
	{
		int high, low;

		if (*value != '%')
		{
			if (needs_escape((unsigned char) *value))
				return false;
			*out++ = *value;
			continue;
		}
		high = omb_hex_digit(value[1]);
		low = high < 0 ? -1 : omb_hex_digit(value[2]);
		if (low < 0 || (high | low) == 0)
			return false;
		*out++ = (char) (high << 4 | low);
		value += 2;
	}
	*out = '\0';
	return true;
}

/* Cut "name=value" and store it. */
static bool
add_field(char *token, omb_fields *out)
{
	char *equals = strchr(token, '=');
	omb_field *item;

	if (equals == NULL || out->count == OMB_FIELDS_MAX)
		return false;
	*equals = '\0';
	if (!is_name(token) || !unescape(equals + 1))
		return false;
	item = &out->item[out->count++];
	item->name = token;
	item->value = equals + 1;
	return true;
}

static bool
parse(char *text, size_t len, char separator, bool has_verb, omb_fields *out)
{
	char *p = text;
	char *end = text + len;

	memset(out, 0, sizeof(*out));
	out->verb = "";
	if (memchr(text, 0, len) != NULL)
		return false;
	*end = '\0';
	if (has_verb)
	{
		out->verb = p;
		while (is_name_char(*p))
			p++;
		if (p == text || (*p != '\0' && *p != separator))
			return false;
		if (p < end)
			*p++ = '\0';
	}
	while (p < end)
	{
		char *stop = memchr(p, separator, (size_t) (end - p));

		if (stop == NULL)
			stop = end;
		*stop = '\0';
		if (!add_field(p, out))
			return false;
		p = stop + 1;
	}
	return true;
}

bool
omb_fields_parse_line(char *text, size_t len, omb_fields *out)
{
	if (len > 0 && text[len - 1] == '\n')
		len--;
	return parse(text, len, ' ', true, out);
}

bool
omb_fields_parse_text(char *text, size_t len, omb_fields *out)
{
	return parse(text, len, '\n', false, out);
}

const char *
omb_fields_get(const omb_fields *fields, const char *name)
{
	int i;

	for (i = 0; i < fields->count; i++)
	{
		if (strcmp(fields->item[i].name, name) == 0)
			return fields->item[i].value;
	}
	return NULL;
}

bool
omb_fields_get_u64(const omb_fields *fields, const char *name, uint64_t *value)
{
	const char *text = omb_fields_get(fields, name);
	char *end;

	/* strtoull alone would take signs and leading space */
	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

bool
omb_fields_get_u32(const omb_fields *fields, const char *name, uint32_t *value)
{
	uint64_t wide;

	if (!omb_fields_get_u64(fields, name, &wide) || wide > UINT32_MAX)
		return false;
	*value = (uint32_t) wide;
	return true;
}

bool
omb_fields_get_i64(const omb_fields *fields, const char *name, int64_t *value)
{
	const char *text = omb_fields_get(fields, name);
	char *end;

	if (text == NULL || !((*text >= '0' && *text <= '9') ||
						  (*text == '-' && text[1] >= '0' && text[1] <= '9')))
		return false;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0';
}

size_t
omb_fields_escaped_size(const char *value)
{
	size_t size = 0;

	for (; *value; value++)
		size += needs_escape((unsigned char) *value) ? 3 : 1;
	return size;
}

char *
omb_fields_escape(const char *value, char *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *value; value++)
	{
		unsigned char c = (unsigned char) *value;

		if (needs_escape(c))
		{
			*out++ = '%';
			*out++ = digits[c >> 4];
			*out++ = digits[c & 15];
		}
		else
			*out++ = (char) c;
	}
	*out = '\0';
	return out;
}
