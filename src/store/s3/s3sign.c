/*
 * s3sign.c: Signature Version 4 of S3 requests.
 *
 *   canonical = method \n path \n query \n (name:value \n)... \n names \n hash
 *   to sign   = "AWS4-HMAC-SHA256" \n date \n scope \n sha256(canonical)
 *   scope     = day "/" region "/s3/aws4_request"
 *   key       = HMAC over day, region, "s3", "aws4_request", beginning with
 *               "AWS4" secret
 *
 * and the same with GOOG4, storage and goog4_request.
 */
#include "store/s3/s3sign.h"

#include "base/text.h"
#include "codec/crypto.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void
omb_s3_date(int64_t time, char *out)
{
	time_t seconds = (time_t) (time / 1000000);
	struct tm t;

	(void) gmtime_r(&seconds, &t);
	(void) strftime(out, 17, "%Y%m%dT%H%M%SZ", &t);
}

void
omb_s3_hash(const void *data, size_t len, char out[OMB_S3_HASH_TEXT])
{
	uint8_t hash[OMB_SHA256_SIZE];

	omb_sha256(data, len, hash);
	(void) omb_hex_format(hash, sizeof(hash), out);
}

void
omb_s3_encode(omb_buf *out, const char *text, bool keep_slash)
{
	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || strchr("-_.~", c) != NULL ||
			(c == '/' && keep_slash))
			omb_buf_put_u8(out, c);
		else
			omb_buf_printf(out, "%%%02X", c);
	}
}

static void
hmac(omb_hash *hash, const uint8_t *key, size_t key_len, const void *data,
	 size_t len, uint8_t out[OMB_SHA256_SIZE])
{
	omb_hash_begin(hash, key, key_len);
	omb_hash_update(hash, data, len);
	omb_hash_final(hash, out);
}

/* The names of the headers, with ";" between them. */
static void
put_names(const omb_s3_signing *signing, omb_buf *out)
{
	size_t i;

	for (i = 0; i < signing->header_count; i++)
	{
		const char *header = signing->header[i];

		if (i > 0)
			omb_buf_put_u8(out, ';');
		omb_buf_put(out, header, strcspn(header, ":"));
	}
}

static void
put_canonical(const omb_s3_signing *signing, omb_buf *out)
{
	size_t i;

	omb_buf_printf(out, "%s\n%s\n%s\n", signing->method, signing->path,
				   signing->query);
	for (i = 0; i < signing->header_count; i++)
	{
		const char *header = signing->header[i];
		const char *value = header + strcspn(header, ":");

		omb_buf_put(out, header, (size_t) (value - header));
		value += strspn(value, ": ");
		omb_buf_printf(out, ":%s\n", value);
	}
	omb_buf_put_u8(out, '\n');
	put_names(signing, out);
	omb_buf_printf(out, "\n%s", signing->payload_hash);
}

void
omb_s3_sign(const omb_s3_signing *signing, omb_buf *out)
{
	const char *begin = signing->google ? "GOOG4" : "AWS4";
	const char *service = signing->google ? "storage" : "s3";
	const char *end = signing->google ? "goog4_request" : "aws4_request";
	omb_buf text = OMB_BUF_INIT;
	omb_hash *hash = omb_hash_new();
	char date[17];
	char hex[OMB_S3_HASH_TEXT];
	char *scope, *secret;
	uint8_t key[OMB_SHA256_SIZE];

	omb_s3_date(signing->time, date);
	scope = omb_format("%.8s/%s/%s/%s", date, signing->region, service, end);
	put_canonical(signing, &text);
	omb_s3_hash(text.data, text.len, hex);
	omb_buf_clear(&text);
	omb_buf_printf(&text, "%s-HMAC-SHA256\n%s\n%s\n%s", begin, date, scope,
				   hex);

	secret = omb_format("%s%s", begin, signing->secret_access_key);
	hmac(hash, (const uint8_t *) secret, strlen(secret), date, 8, key);
	hmac(hash, key, sizeof(key), signing->region, strlen(signing->region),
		 key);
	hmac(hash, key, sizeof(key), service, strlen(service), key);
	hmac(hash, key, sizeof(key), end, strlen(end), key);
	hmac(hash, key, sizeof(key), text.data, text.len, key);
	(void) omb_hex_format(key, sizeof(key), hex);
	omb_buf_printf(out,
				   "%s-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", begin,
				   signing->access_key_id, scope);
	put_names(signing, out);
	omb_buf_printf(out, ",Signature=%s", hex);

	omb_wipe(secret, strlen(secret));
	omb_wipe(key, sizeof(key));
	free(secret);
	free(scope);
	omb_hash_free(hash);
	omb_buf_free(&text);
}
