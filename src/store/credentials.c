/*
 * credentials.c: reading the keys of a cloud store.
 */
#include "store/credentials.h"

#include "base/buffer.h"
#include "base/file.h"
#include "codec/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX ((size_t) 16 * 1024)

static void
wipe(char **text)
{
	if (*text != NULL)
		omb_wipe(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

void
omb_credentials_wipe(omb_credentials *credentials)
{
	wipe(&credentials->access_key_id);
	wipe(&credentials->secret_access_key);
	wipe(&credentials->session_token);
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
omb_credentials_same(const omb_credentials *a, const omb_credentials *b)
{
	return same(a->access_key_id, b->access_key_id) &&
		   same(a->secret_access_key, b->secret_access_key) &&
		   same(a->session_token, b->session_token);
}

/* Where a value of that name goes; NULL when there is no such name. */
static char **
place(omb_credentials *out, const char *name, size_t len)
{
	struct
	{
		const char *name;
		char **value;
	} known[] = {
		{ "access_key_id", &out->access_key_id },
		{ "secret_access_key", &out->secret_access_key },
		{ "session_token", &out->session_token },
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len &&
			strncmp(known[i].name, name, len) == 0)
			return known[i].value;
	return NULL;
}

/* They go into header lines: control characters would end those. */
static bool
is_value(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char) text[i] <= ' ' || text[i] == 0x7f)
			return false;
	return len > 0;
}

static omb_status
parse(const char *path, char *text, omb_credentials *out, omb_error *err)
{
	int number = 0;

	while (*text != '\0')
	{
		size_t len = strcspn(text, "\n");
		char *next = text + len + (text[len] == '\n');
		char *equals;
		char **value;

		number++;
		while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL)
			len--;
		while (len > 0 && (*text == ' ' || *text == '\t'))
		{
			text++;
			len--;
		}
		if (len > 0 && *text != '#')
		{
			equals = memchr(text, '=', len);
			value = equals == NULL ?
						NULL :
						place(out, text, (size_t) (equals - text));
			if (value == NULL || *value != NULL ||
				!is_value(equals + 1, len - (size_t) (equals + 1 - text)))
			{
				(void) omb_error_set(err, OMB_USAGE,
									 "cannot read line %d of credentials file "
									 "\"%s\"",
									 number, path);
				omb_error_hint(err, "Each line is \"access_key_id=...\", "
									"\"secret_access_key=...\" or "
									"\"session_token=...\", each at most "
									"once.");
				return err->status;
			}
			*value =
				omb_format("%.*s", (int) (len - (size_t) (equals + 1 - text)),
						   equals + 1);
		}
		text = next;
	}
	if (out->access_key_id != NULL && out->secret_access_key != NULL)
		return OMB_OK;
	(void) omb_error_set(
		err, OMB_USAGE, "credentials file \"%s\" has no %s", path,
		out->access_key_id == NULL ? "access_key_id" : "secret_access_key");
	return err->status;
}

static omb_status
read_file(const char *path, omb_credentials *out, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	struct stat st;
	omb_status status;

	if (stat(path, &st) != 0)
		return omb_error_set_errno(
			err, errno, "could not read credentials file \"%s\"", path);
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "credentials file \"%s\" can be read by others",
							 path);
		omb_error_hint(err, "Run: chmod 600 \"%s\"", path);
		return err->status;
	}
	status = omb_file_read(path, FILE_MAX, &content, err);
	if (status == OMB_OK && content.len > 0 &&
		memchr(content.data, '\0', content.len) != NULL)
		status = omb_error_set(err, OMB_USAGE,
							   "credentials file \"%s\" is no text", path);
	if (status == OMB_OK)
		status = parse(path, omb_buf_text(&content), out, err);
	if (content.data != NULL)
		omb_wipe(content.data, content.cap);
	omb_buf_free(&content);
	return status;
}

static omb_status
read_environment(omb_credentials *out, omb_error *err)
{
	const char *id = getenv("AWS_ACCESS_KEY_ID");
	const char *secret = getenv("AWS_SECRET_ACCESS_KEY");
	const char *token = getenv("AWS_SESSION_TOKEN");

	if (id == NULL || secret == NULL || !is_value(id, strlen(id)) ||
		!is_value(secret, strlen(secret)) ||
		(token != NULL && *token != '\0' && !is_value(token, strlen(token))))
	{
		(void) omb_error_set(err, OMB_USAGE, "there are no S3 credentials");
		omb_error_hint(err, "Give a credentials file, or set "
							"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in "
							"the environment.");
		return err->status;
	}
	out->access_key_id = omb_strdup(id);
	out->secret_access_key = omb_strdup(secret);
	if (token != NULL && *token != '\0')
		out->session_token = omb_strdup(token);
	return OMB_OK;
}

omb_status
omb_credentials_read(const char *path, omb_credentials *out, omb_error *err)
{
	omb_status status;

	memset(out, 0, sizeof(*out));
	status =
		path != NULL ? read_file(path, out, err) : read_environment(out, err);
	if (status != OMB_OK)
		omb_credentials_wipe(out);
	return status;
}
