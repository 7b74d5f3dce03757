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

/* Whose credentials they are to be. */
typedef struct kind
{
	bool has_keys;	/* a pair of keys */
	bool has_token; /* that goes with them */
	bool has_azure;
	bool has_login; /* a user's, with values that may have spaces */
	bool may_be_json;
	const char *lines; /* for a hint */
	const char *id;	   /* environment */
	const char *secret;
	const char *token;
	const char *name;
} kind;

static const kind s3 = { .has_keys = true,
						 .has_token = true,
						 .lines = "\"access_key_id=...\", "
								  "\"secret_access_key=...\" or "
								  "\"session_token=...\"",
						 .id = "AWS_ACCESS_KEY_ID",
						 .secret = "AWS_SECRET_ACCESS_KEY",
						 .token = "AWS_SESSION_TOKEN",
						 .name = "S3" };
static const kind google = { .has_keys = true,
							 .may_be_json = true,
							 .lines = "\"access_key_id=...\" or "
									  "\"secret_access_key=...\"",
							 .id = "GOOGLE_ACCESS_KEY_ID",
							 .secret = "GOOGLE_SECRET_ACCESS_KEY",
							 .name = "Google" };
static const kind azure = { .has_azure = true,
							.lines = "\"account_key=...\" or "
									 "\"sas_token=...\"",
							.id = "AZURE_STORAGE_KEY",
							.secret = "AZURE_STORAGE_SAS_TOKEN",
							.name = "Azure" };

static const kind login = { .has_login = true,
							.lines = "\"user=...\", \"password=...\", "
									 "\"key_file=...\" or "
									 "\"passphrase=...\"" };

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
	wipe(&credentials->account_key);
	wipe(&credentials->sas_token);
	wipe(&credentials->json);
	wipe(&credentials->user);
	wipe(&credentials->password);
	wipe(&credentials->key_file);
	wipe(&credentials->passphrase);
	wipe(&credentials->proxy);
	wipe(&credentials->proxy_user);
	wipe(&credentials->proxy_password);
	credentials->expires = 0;
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
		   same(a->session_token, b->session_token) &&
		   same(a->account_key, b->account_key) &&
		   same(a->sas_token, b->sas_token) && same(a->json, b->json) &&
		   same(a->user, b->user) && same(a->password, b->password) &&
		   same(a->key_file, b->key_file) &&
		   same(a->passphrase, b->passphrase) && same(a->proxy, b->proxy) &&
		   same(a->proxy_user, b->proxy_user) &&
		   same(a->proxy_password, b->proxy_password);
}

/* Where a value of that name goes; NULL when there is no such name. */
static char **
place(const kind *k, omb_credentials *out, const char *name, size_t len)
{
	struct
	{
		const char *name;
		char **value;
		bool known;
	} all[] = {
		{ "access_key_id", &out->access_key_id, k->has_keys },
		{ "secret_access_key", &out->secret_access_key, k->has_keys },
		{ "session_token", &out->session_token, k->has_token },
		{ "account_key", &out->account_key, k->has_azure },
		{ "sas_token", &out->sas_token, k->has_azure },
		{ "user", &out->user, k->has_login },
		{ "password", &out->password, k->has_login },
		{ "key_file", &out->key_file, k->has_login },
		{ "passphrase", &out->passphrase, k->has_login },
		{ "proxy", &out->proxy, true },
		{ "proxy_user", &out->proxy_user, true },
		{ "proxy_password", &out->proxy_password, true },
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].known && strlen(all[i].name) == len &&
			strncmp(all[i].name, name, len) == 0)
			return all[i].value;
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

/* Is all there that has to be? */
static omb_status
check(const kind *k, const char *path, const omb_credentials *c,
	  omb_error *err)
{
	const char *missing = NULL;

	if (k->has_keys && c->access_key_id == NULL)
		missing = "access_key_id";
	else if (k->has_keys && c->secret_access_key == NULL)
		missing = "secret_access_key";
	else if (k->has_azure && c->account_key == NULL && c->sas_token == NULL)
		missing = "account_key and no sas_token";
	if (missing != NULL)
		return omb_error_set(err, OMB_USAGE,
							 "credentials file \"%s\" has no %s", path,
							 missing);
	if (c->proxy != NULL && strchr(c->proxy, '@') != NULL)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "proxy in credentials file \"%s\" makes no sense",
							 path);
		omb_error_hint(err, "Write proxy=http://host:port, and the user as "
							"proxy_user=... and proxy_password=....");
		return err->status;
	}
	if (c->account_key != NULL && c->sas_token != NULL)
		return omb_error_set(err, OMB_USAGE,
							 "credentials file \"%s\" has both account_key "
							 "and sas_token",
							 path);
	return OMB_OK;
}

