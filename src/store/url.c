/*
 * url.c: naming stores by URL.
 */
#include "store/url.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/location.h"
#include "base/percent.h"
#include "store/azure/azure.h"
#include "store/directory.h"
#include "store/gcs/gcs.h"
#include "store/s3/s3.h"
#include "store/sftp/sftp.h"
#include "store/webdav/webdav.h"

#include <stdlib.h>
#include <string.h>

/* Replace %XX; NULL when that is not well formed or makes a zero byte. */
static char *
decode(const char *text, size_t len)
{
	char *out = omb_malloc(len + 1);

	if (omb_percent_decode(text, len, out, len + 1))
		return out;
	free(out);
	return NULL;
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
	if (strcmp(out->scheme, "sftp") == 0)
	{
		const char *user = memchr(text, '@', host);
		size_t len = user != NULL ? (size_t) (user - text) : 0;

		/* a password stays, and is refused */
		if (len > 0 && memchr(text, ':', len) == NULL)
		{
			out->user = decode(text, len);
			if (out->user == NULL)
				return false;
			text += len + 1;
			host -= len + 1;
		}
	}
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
	free(url->user);
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
	(void) omb_error_set(err, OMB_USAGE, "unknown kind of URL \"%s://\"",
						 url->scheme);
	omb_error_hint(err, "Give a directory, or a URL such as "
						"file:///directory.");
	return err->status;
}

/* An option whose value is a text, taken as it is. */
typedef struct text_option
{
	const char *name;
	const char **value;
} text_option;

/* "yes" or "no" */
static bool
set_bool(bool *out, const char *value)
{
	*out = strcmp(value, "yes") == 0;
	return *out || strcmp(value, "no") == 0;
}

/* An option that any cloud has, or one of those texts. */
static bool
set_option(const omb_url_option *option, omb_cloud_options *common,
		   const text_option *text, size_t count)
{
	size_t i;

	if (strcmp(option->name, "sole-user") == 0)
		return set_bool(&common->sole_user, option->value);
	if (strcmp(option->name, "ca-file") == 0)
	{
		common->ca_file = option->value;
		return true;
	}
	for (i = 0; i < count; i++)
	{
		if (strcmp(option->name, text[i].name) == 0)
		{
			*text[i].value = option->value;
			return true;
		}
	}
	return false;
}

static omb_status
invalid_option(const omb_url *url, const omb_url_option *option,
			   const char *known, omb_error *err)
{
	(void) omb_error_set(err, OMB_USAGE,
						 "invalid option \"%s\" in URL \"%s://%s\"",
						 option->name, url->scheme, url->host);
	omb_error_hint(err, "Options are %s, ca-file and sole-user (yes, no).",
				   known);
	return err->status;
}

static bool
set_style(omb_s3_style *style, const char *value)
{
	*style =
		strcmp(value, "path") == 0 ? OMB_S3_STYLE_PATH : OMB_S3_STYLE_VIRTUAL;
	return strcmp(value, "path") == 0 || strcmp(value, "virtual") == 0;
}

/* What the options say of locks on objects. */
static omb_status
set_lock(const omb_url *url, omb_s3_config *config, omb_error *err)
{
	const char *reason;

	if (omb_location_lock(omb_url_option_get(url, "object-lock"),
						  omb_url_option_get(url, "lock-days"),
						  &config->lock.compliance, &config->lock.days,
						  &reason))
		return OMB_OK;
	(void) omb_error_set(err, OMB_USAGE, "invalid lock in URL \"%s://%s\": %s",
						 url->scheme, url->host, reason);
	omb_error_hint(err, "Write for example "
						"\"object-lock=governance&lock-days=30\".");
	return err->status;
}

static omb_status
open_s3(const omb_url *url, const omb_cloud_options *common, omb_store **out,
		omb_error *err)
{
	omb_s3_config config = { .common = *common, .bucket = url->host };
	const text_option text[] = {
		{ "endpoint", &config.endpoint },
		{ "region", &config.region },
		{ "storage-class", &config.storage_class },
		{ "sse", &config.encryption },
		{ "kms-key", &config.kms_key_id },
	};
	size_t i;

	config.common.prefix = url->path;
	if (set_lock(url, &config, err) != OMB_OK)
		return err->status;
	for (i = 0; i < url->option_count; i++)
	{
		const omb_url_option *option = &url->option[i];

		if (strcmp(option->name, "object-lock") == 0 ||
			strcmp(option->name, "lock-days") == 0)
			continue;
		if (strcmp(option->name, "style") == 0 ?
				!set_style(&config.style, option->value) :
				!set_option(option, &config.common, text,
							sizeof(text) / sizeof(text[0])))
			return invalid_option(url, option,
								  "endpoint, region, style (path, virtual), "
								  "storage-class, sse, kms-key, object-lock "
								  "(governance, compliance), lock-days",
								  err);
	}
	if (url->host[0] == '\0')
		return omb_error_set(err, OMB_USAGE,
							 "the URL \"s3://\" names no bucket");
	return omb_store_s3_new(&config, out, err);
}

