/*
 * url.c: naming stores by URL.
 */
#include "store/url.h"

#include "base/buffer.h"
#include "base/file.h"
#include "store/directory.h"
#include "store/s3.h"

#include <stdlib.h>
#include <string.h>

/* Schemes of stores that are planned for. */
static const char *const planned[] = { "azblob", "gs", "sftp", "webdav",
									   "webdavs" };

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Replace %XX; NULL when that is not well formed or makes a zero byte. */
static char *
decode(const char *text, size_t len)
{
	omb_buf out = OMB_BUF_INIT;
	size_t i;

	for (i = 0; i < len; i++)
	{
		int high, low;

		if (text[i] != '%')
		{
			omb_buf_put(&out, text + i, 1);
			continue;
		}
		high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
		low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
		if (high < 0 || low < 0 || high + low == 0)
		{
			omb_buf_free(&out);
			return NULL;
		}
		omb_buf_put_u8(&out, (uint8_t) (high * 16 + low));
		i += 2;
	}
	return omb_buf_text(&out);
}

/* Length of "scheme" when text begins with "scheme://", else 0. */
static size_t
scheme_length(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz"
							  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

	return strncmp(text + len, "://", 3) == 0 ? len : 0;
}

static bool
parse_options(const char *text, omb_url *out)
{
	while (*text != '\0')
	{
		size_t len = strcspn(text, "&");
		const char *equals = memchr(text, '=', len);
		omb_url_option *option = &out->option[out->option_count];

		if (equals == NULL || equals == text ||
			out->option_count == OMB_URL_OPTIONS_MAX)
			return false;
		option->name = decode(text, (size_t) (equals - text));
		option->value = decode(equals + 1, len - (size_t) (equals - text) - 1);
		out->option_count++;
		if (option->name == NULL || option->value == NULL)
			return false;
		text += len;
		if (*text == '&')
			text++;
	}
	return true;
}

/* What is behind "scheme://". */
static bool
parse_rest(const char *text, omb_url *out)
{
	size_t host = strcspn(text, "/?#");
	size_t path = strcspn(text + host, "?#");
	const char *at = text + host;
	const char *rest = at + path;

	if (*rest == '#')
		return false;
	out->host = decode(text, host);
	if (strcmp(out->scheme, "file") != 0)
	{
		while (path > 0 && *at == '/')
		{
			at++;
			path--;
		}
		while (path > 0 && at[path - 1] == '/')
			path--;
	}
	out->path = decode(at, path);
	return out->host != NULL && out->path != NULL &&
		   (*rest == '\0' || parse_options(rest + 1, out));
}

omb_status
omb_url_parse(const char *text, omb_url *out, omb_error *err)
{
	size_t len = scheme_length(text);
	size_t i;

	memset(out, 0, sizeof(*out));
	if (len == 0)
	{
		out->scheme = omb_strdup("file");
		out->host = omb_strdup("");
		out->path = omb_strdup(text);
		if (text[0] == '\0')
		{
			(void) omb_error_set(err, OMB_USAGE,
								 "the location of the repository is empty");
			omb_url_clear(out);
		}
		return err->status;
	}
	out->scheme = omb_format("%.*s", (int) len, text);
	for (i = 0; i < len; i++)
	{
		if (out->scheme[i] >= 'A' && out->scheme[i] <= 'Z')
			out->scheme[i] = (char) (out->scheme[i] - 'A' + 'a');
	}
	if (!parse_rest(text + len + 3, out))
	{
		/* not the text itself: somebody may have put a secret into it */
		(void) omb_error_set(err, OMB_USAGE, "invalid URL with scheme \"%s\"",
							 out->scheme);
		omb_error_hint(err, "Write it as file:///directory or "
							"s3://bucket/prefix?name=value.");
	}
	else if (strchr(out->host, '@') != NULL)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "a user or password in a URL is not allowed");
		omb_error_hint(err, "Others can see the URL. Put secrets into a file "
							"and give it as --credentials.");
	}
	else if (strcmp(out->scheme, "file") == 0 &&
			 ((out->host[0] != '\0' && strcmp(out->host, "localhost") != 0) ||
			  out->path[0] != '/' || out->option_count > 0))
	{
		(void) omb_error_set(err, OMB_USAGE, "invalid URL \"%s\"", text);
		omb_error_hint(err, "Write a local directory as file:///directory.");
	}
	if (err->status != OMB_OK)
		omb_url_clear(out);
	return err->status;
}

void
omb_url_clear(omb_url *url)
{
	size_t i;

	for (i = 0; i < url->option_count; i++)
	{
		free(url->option[i].name);
		free(url->option[i].value);
	}
	free(url->scheme);
	free(url->host);
	free(url->path);
	memset(url, 0, sizeof(*url));
}

