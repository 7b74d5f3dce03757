/*
 * percent.c: reading bytes written as %XX.
 */
#include "base/percent.h"

int
omb_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool
omb_percent_decode(const char *text, size_t len, char *out, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++)
	{
		int c = (unsigned char) text[i];

		if (c == '%')
		{
			int high = i + 2 < len ? omb_hex_digit(text[i + 1]) : -1;
			int low = i + 2 < len ? omb_hex_digit(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
		}
		if (c == '\0' || n + 1 >= size)
			return false;
		out[n++] = (char) c;
	}
	if (size == 0)
		return false;
	out[n] = '\0';
	return true;
}