/* azblob://account/container/prefix */
static omb_status
open_azure(const omb_url *url, const omb_cloud_options *common,
		   omb_store **out, omb_error *err)
{
	omb_azure_config config = { .common = *common, .account = url->host };
	const text_option text[] = {
		{ "endpoint", &config.endpoint },
		{ "access-tier", &config.access_tier },
	};
	size_t len = strcspn(url->path, "/");
	char *container;
	size_t i;

	config.common.prefix = url->path + len + (url->path[len] == '/');
	for (i = 0; i < url->option_count; i++)
		if (!set_option(&url->option[i], &config.common, text,
						sizeof(text) / sizeof(text[0])))
			return invalid_option(url, &url->option[i],
								  "endpoint, access-tier", err);
	if (url->host[0] == '\0' || len == 0)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "the URL \"azblob://%s\" names no container",
							 url->host);
		omb_error_hint(err, "Write it as azblob://account/container/prefix.");
		return err->status;
	}
	container = omb_format("%.*s", (int) len, url->path);
	config.container = container;
	(void) omb_store_azure_new(&config, out, err);
	free(container);
	return err->status;
}

static omb_status
open_gcs(const omb_url *url, const omb_cloud_options *common, omb_store **out,
		 omb_error *err)
{
	omb_gcs_config config = { .common = *common, .bucket = url->host };
	const text_option text[] = {
		{ "endpoint", &config.endpoint },
		{ "storage-class", &config.storage_class },
		{ "kms-key", &config.kms_key },
	};
	size_t i;

	config.common.prefix = url->path;
	for (i = 0; i < url->option_count; i++)
		if (!set_option(&url->option[i], &config.common, text,
						sizeof(text) / sizeof(text[0])))
			return invalid_option(url, &url->option[i],
								  "endpoint, storage-class, kms-key", err);
	if (url->host[0] == '\0')
		return omb_error_set(err, OMB_USAGE,
							 "the URL \"gs://\" names no bucket");
	return omb_store_gcs_new(&config, out, err);
}

/*
 * Cut "host:port", where an IPv6 address is in brackets, into both; false when
 * it is neither. Points into text, which is changed; *port may become NULL.
 */
static bool
split_port(char *text, const char **host, const char **port)
{
	char *colon = strrchr(text, ':');
	char *bracket = strchr(text, ']');

	*host = text;
	*port = NULL;
	if (text[0] == '[')
	{
		if (bracket == NULL || (bracket[1] != '\0' && bracket[1] != ':'))
			return false;
		*host = text + 1;
		*bracket = '\0';
		colon = bracket[1] == ':' ? bracket + 1 : NULL;
	}
	else if (bracket != NULL || strchr(text, ':') != colon)
		return false;
	if (colon != NULL)
	{
		*colon = '\0';
		*port = colon + 1;
	}
	return true;
}

/* sftp://user@host:port/directory */
static omb_status
open_sftp(const omb_url *url, const omb_cloud_options *common, omb_store **out,
		  omb_error *err)
{
	omb_sftp_config config = { .common = *common, .user = url->user };
	const text_option text[] = {
		{ "host-key", &config.host_key },
		{ "known-hosts", &config.known_hosts },
	};
	size_t i;

	config.common.prefix = url->path;
	for (i = 0; i < url->option_count; i++)
		if (!set_option(&url->option[i], &config.common, text,
						sizeof(text) / sizeof(text[0])) ||
			config.common.ca_file != NULL)
		{
			(void) invalid_option(url, &url->option[i], "", err);
			omb_error_hint(err, "Options are host-key, known-hosts and "
								"sole-user (yes, no).");
			return err->status;
		}
	if (!split_port(url->host, &config.host, &config.port))
		return omb_error_set(err, OMB_USAGE, "\"%s\" is no name of a server",
							 url->host);
	return omb_store_sftp_new(&config, out, err);
}

/* webdav://host:port/folder */
static omb_status
open_webdav(const omb_url *url, const omb_cloud_options *common,
			omb_store **out, omb_error *err)
{
	omb_webdav_config config = { .common = *common,
								 .host = url->host,
								 .tls = strcmp(url->scheme, "webdavs") == 0 };
	size_t i;

	config.common.prefix = url->path;
	for (i = 0; i < url->option_count; i++)
	{
		const omb_url_option *option = &url->option[i];

		if (strcmp(option->name, "allow-plain") == 0 ?
				!set_bool(&config.allow_plain, option->value) :
				!set_option(option, &config.common, NULL, 0))
			return invalid_option(url, option, "allow-plain (yes, no)", err);
	}
	return omb_store_webdav_new(&config, out, err);
}

omb_status
omb_store_open_url_as(const char *location, const char *credentials,
					  const omb_cloud_options *defaults, omb_store **out,
					  omb_error *err)
{
	omb_cloud_options common = { .prefix = NULL };
	omb_url url;

	*out = NULL;
	if (omb_url_parse(location, &url, err) != OMB_OK)
		return err->status;
	if (defaults != NULL)
		common = *defaults;
	common.credentials_file = credentials;
	if (strcmp(url.scheme, "file") == 0)
		*out = omb_store_directory_new(url.path);
	else if (strcmp(url.scheme, "s3") == 0)
		(void) open_s3(&url, &common, out, err);
	else if (strcmp(url.scheme, "azblob") == 0)
		(void) open_azure(&url, &common, out, err);
	else if (strcmp(url.scheme, "gs") == 0)
		(void) open_gcs(&url, &common, out, err);
	else if (strcmp(url.scheme, "sftp") == 0)
		(void) open_sftp(&url, &common, out, err);
	else if (strncmp(url.scheme, "webdav", 6) == 0 &&
			 (url.scheme[6] == '\0' || strcmp(url.scheme + 6, "s") == 0))
		(void) open_webdav(&url, &common, out, err);
	else
		(void) unknown_scheme(&url, err);
	omb_url_clear(&url);
	return err->status;
}

omb_status
omb_store_open_url(const char *location, const char *credentials,
				   omb_store **out, omb_error *err)
{
	return omb_store_open_url_as(location, credentials, NULL, out, err);
}