static omb_status
parse(const kind *k, const char *path, char *text, omb_credentials *out,
	  omb_error *err)
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
						place(k, out, text, (size_t) (equals - text));
			if (value == NULL || *value != NULL ||
				!is_value(equals + 1, len - (size_t) (equals + 1 - text),
						  k->has_login))
			{
				(void) omb_error_set(err, OMB_USAGE,
									 "cannot read line %d of credentials file "
									 "\"%s\"",
									 number, path);
				omb_error_hint(err,
							   "Each line is %s, \"proxy=...\", "
							   "\"proxy_user=...\" or "
							   "\"proxy_password=...\", each at most once.",
							   k->lines);
				return err->status;
			}
			*value =
				omb_format("%.*s", (int) (len - (size_t) (equals + 1 - text)),
						   equals + 1);
		}
		text = next;
	}
	return check(k, path, out, err);
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
read_file(const kind *k, const char *path, omb_credentials *out,
		  omb_error *err)
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
	if (status == OMB_OK && k->may_be_json && content.len > 0 &&
		content.data[0] == '{')
		out->json = omb_strdup(omb_buf_text(&content));
	else if (status == OMB_OK)
		status = parse(k, path, omb_buf_text(&content), out, err);
	if (content.data != NULL)
		omb_wipe(content.data, content.cap);
	omb_buf_free(&content);
	return status;
}

/* A value that can be used, in new memory; or NULL. */
static char *
from_environment(const char *name)
{
	const char *value = name != NULL ? getenv(name) : NULL;

	return value != NULL && is_value(value, strlen(value), false) ?
			   omb_strdup(value) :
			   NULL;
}

static omb_status
read_environment(const kind *k, omb_credentials *out, omb_error *err)
{
	if (k->has_azure)
	{
		out->account_key = from_environment(k->id);
		if (out->account_key == NULL)
			out->sas_token = from_environment(k->secret);
		if (out->account_key != NULL || out->sas_token != NULL)
			return OMB_OK;
	}
	else
	{
		out->access_key_id = from_environment(k->id);
		out->secret_access_key = from_environment(k->secret);
		out->session_token = from_environment(k->token);
		if (out->access_key_id != NULL && out->secret_access_key != NULL)
			return OMB_OK;
	}
	(void) omb_error_set(err, OMB_USAGE, "there are no %s credentials",
						 k->name);
	omb_error_hint(err,
				   "Give a credentials file, or set %s %s %s in the "
				   "environment.",
				   k->id, k->has_azure ? "or" : "and", k->secret);
	return err->status;
}

static omb_status
read_kind(const kind *k, const char *path, omb_credentials *out,
		  omb_error *err)
{
	omb_status status;

	memset(out, 0, sizeof(*out));
	status = path != NULL ? read_file(k, path, out, err) :
							read_environment(k, out, err);
	if (status != OMB_OK)
		omb_credentials_wipe(out);
	return status;
}

omb_status
omb_credentials_read(const char *path, omb_credentials *out, omb_error *err)
{
	return read_kind(&s3, path, out, err);
}

omb_status
omb_credentials_read_google(const char *path, omb_credentials *out,
							omb_error *err)
{
	return read_kind(&google, path, out, err);
}

omb_status
omb_credentials_read_azure(const char *path, omb_credentials *out,
						   omb_error *err)
{
	char *token;

	if (read_kind(&azure, path, out, err) != OMB_OK || out->sas_token == NULL)
		return err->status;
	/* as it is shown to be copied */
	token = out->sas_token;
	if (token[0] == '?')
		memmove(token, token + 1, strlen(token));
	if (strpbrk(token, "?#/") == NULL && strstr(token, "sig=") != NULL)
		return OMB_OK;
	omb_credentials_wipe(out);
	(void) omb_error_set(err, OMB_USAGE, "sas_token of Azure makes no sense");
	omb_error_hint(err, "It begins with \"sv=\" or \"sp=\" and has no address "
						"in front of it.");
	return err->status;
}

omb_status
omb_credentials_read_login(const char *path, omb_credentials *out,
						   omb_error *err)
{
	return read_kind(&login, path, out, err);
}
