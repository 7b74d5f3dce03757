/*
 * googletoken.c: a Google service account's tokens.
 */
#include "store/gcs/googletoken.h"

#include "base/base64.h"
#include "base/text.h"
#include "codec/crypto.h"
#include "store/cloud/cloudclient.h"
#include "store/jsonread.h"
#include "store/retry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCOPE "https://www.googleapis.com/auth/devstorage.read_write"
#define HOUR INT64_C(3600)
/* A clock that differs by less, in microseconds, is not why it was refused. */
#define SKEW (INT64_C(4) * 60 * 1000000)
#define BODY_MAX ((size_t) 64 * 1024)

static void
wipe(char *text)
{
	if (text != NULL)
		omb_wipe(text, strlen(text));
	free(text);
}

void
omb_google_token_wipe(omb_google_token *token)
{
	wipe(token->text);
	memset(token, 0, sizeof(*token));
}

/* It goes into a JSON text as it is. */
static bool
is_plain(const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		if (*text <= ' ' || *text > '~' || *text == '"' || *text == '\\')
			return false;
	return text != NULL;
}

static bool
is_url(const char *text)
{
	return is_plain(text) && (strncmp(text, "https://", 8) == 0 ||
							  strncmp(text, "http://", 7) == 0);
}

char *
omb_google_claim(const char *json, int64_t now, char **url, omb_error *err)
{
	size_t len = strlen(json);
	char *email = omb_json_get_text(json, len, "client_email");
	char *key = omb_json_get_text(json, len, "private_key");
	char *key_id = omb_json_get_text(json, len, "private_key_id");
	char *where = omb_json_get_text(json, len, "token_uri");
	omb_buf claim = OMB_BUF_INIT;
	omb_buf part = OMB_BUF_INIT;
	char *result = NULL;

	*url = NULL;
	if (key == NULL || !is_plain(email) || !is_plain(key_id) || !is_url(where))
		(void) omb_error_set(err, OMB_USAGE,
							 "credentials are no key file of a Google service "
							 "account");
	else
	{
		omb_buf_printf(&part,
					   "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
					   key_id);
		omb_base64_put_url(&claim, part.data, part.len);
		omb_buf_put_u8(&claim, '.');
		omb_buf_clear(&part);
		omb_buf_printf(&part,
					   "{\"iss\":\"%s\",\"scope\":\"" SCOPE "\",\"aud\":\"%s\""
					   ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}",
					   email, where, now / 1000000, now / 1000000 + HOUR);
		omb_base64_put_url(&claim, part.data, part.len);
		omb_buf_clear(&part);
		if (omb_rsa_sign(key, claim.data, claim.len, &part))
		{
			omb_buf_put_u8(&claim, '.');
			omb_base64_put_url(&claim, part.data, part.len);
			result = omb_strdup(omb_buf_text(&claim));
			*url = where;
			where = NULL;
		}
		else
			(void) omb_error_set(err, OMB_USAGE,
								 "cannot use the private key of a Google "
								 "service account");
	}
	if (err->status != OMB_OK)
		omb_error_hint(err, "Give the file with JSON that Google made for a "
							"key of the account, as it is.");
	omb_buf_free(&part);
	omb_buf_free(&claim);
	wipe(key);
	free(email);
	free(key_id);
	free(where);
	return result;
}

/* What a server says instead of a token. */
static void
explain(omb_http_response *response, omb_error *err)
{
	const omb_buf *body = &response->body;
	char *code = omb_json_get_text(body->data, body->len, "error");
	char *text = omb_json_get_text(body->data, body->len, "error_description");
	char *c;

	for (c = text; c != NULL && *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	(void) omb_error_set(err, OMB_FAILED,
						 "could not get a token of the Google service "
						 "account: server answered %d%s%.60s%s%.200s",
						 response->status, is_plain(code) ? " " : "",
						 is_plain(code) ? code : "", text != NULL ? ": " : "",
						 text != NULL ? text : "");
	omb_error_hint(err, "Check that the account and its key still exist, and "
						"this machine's clock.");
	free(text);
	free(code);
}

/* One claim, one answer. */
static omb_status
ask(omb_http *http, const char *json, int64_t now, omb_http_response *response,
	omb_error *err)
{
	static const char *const header[] = {
		"content-type: application/x-www-form-urlencoded"
	};
	omb_http_request request = { .method = "POST",
								 .header = header,
								 .header_count = 1,
								 .body_max = BODY_MAX };
	char *url;
	char *claim = omb_google_claim(json, now, &url, err);
	char *body;

	if (claim == NULL)
	{
		response->failure = OMB_HTTP_OTHER;
		return err->status;
	}
	if (omb_cloud_is_private(url, err) != OMB_OK)
	{
		response->failure = OMB_HTTP_OTHER;
		wipe(claim);
		free(url);
		return err->status;
	}
	body = omb_format("grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3A"
					  "grant-type%%3Ajwt-bearer&assertion=%s",
					  claim);
	request.url = url;
	request.body = body;
	request.body_len = strlen(body);
	(void) omb_http_perform(http, &request, response, err);
	wipe(body);
	wipe(claim);
	free(url);
	return err->status;
}

omb_status
omb_google_token_get(omb_http *http, const char *json, int64_t *clock,
					 omb_google_token *token, omb_http_response *response,
					 omb_error *err)
{
	int64_t now, date, seconds;
	int turn;

	omb_google_token_wipe(token);
	for (turn = 0; turn < 2; turn++)
	{
		now = omb_time_now() + *clock;
		if (ask(http, json, now, response, err) != OMB_OK)
			return err->status;
		if (response->status != 400 || !omb_http_date(response, &date) ||
			(date - now < SKEW && now - date < SKEW))
			break;
		*clock = date - omb_time_now();
	}
	if (response->status == 200)
	{
		token->text = omb_json_get_text(response->body.data,
										response->body.len, "access_token");
		if (is_plain(token->text) && token->text[0] != '\0' &&
			omb_json_get_number(response->body.data, response->body.len,
								"expires_in", &seconds) &&
			seconds > 0 && seconds < 7 * 24 * HOUR)
		{
			token->until = now + seconds * 1000000;
			return OMB_OK;
		}
		omb_google_token_wipe(token);
		(void) omb_error_set(err, OMB_FAILED,
							 "could not get a token of the Google service "
							 "account: the server's answer makes no sense");
	}
	else
		explain(response, err);
	response->failure =
		omb_retry_status(response->status) ? OMB_HTTP_TIMEOUT : OMB_HTTP_OTHER;
	return err->status;
}
