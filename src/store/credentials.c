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

void
omb_login_secrets_wipe(omb_login_secrets *secrets)
{
	wipe(&secrets->user);
	wipe(&secrets->password);
	wipe(&secrets->key_file);
	wipe(&secrets->passphrase);
}

/* A name that a line may have, and where its value goes. */
typedef struct field
{
	const char *name;
	char **value;
	bool may_have_space;
} field;

typedef struct form
{
	const field *field;
	size_t count;
	const char *hint; /* how the lines look */
} form;

static const field *
find_field(const form *f, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < f->count; i++)
		if (strlen(f->field[i].name) == len &&
			strncmp(f->field[i].name, name, len) == 0)
			return &f->field[i];
	return NULL;
}

/* They go into header lines: control characters would end those. */
static bool
is_value(const char *text, size_t len, bool may_have_space)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char) text[i] < ' ' || text[i] == 0x7f ||
			(text[i] == ' ' && !may_have_space))
			return false;
	return len > 0;
}

static omb_status
parse(const char *path, char *text, const form *f, omb_error *err)
{
	int number = 0;

	while (*text != '\0')
	{
		size_t len = strcspn(text, "\n");
		char *next = text + len + (text[len] == '\n');
		char *equals;
		const field *found;

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
			found = equals == NULL ?
						NULL :
						find_field(f, text, (size_t) (equals - text));
			if (found == NULL || *found->value != NULL ||
				!is_value(equals + 1, len - (size_t) (equals + 1 - text),
						  found->may_have_space))
			{
				(void) omb_error_set(err, OMB_USAGE,
									 "cannot read line %d of credentials file "
									 "\"%s\"",
									 number, path);
				omb_error_hint(err, "%s", f->hint);
				return err->status;
			}
			*found->value =
				omb_format("%.*s", (int) (len - (size_t) (equals + 1 - text)),
						   equals + 1);
		}
		text = next;
	}
	return OMB_OK;
}

omb_status
omb_check_private(const char *path, const char *what, omb_error *err)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return omb_error_set_errno(err, errno, "could not read %s \"%s\"",
								   what, path);
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "%s \"%s\" can be read by others", what, path);
		omb_error_hint(err, "Run: chmod 600 \"%s\"", path);
	}
	return err->status;
}

static omb_status
read_file(const char *path, const form *f, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	omb_status status;

	if (omb_check_private(path, "credentials file", err) != OMB_OK)
		return err->status;
	status = omb_file_read(path, FILE_MAX, &content, err);
	if (status == OMB_OK && content.len > 0 &&
		memchr(content.data, '\0', content.len) != NULL)
		status = omb_error_set(err, OMB_USAGE,
							   "credentials file \"%s\" is no text", path);
	if (status == OMB_OK)
		status = parse(path, omb_buf_text(&content), f, err);
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

	if (id == NULL || secret == NULL || !is_value(id, strlen(id), false) ||
		!is_value(secret, strlen(secret), false) ||
		(token != NULL && *token != '\0' &&
		 !is_value(token, strlen(token), false)))
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

static omb_status
read_keys(const char *path, omb_credentials *out, omb_error *err)
{
	const field fields[] = {
		{ "access_key_id", &out->access_key_id, false },
		{ "secret_access_key", &out->secret_access_key, false },
		{ "session_token", &out->session_token, false },
	};
	const form f = { fields, sizeof(fields) / sizeof(fields[0]),
					 "Each line is \"access_key_id=...\", "
					 "\"secret_access_key=...\" or \"session_token=...\", "
					 "each at most once." };

	if (read_file(path, &f, err) != OMB_OK ||
		(out->access_key_id != NULL && out->secret_access_key != NULL))
		return err->status;
	return omb_error_set(
		err, OMB_USAGE, "credentials file \"%s\" has no %s", path,
		out->access_key_id == NULL ? "access_key_id" : "secret_access_key");
}

omb_status
omb_credentials_read(const char *path, omb_credentials *out, omb_error *err)
{
	omb_status status;

	memset(out, 0, sizeof(*out));
	status =
		path != NULL ? read_keys(path, out, err) : read_environment(out, err);
	if (status != OMB_OK)
		omb_credentials_wipe(out);
	return status;
}

omb_status
omb_login_secrets_read(const char *path, omb_login_secrets *out,
					   omb_error *err)
{
	const field fields[] = {
		{ "user", &out->user, false },
		{ "password", &out->password, true },
		{ "key_file", &out->key_file, true },
		{ "passphrase", &out->passphrase, true },
	};
	const form f = { fields, sizeof(fields) / sizeof(fields[0]),
					 "Each line is \"user=...\", \"password=...\", "
					 "\"key_file=...\" or \"passphrase=...\", each at most "
					 "once." };

	memset(out, 0, sizeof(*out));
	if (read_file(path, &f, err) != OMB_OK)
		omb_login_secrets_wipe(out);
	return err->status;
}
