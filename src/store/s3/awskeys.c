/*
 * awskeys.c: the keys of S3 from the servers that give out temporary ones.
 */
#include "store/s3/awskeys.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crypto.h"
#include "store/cloud/cloudclient.h"
#include "store/jsonread.h"
#include "store/retry.h"
#include "store/s3/s3sign.h"
#include "store/s3/stsxml.h"

#include <stdlib.h>
#include <string.h>

#define METADATA "http://169.254.169.254"
#define CONTAINER "http://169.254.170.2"
#define KEYS_PATH "/latest/meta-data/iam/security-credentials/"
#define ANSWER_MAX ((size_t) 64 * 1024)
#define TOKEN_MAX ((size_t) 32 * 1024)

static void
wipe_buf(omb_buf *buf)
{
	if (buf->data != NULL)
		omb_wipe(buf->data, buf->cap);
	omb_buf_free(buf);
}

static void
wipe_text(char *text)
{
	if (text != NULL)
		omb_wipe(text, strlen(text));
	free(text);
}

/* A variable that says something, or NULL. */
static const char *
variable(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static bool
is_key(const char *text)
{
	return text != NULL && *text != '\0' && omb_cloud_is_word(text);
}

/* All is there, and fits into headers. */
static bool
is_whole(const omb_credentials *keys)
{
	return is_key(keys->access_key_id) && is_key(keys->secret_access_key) &&
		   is_key(keys->session_token) && keys->expires > 0;
}

bool
omb_aws_keys_parse(const void *data, size_t len, omb_credentials *out)
{
	char *expires = omb_json_get_text(data, len, "Expiration");
	char *code = omb_json_get_text(data, len, "Code");
	bool good;

	memset(out, 0, sizeof(*out));
	out->access_key_id = omb_json_get_text(data, len, "AccessKeyId");
	out->secret_access_key = omb_json_get_text(data, len, "SecretAccessKey");
	out->session_token = omb_json_get_text(data, len, "Token");
	good = expires != NULL && omb_time_parse(expires, &out->expires) &&
		   (code == NULL || strcmp(code, "Success") == 0) && is_whole(out);
	free(code);
	free(expires);
	if (!good)
		omb_credentials_wipe(out);
	return good;
}

/* ---- asking ---- */

/* A server that gives out keys, and how long to wait for it. */
typedef struct asking
{
	omb_http *http;
	omb_retry_policy policy;
	const char *who; /* for messages */
	omb_http_response response;
} asking;

static void
begin_asking(asking *a, const char *who, const char *proxy, uint32_t tries)
{
	omb_http_options options = { .proxy = proxy,
								 .connect_seconds = tries > 1 ? 5 : 1,
								 .stall_seconds = tries > 1 ? 20 : 2 };

	memset(a, 0, sizeof(*a));
	a->http = omb_http_new(&options);
	a->who = who;
	a->policy.tries = tries;
	a->policy.first = 200;
	a->policy.longest = 2000;
	a->policy.seconds = 20;
}

static void
end_asking(asking *a)
{
	wipe_buf(&a->response.body);
	omb_http_response_free(&a->response);
	omb_http_free(a->http);
}

/* Ask until there is an answer 200; header and body may be NULL. */
static omb_status
ask(asking *a, const char *method, const char *url, const char *header,
	const omb_buf *body, omb_error *err)
{
	omb_http_request request = { .method = method,
								 .url = url,
								 .header = &header,
								 .header_count = header != NULL ? 1 : 0,
								 .body = body != NULL ? body->data : NULL,
								 .body_len = body != NULL ? body->len : 0,
								 .body_max = ANSWER_MAX };
	omb_retry retry;
	bool may_pass;

	omb_retry_begin(&retry, &a->policy);
	do
	{
		(void) omb_http_perform(a->http, &request, &a->response, err);
		may_pass = a->response.failure != OMB_HTTP_TLS;
		if (err->status == OMB_OK && a->response.status == 200)
			return OMB_OK;
		if (err->status == OMB_OK)
		{
			may_pass = omb_retry_status(a->response.status);
			(void) omb_error_set(err, OMB_FAILED, "server answered %d",
								 a->response.status);
		}
	} while (may_pass && omb_retry_again(&retry, 0, err));
	return omb_error_context(err, "could not get keys of S3 from %s", a->who);
}

static omb_status
nonsense(const asking *a, omb_error *err)
{
	return omb_error_set(err, OMB_FAILED,
						 "could not get keys of S3 from %s: its answer makes "
						 "no sense",
						 a->who);
}

/* ---- the machine ---- */

static omb_status
read_metadata(omb_credentials *out, omb_error *err)
{
	const char *named = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *base = named != NULL ? named : METADATA;
	size_t len = strlen(base);
	char *token = NULL, *url, *role = NULL;
	asking a;

	/* where there is no such service nobody shall wait for it */
	begin_asking(&a, "the machine's metadata service", "",
				 named != NULL ? 4 : 1);
	while (len > 0 && base[len - 1] == '/')
		len--;
	url = omb_format("%.*s/latest/api/token", (int) len, base);
	(void) ask(&a, "PUT", url, "x-aws-ec2-metadata-token-ttl-seconds: 300",
			   NULL, err);
	free(url);
	if (err->status == OMB_OK)
	{
		token = omb_format("x-aws-ec2-metadata-token: %s",
						   omb_buf_text(&a.response.body));
		if (!is_key(omb_buf_text(&a.response.body)))
			(void) nonsense(&a, err);
	}
	url = omb_format("%.*s" KEYS_PATH, (int) len, base);
	if (err->status == OMB_OK &&
		ask(&a, "GET", url, token, NULL, err) == OMB_OK)
	{
		role = omb_strdup(omb_buf_text(&a.response.body));
		role[strcspn(role, "\r\n")] = '\0';
		if (!is_key(role) || strpbrk(role, "/?#%") != NULL)
			(void) nonsense(&a, err);
	}
	free(url);
	if (err->status == OMB_OK)
	{
		url = omb_format("%.*s" KEYS_PATH "%s", (int) len, base, role);
		if (ask(&a, "GET", url, token, NULL, err) == OMB_OK &&
			!omb_aws_keys_parse(a.response.body.data, a.response.body.len,
								out))
			(void) nonsense(&a, err);
		free(url);
	}
	free(role);
	wipe_text(token);
	end_asking(&a);
	return err->status;
}

/* ---- the container ---- */

bool
omb_aws_container_url_is_safe(const char *url)
{
	static const char *const near[] = { "127.0.0.1",	  "localhost",
										"[::1]",		  "169.254.170.2",
										"169.254.170.23", "[fd00:ec2::23]" };
	size_t i, len;

	if (!omb_cloud_is_word(url))
		return false;
	if (strncmp(url, "https://", 8) == 0)
		return true;
	if (strncmp(url, "http://", 7) != 0)
		return false;
	for (i = 0; i < sizeof(near) / sizeof(near[0]); i++)
	{
		len = strlen(near[i]);
		if (strncmp(url + 7, near[i], len) == 0 &&
			strchr(":/", url[7 + len]) != NULL)
			return true;
	}
	return false;
}

/* A file's content without the end of its last line. */
static omb_status
read_token(const char *path, omb_buf *out, omb_error *err)
{
	if (omb_file_read(path, TOKEN_MAX, out, err) != OMB_OK)
		return err->status;
	while (out->len > 0 && strchr("\r\n", out->data[out->len - 1]) != NULL)
		out->len--;
	if (out->len == 0 || memchr(out->data, '\0', out->len) != NULL ||
		!omb_cloud_is_word(omb_buf_text(out)))
		return omb_error_set(err, OMB_USAGE, "file \"%s\" holds no token",
							 path);
	return OMB_OK;
}

static omb_status
read_container(const char *full, const char *relative, omb_credentials *out,
			   omb_error *err)
{
	const char *file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	char *url = full != NULL ? omb_strdup(full) :
							   omb_format("%s%s", CONTAINER, relative);
	omb_buf content = OMB_BUF_INIT;
	char *header = NULL;
	asking a;

	begin_asking(&a, "the container's server", "", 4);
	if (!omb_aws_container_url_is_safe(url))
		(void) omb_error_set(err, OMB_REFUSED,
							 "AWS_CONTAINER_CREDENTIALS_FULL_URI names "
							 "neither a server of this machine nor one with "
							 "TLS");
	else if (file != NULL && read_token(file, &content, err) == OMB_OK)
		token = omb_buf_text(&content);
	if (err->status == OMB_OK && token != NULL && !omb_cloud_is_word(token))
		(void) omb_error_set(err, OMB_USAGE,
							 "AWS_CONTAINER_AUTHORIZATION_TOKEN is no token");
	if (err->status == OMB_OK && token != NULL)
		header = omb_format("authorization: %s", token);
	if (err->status == OMB_OK &&
		ask(&a, "GET", url, header, NULL, err) == OMB_OK &&
		!omb_aws_keys_parse(a.response.body.data, a.response.body.len, out))
		(void) nonsense(&a, err);
	end_asking(&a);
	wipe_text(header);
	wipe_buf(&content);
	free(url);
	return err->status;
}

/* ---- a web identity ---- */

static char *
sts_url(void)
{
	const char *url = variable("AWS_ENDPOINT_URL_STS");
	const char *region = variable("AWS_REGION");

	if (region == NULL)
		region = variable("AWS_DEFAULT_REGION");
	if (url != NULL)
		return omb_strdup(url);
	if (region == NULL)
		return omb_strdup("https://sts.amazonaws.com/");
	return omb_format("https://sts.%s.amazonaws.com%s/", region,
					  strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

static omb_status
read_web_identity(const char *file, const char *role, omb_credentials *out,
				  omb_error *err)
{
	const char *session = variable("AWS_ROLE_SESSION_NAME");
	omb_buf token = OMB_BUF_INIT;
	omb_buf form = OMB_BUF_INIT;
	omb_sts_keys keys;
	omb_cloud_error problem;
	char *url;
	asking a;

	/* as it is now: it is replaced before its time is over */
	if (read_token(file, &token, err) != OMB_OK)
	{
		wipe_buf(&token);
		return omb_error_context(err, "AWS_WEB_IDENTITY_TOKEN_FILE");
	}
	url = sts_url();
	begin_asking(&a, "the Security Token Service", NULL, 4);
	omb_buf_printf(&form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
						  "&RoleArn=");
	omb_s3_encode(&form, role, false);
	omb_buf_printf(&form, "&RoleSessionName=");
	omb_s3_encode(&form, session != NULL ? session : "omsupply_backup", false);
	omb_buf_printf(&form, "&WebIdentityToken=");
	omb_s3_encode(&form, omb_buf_text(&token), false);
	if (ask(&a, "POST", url, "content-type: application/x-www-form-urlencoded",
			&form, err) != OMB_OK)
	{
		if (omb_sts_parse_error(a.response.body.data, a.response.body.len,
								&problem))
			omb_error_detail(err, "The server says: %.60s %s", problem.code,
							 problem.message);
		omb_error_hint(err, "Check AWS_ROLE_ARN, and that the role trusts "
							"the token in AWS_WEB_IDENTITY_TOKEN_FILE.");
	}
	else if (!omb_sts_parse(a.response.body.data, a.response.body.len, &keys))
		(void) nonsense(&a, err);
	else
	{
		out->access_key_id = keys.id;
		out->secret_access_key = keys.secret;
		out->session_token = keys.token;
		out->expires = keys.expires;
		if (!is_whole(out))
			(void) nonsense(&a, err);
	}
	end_asking(&a);
	free(url);
	wipe_buf(&form);
	wipe_buf(&token);
	return err->status;
}

/* ---- which ---- */

omb_status
omb_aws_keys_read(const char *path, omb_credentials *out, omb_error *err)
{
	const char *file = variable("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = variable("AWS_ROLE_ARN");
	const char *full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *disabled = variable("AWS_EC2_METADATA_DISABLED");
	omb_error none;

	memset(out, 0, sizeof(*out));
	if (path != NULL || variable("AWS_ACCESS_KEY_ID") != NULL)
		return omb_credentials_read(path, out, err);
	if (file != NULL && role != NULL)
		(void) read_web_identity(file, role, out, err);
	else if (full != NULL || relative != NULL)
		(void) read_container(full, relative, out, err);
	else if (omb_credentials_read(NULL, out, err) != OMB_OK &&
			 (disabled == NULL || strcmp(disabled, "true") != 0))
	{
		none = *err;
		omb_error_clear(err);
		/* few machines have such a service: then it is keys that are missing */
		if (read_metadata(out, err) != OMB_OK &&
			variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") == NULL)
		{
			omb_error_detail(&none,
							 "There is no metadata service either: "
							 "%.600s.",
							 err->message);
			*err = none;
		}
	}
	if (err->status != OMB_OK)
		omb_credentials_wipe(out);
	return err->status;
}
