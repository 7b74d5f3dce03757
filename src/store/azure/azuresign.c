/*
 * azuresign.c: signatures of requests to Azure's Blob service.
 *
 *   to sign = method \n (value of each of 11 headers, or nothing \n)...
 *             (x-ms-name:value \n)... "/" account path (\n name:value)...
 *
 * with the headers of Azure's own and the parameters of the query sorted, the
 * latter decoded.
 */
#include "store/azure/azuresign.h"

#include "base/base64.h"
#include "base/percent.h"
#include "codec/crypto.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void
omb_azure_date(int64_t time, char *out)
{
	/* whatever the locale is */
	static const char *const day[] = { "Sun", "Mon", "Tue", "Wed",
									   "Thu", "Fri", "Sat" };
	static const char *const month[] = { "Jan", "Feb", "Mar", "Apr",
										 "May", "Jun", "Jul", "Aug",
										 "Sep", "Oct", "Nov", "Dec" };
	time_t seconds = (time_t) (time / 1000000);
	struct tm t;

	(void) gmtime_r(&seconds, &t);
	(void) snprintf(out, OMB_AZURE_DATE_TEXT,
					"%s, %02d %s %04d %02d:%02d:%02d GMT", day[t.tm_wday],
					t.tm_mday, month[t.tm_mon], t.tm_year + 1900, t.tm_hour,
					t.tm_min, t.tm_sec);
}

/* The value of a header, or "". */
static const char *
value_of(const omb_azure_signing *signing, const char *name)
{
	size_t len = strlen(name);
	size_t i;

	for (i = 0; i < signing->header_count; i++)
		if (strncmp(signing->header[i], name, len) == 0 &&
			signing->header[i][len] == ':')
			return signing->header[i] + len + 1 +
				   strspn(signing->header[i] + len + 1, " ");
	return "";
}

/* The parameters of a query that we made, decoded. */
static void
put_parameters(const char *query, omb_buf *out)
{
	if (*query == '\0')
		return;
	omb_buf_put_u8(out, '\n');
	for (; *query != '\0'; query++)
	{
		if (*query == '&')
			omb_buf_put_u8(out, '\n');
		else if (*query == '=')
			omb_buf_put_u8(out, ':');
		else if (*query == '%' && omb_hex_digit(query[1]) >= 0 &&
				 omb_hex_digit(query[2]) >= 0)
		{
			omb_buf_put_u8(out, (uint8_t) (omb_hex_digit(query[1]) * 16 +
										   omb_hex_digit(query[2])));
			query += 2;
		}
		else
			omb_buf_put_u8(out, (uint8_t) *query);
	}
}

void
omb_azure_string_to_sign(const omb_azure_signing *signing, omb_buf *out)
{
	static const char *const standard[] = { "content-encoding",
											"content-language",
											NULL, /* the length */
											"content-md5",
											"content-type",
											"date",
											"if-modified-since",
											"if-match",
											"if-none-match",
											"if-unmodified-since",
											"range" };
	size_t i;

	omb_buf_printf(out, "%s\n", signing->method);
	for (i = 0; i < sizeof(standard) / sizeof(standard[0]); i++)
	{
		if (standard[i] != NULL)
			omb_buf_printf(out, "%s", value_of(signing, standard[i]));
		else if (signing->body_len > 0)
			omb_buf_printf(out, "%zu", signing->body_len);
		omb_buf_put_u8(out, '\n');
	}
	for (i = 0; i < signing->header_count; i++)
	{
		const char *header = signing->header[i];
		size_t name = strcspn(header, ":");

		if (strncmp(header, "x-ms-", 5) != 0)
			continue;
		omb_buf_put(out, header, name + 1);
		header += name + 1;
		omb_buf_printf(out, "%s\n", header + strspn(header, " "));
	}
	omb_buf_printf(out, "/%s%s", signing->account, signing->path);
	put_parameters(signing->query, out);
}

bool
omb_azure_sign(const omb_azure_signing *signing, const char *key, omb_buf *out)
{
	uint8_t mac[OMB_SHA256_SIZE];
	omb_buf text = OMB_BUF_INIT;
	omb_buf raw = OMB_BUF_INIT;
	bool good = omb_base64_parse(key, &raw) && raw.len > 0;

	if (good)
	{
		omb_hash *hash = omb_hash_new();

		omb_azure_string_to_sign(signing, &text);
		omb_hash_begin(hash, raw.data, raw.len);
		omb_hash_update(hash, text.data, text.len);
		omb_hash_final(hash, mac);
		omb_hash_free(hash);
		omb_buf_printf(out, "SharedKey %s:", signing->account);
		omb_base64_put(out, mac, sizeof(mac));
	}
	if (raw.data != NULL)
		omb_wipe(raw.data, raw.cap);
	omb_buf_free(&raw);
	omb_buf_free(&text);
	return good;
}
