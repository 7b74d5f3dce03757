/*
 * s3lock.c: S3's object lock.
 */
#include "store/s3/s3lock.h"

#include "base/base64.h"
#include "codec/crypto.h"
#include "store/s3/s3xml.h"

#include <string.h>

#define LOCK_HEADER "x-amz-object-lock-"

static const char *
mode_word(const omb_object_lock *lock)
{
	return lock->compliance ? "COMPLIANCE" : "GOVERNANCE";
}

static void
add_header(omb_cloud_call *call, const char *header)
{
	call->header[call->header_count++] = header;
}

/* ---- new objects ---- */

void
omb_s3_lock_headers(omb_cloud_client *client, omb_cloud_call *call,
					omb_buf *text)
{
	omb_lock_rule rule = client->provider->lock_rule(client);
	size_t first = text->len;
	size_t second;
	omb_object_lock lock;
	char time[OMB_LOCK_TIME_TEXT];

	if (!omb_lock_rule_covers(&rule, call->name))
		return;
	omb_lock_rule_begin(&rule, omb_cloud_client_now(client), &lock);
	omb_buf_printf(text, LOCK_HEADER "mode: %s", mode_word(&lock));
	omb_buf_put_u8(text, '\0');
	second = text->len;
	omb_buf_printf(text, LOCK_HEADER "retain-until-date: %s",
				   omb_lock_time_format(lock.until, time));
	omb_buf_put_u8(text, '\0');
	add_header(call, (const char *) text->data + first);
	add_header(call, (const char *) text->data + second);
}

static void
put_md5(omb_cloud_call *call, omb_buf *text)
{
	uint8_t md5[OMB_MD5_SIZE];
	size_t at = text->len;

	/* without it the server says what it lacks */
	if (!omb_md5(call->body_len > 0 ? call->body : "", call->body_len, md5))
		return;
	omb_buf_printf(text, "content-md5: ");
	omb_base64_put(text, md5, sizeof(md5));
	omb_buf_put_u8(text, '\0');
	add_header(call, (const char *) text->data + at);
}

void
omb_s3_lock_md5(const omb_cloud_client *client, omb_cloud_call *call,
				omb_buf *text)
{
	omb_lock_rule rule = client->provider->lock_rule(client);

	if (omb_lock_rule_covers(&rule, call->name))
		put_md5(call, text);
}

void
omb_s3_put_headers(omb_cloud_client *client, const void *data, size_t len,
				   omb_cloud_call *call, omb_buf *text)
{
	/* for all: headers point into it */
	(void) omb_buf_reserve(text, 512);
	omb_s3_lock_headers(client, call, text);
	omb_s3_lock_md5(client, call, text);
}

bool
omb_s3_lock_is_asked(const omb_cloud_call *call)
{
	size_t i;

	for (i = 0; i < call->header_count; i++)
		if (strncmp(call->header[i], LOCK_HEADER, strlen(LOCK_HEADER)) == 0)
			return true;
	return call->query != NULL && strcmp(call->query, "retention=") == 0;
}

/* ---- objects that are there ---- */

omb_status
omb_s3_object_lock(omb_cloud_client *client, const char *name,
				   omb_object_lock *lock, omb_error *err)
{
	/* the second is Ceph's */
	static const char *const no_lock[] = {
		"NoSuchObjectLockConfiguration",
		"ObjectLockConfigurationNotFoundError", NULL
	};
	omb_cloud_call call = { .action = "look at the lock of object",
							.method = "GET",
							.name = name,
							.query = "retention=" };
	omb_cloud_answer answer = { 0 };

	memset(lock, 0, sizeof(*lock));
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
	{
		lock->is_set =
			omb_s3_parse_retention(answer.http.body.data, answer.http.body.len,
								   &lock->compliance, &lock->until);
		if (!lock->is_set)
			(void) omb_cloud_nonsense(client, &call, err);
	}
	else if (omb_cloud_is_code(&answer, no_lock))
		omb_error_clear(err);
	/* a mark that says that it was removed knows no such method */
	else if (strcmp(answer.error.code, client->provider->absent) == 0 ||
			 answer.http.status == 405)
		err->status = OMB_NOT_FOUND;
	omb_cloud_answer_free(&answer);
	return err->status;
}

omb_status
omb_s3_set_object_lock(omb_cloud_client *client, const char *name,
					   const omb_object_lock *lock, omb_error *err)
{
	omb_cloud_call call = { .action = "lock object",
							.method = "PUT",
							.name = name,
							.query = "retention=" };
	omb_cloud_answer answer = { 0 };
	omb_buf body = OMB_BUF_INIT;
	omb_buf text = OMB_BUF_INIT;
	char time[OMB_LOCK_TIME_TEXT];

	omb_buf_printf(&body,
				   "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/"
				   "\"><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate>"
				   "</Retention>",
				   mode_word(lock), omb_lock_time_format(lock->until, time));
	call.body = body.data;
	call.body_len = body.len;
	put_md5(&call, &text);
	if (omb_cloud_do(client, &call, &answer, err) != OMB_OK &&
		(strcmp(answer.error.code, client->provider->absent) == 0 ||
		 answer.http.status == 405))
		err->status = OMB_NOT_FOUND;
	omb_cloud_answer_free(&answer);
	omb_buf_free(&text);
	omb_buf_free(&body);
	return err->status;
}

/* ---- the bucket ---- */

/* One question; false when the answer is none, for whatever reason. */
static bool
ask(omb_cloud_client *client, const char *query,
	bool (*parse)(const void *data, size_t len, bool *enabled), bool *enabled,
	omb_error *err)
{
	omb_cloud_call call = { .action = "look at the bucket",
							.method = "GET",
							.query = query };
	omb_cloud_answer answer = { 0 };
	bool known = false;

	*enabled = false;
	if (omb_cloud_do(client, &call, &answer, err) == OMB_OK)
		known = parse(answer.http.body.data, answer.http.body.len, enabled);
	else if (answer.http.status != 0)
	{
		known = strcmp(answer.error.code,
					   "ObjectLockConfigurationNotFoundError") == 0;
		omb_error_clear(err);
	}
	omb_cloud_answer_free(&answer);
	return known;
}

omb_status
omb_s3_lock_place(omb_cloud_client *client, omb_lock_place *place,
				  omb_error *err)
{
	place->is_known = ask(client, "object-lock=", omb_s3_parse_lock_config,
						  &place->can_lock, err);
	if (err->status == OMB_OK)
		(void) ask(client, "versioning=", omb_s3_parse_versioning,
				   &place->is_versioned, err);
	/* there is no lock without versions */
	place->is_versioned = place->is_versioned || place->can_lock;
	return err->status;
}