const char *
omb_url_option_get(const omb_url *url, const char *name)
{
	size_t i;

	for (i = 0; i < url->option_count; i++)
	{
		if (strcmp(url->option[i].name, name) == 0)
			return url->option[i].value;
	}
	return NULL;
}

char *
omb_url_directory(const char *location)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_url url;
	char *directory = NULL;

	if (omb_url_parse(location, &url, &ignored) != OMB_OK)
		return NULL;
	if (strcmp(url.scheme, "file") == 0)
	{
		directory = url.path;
		url.path = NULL;
	}
	omb_url_clear(&url);
	return directory;
}

char *
omb_url_absolute(const char *location)
{
	if (scheme_length(location) > 0)
		return omb_strdup(location);
	return omb_path_absolute(location);
}

/* No store is made: say why. */
static omb_status
unknown_scheme(const omb_url *url, omb_error *err)
{
	size_t i;

	for (i = 0; i < sizeof(planned) / sizeof(planned[0]); i++)
	{
		if (strcmp(url->scheme, planned[i]) != 0)
			continue;
		(void) omb_error_set(err, OMB_UNSUPPORTED,
							 "repositories at \"%s://\" are not supported yet",
							 url->scheme);
		omb_error_hint(err, "Mirror to a directory, for example on a second "
							"disk or a share: file:///directory.");
		return err->status;
	}
	(void) omb_error_set(err, OMB_USAGE, "unknown kind of URL \"%s://\"",
						 url->scheme);
	omb_error_hint(err, "Give a directory, or a URL such as "
						"file:///directory.");
	return err->status;
}

/* The options of s3:// that are texts: taken as they are. */
static bool
set_s3_text(omb_s3_config *config, const omb_url_option *option)
{
	const struct
	{
		const char *name;
		const char **value;
	} texts[] = {
		{ "endpoint", &config->endpoint },
		{ "region", &config->region },
		{ "ca-file", &config->common.ca_file },
		{ "storage-class", &config->storage_class },
		{ "sse", &config->encryption },
		{ "kms-key", &config->kms_key_id },
	};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		if (strcmp(option->name, texts[i].name) == 0)
		{
			*texts[i].value = option->value;
			return true;
		}
	}
	return false;
}

static bool
set_s3_option(omb_s3_config *config, const omb_url_option *option)
{
	const char *value = option->value;

	if (strcmp(option->name, "style") == 0)
	{
		config->style = strcmp(value, "path") == 0 ? OMB_S3_STYLE_PATH :
													 OMB_S3_STYLE_VIRTUAL;
		return strcmp(value, "path") == 0 || strcmp(value, "virtual") == 0;
	}
	if (strcmp(option->name, "sole-user") == 0)
	{
		config->common.sole_user = strcmp(value, "yes") == 0;
		return config->common.sole_user || strcmp(value, "no") == 0;
	}
	return set_s3_text(config, option);
}

static omb_status
open_s3(const omb_url *url, const char *credentials, omb_store **out,
		omb_error *err)
{
	omb_s3_config config;
	size_t i;

	memset(&config, 0, sizeof(config));
	config.bucket = url->host;
	config.common.prefix = url->path[0] == '\0' ? NULL : url->path;
	config.common.credentials_file = credentials;
	for (i = 0; i < url->option_count; i++)
	{
		if (set_s3_option(&config, &url->option[i]))
			continue;
		(void) omb_error_set(err, OMB_USAGE,
							 "invalid option \"%s\" in URL \"s3://%s\"",
							 url->option[i].name, url->host);
		omb_error_hint(err, "Options are endpoint, region, style (path, "
							"virtual), ca-file, storage-class, sse, kms-key "
							"and sole-user (yes, no).");
		return err->status;
	}
	if (url->host[0] == '\0')
		return omb_error_set(err, OMB_USAGE,
							 "the URL \"s3://\" names no bucket");
	return omb_store_s3_new(&config, out, err);
}

omb_status
omb_store_open_url(const char *location, const char *credentials,
				   omb_store **out, omb_error *err)
{
	omb_url url;

	*out = NULL;
	if (omb_url_parse(location, &url, err) != OMB_OK)
		return err->status;
	if (strcmp(url.scheme, "file") == 0)
		*out = omb_store_directory_new(url.path);
	else if (strcmp(url.scheme, "s3") == 0)
		(void) open_s3(&url, credentials, out, err);
	else
		(void) unknown_scheme(&url, err);
	omb_url_clear(&url);
	return err->status;
}
