/*
 * base64.c: bytes as printable text.
 */
#include "base/base64.h"

#include <string.h>

static const char plain[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_url[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void
put(omb_buf *out, const uint8_t *data, size_t len, const char *letter,
	bool fill)
{
	size_t i;

	for (i = 0; i < len; i += 3)
	{
		size_t left = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t) data[i] << 16 |
						(left > 1 ? (uint32_t) data[i + 1] << 8 : 0) |
						(left > 2 ? (uint32_t) data[i + 2] : 0);
		size_t k;

		for (k = 0; k < 4; k++)
		{
			if (k <= left)
				omb_buf_put_u8(out,
							   (uint8_t) letter[bits >> (18 - 6 * k) & 63]);
			else if (fill)
				omb_buf_put_u8(out, '=');
		}
	}
}

void
omb_base64_put(omb_buf *out, const void *data, size_t len)
{
	put(out, data, len, plain, true);
}

void
omb_base64_put_url(omb_buf *out, const void *data, size_t len)
{
	put(out, data, len, for_url, false);
}

bool
omb_base64_parse(const char *text, omb_buf *out)
{
	size_t len = strlen(text);
	size_t i;

	if (len % 4 != 0)
		return false;
	for (i = 0; i < len; i += 4)
	{
		uint32_t bits = 0;
		size_t letters = 4;
		size_t k;

		if (i + 4 == len && text[i + 3] == '=')
			letters = text[i + 2] == '=' ? 2 : 3;
		for (k = 0; k < 4; k++)
		{
			const char *at = k < letters ? strchr(plain, text[i + k]) : plain;

			if (at == NULL)
				return false;
			bits = bits << 6 | (uint32_t) (at - plain);
		}
		/* bits that no byte has are zero */
		if ((letters == 2 && (bits & 0xffff) != 0) ||
			(letters == 3 && (bits & 0xff) != 0))
			return false;
		for (k = 0; k + 1 < letters; k++)
			omb_buf_put_u8(out, (uint8_t) (bits >> (16 - 8 * k)));
	}
	return true;
}
