/*
 * location.c: the form of the URL of a store.
 */
#include "base/location.h"

#include "base/percent.h"

#include <string.h>

static bool
fail(const char **reason, const char *text)
{
	*reason = text;
	return false;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static bool
is_scheme(const char *text, size_t len, const char *scheme)
{
	size_t i;

	for (i = 0; i < len && lower(text[i]) == scheme[i]; i++)
		;
	return i == len && scheme[len] == '\0';
}

static bool
is_known(const char *text, size_t len)
{
	static const char *const schemes[] = { "file", "s3",	 "azblob", "gs",
										   "sftp", "webdav", "webdavs" };
	size_t i;

	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
	{
		if (is_scheme(text, len, schemes[i]))
			return true;
	}
	return false;
}

/* Does the name of an option say that its value is a secret? */
static bool
is_secret(const char *name, size_t len)
{
	static const char *const words[] = {
		"secret",	  "password",	 "passwd",		"pwd",		  "passphrase",
		"token",	  "signature",	 "credential",	"access-key", "access_key",
		"accesskey",  "account-key", "account_key", "accountkey", "shared-key",
		"shared_key", "private-key", "private_key", "api-key",	  "api_key"
	};
	size_t i, at, k;

	/* the signature in a URL of Azure */
	if (is_scheme(name, len, "sig") || is_scheme(name, len, "sas"))
		return true;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		size_t word = strlen(words[i]);

		for (at = 0; at + word <= len; at++)
		{
			for (k = 0; k < word && lower(name[at + k]) == words[i][k]; k++)
				;
			if (k == word)
				return true;
		}
	}
	return false;
}

bool
omb_location_lock(const char *mode, const char *days, bool *compliance,
				  uint32_t *count, const char **reason)
{
	size_t i;

	*compliance = false;
	*count = 0;
	if (mode == NULL && days == NULL)
		return true;
	if (mode == NULL || days == NULL)
		return fail(reason, "object-lock and lock-days are given together");
	*compliance = strcmp(mode, "compliance") == 0;
	if (!*compliance && strcmp(mode, "governance") != 0)
		return fail(reason, "object-lock is governance or compliance");
	for (i = 0; days[i] >= '0' && days[i] <= '9' && i < 5; i++)
		*count = 10 * *count + (uint32_t) (days[i] - '0');
	if (days[i] != '\0' || *count < OMB_LOCATION_LOCK_DAYS_MIN ||
		*count > OMB_LOCATION_LOCK_DAYS_MAX)
		return fail(reason, "lock-days is a number from 2 to 3650");
	return true;
}

/* A value that is longer is wrong, whatever is behind it. */
static const char *
keep_value(const char *text, size_t len, char *out, size_t size)
{
	if (!omb_percent_decode(text, len, out, size))
		out[0] = '\0';
	return out;
}

static bool
check_options(const char *text, bool is_s3, const char **reason)
{
	char decoded[OMB_LOCATION_MAX + 1];
	char lock_mode[16], lock_days[16];
	const char *mode = NULL;
	const char *days = NULL;
	bool compliance;
	uint32_t count;

	while (*text != '\0')
	{
		size_t len = strcspn(text, "&");
		const char *equals = memchr(text, '=', len);

		if (equals == NULL || equals == text ||
			!omb_percent_decode(text, len, decoded, sizeof(decoded)))
			return fail(reason, "options are written as ?name=value&name="
								"value, and other characters as %XX");
		if (!omb_percent_decode(text, (size_t) (equals - text), decoded,
								sizeof(decoded)))
			return fail(reason, "the name of an option is not well formed");
		if (is_secret(decoded, strlen(decoded)))
			return fail(reason, "it holds a secret, which everybody could "
								"see; put it into a file of credentials");
		if (mode == NULL && strcmp(decoded, "object-lock") == 0)
			mode = keep_value(equals + 1, len - (size_t) (equals - text) - 1,
							  lock_mode, sizeof(lock_mode));
		else if (days == NULL && strcmp(decoded, "lock-days") == 0)
			days = keep_value(equals + 1, len - (size_t) (equals - text) - 1,
							  lock_days, sizeof(lock_days));
		text += len;
		if (*text == '&')
			text++;
	}
	if ((mode != NULL || days != NULL) && !is_s3)
		return fail(reason, "only objects in a bucket of S3 can be locked "
							"by object-lock");
	return omb_location_lock(mode, days, &compliance, &count, reason);
}

/* The user in front of a host: only for servers that people log in to. */
static bool
check_user(const char *host, size_t len, bool has_users, const char **reason)
{
	const char *at = memchr(host, '@', len);

	if (at == NULL)
		return true;
	if (!has_users || memchr(host, ':', (size_t) (at - host)) != NULL)
		return fail(reason, "a password in it could be seen by everybody; "
							"put it into a file of credentials");
	return true;
}

bool
omb_location_check(const char *url, char *directory, size_t size,
				   const char **reason)
{
	const char *rest = strstr(url, "://");
	size_t scheme = rest ? (size_t) (rest - url) : 0;
	size_t host, path, i;
	char decoded[OMB_LOCATION_MAX + 1];
	bool is_file;

	directory[0] = '\0';
	if (strlen(url) > OMB_LOCATION_MAX)
		return fail(reason, "it is longer than 1000 bytes");
	for (i = 0; url[i] != '\0'; i++)
	{
		if ((unsigned char) url[i] < ' ' || url[i] == 0x7f)
			return fail(reason, "it has a control character");
	}
	if (scheme == 0)
		return fail(reason, "it has no scheme, as in file:///directory or "
							"s3://bucket/prefix");
	if (!is_known(url, scheme))
		return fail(reason, "the scheme is none of file, s3, azblob, gs, "
							"sftp, webdav and webdavs");
	rest += 3;
	is_file = is_scheme(url, scheme, "file");
	host = strcspn(rest, "/?#");
	path = strcspn(rest + host, "?#");
	if (rest[host + path] == '#')
		return fail(reason, "it has a \"#\", which is written %23");
	if (!omb_percent_decode(rest, host, decoded, sizeof(decoded)) ||
		!omb_percent_decode(rest + host, path, decoded, sizeof(decoded)))
		return fail(reason, "a \"%\" has to be followed by two hexadecimal "
							"digits");
	if (is_file)
	{
		if ((host > 0 && !is_scheme(rest, host, "localhost")) ||
			decoded[0] != '/' || rest[host + path] != '\0')
			return fail(reason, "a directory is written as file:///directory");
		if (!omb_percent_decode(rest + host, path, directory, size))
			return fail(reason, "its directory is too long");
		return true;
	}
	if (host == 0)
		return fail(reason, "it names no bucket or server");
	if (!check_user(rest, host,
					is_scheme(url, scheme, "sftp") ||
						is_scheme(url, scheme, "webdav") ||
						is_scheme(url, scheme, "webdavs"),
					reason))
		return false;
	return rest[host + path] == '\0' ||
		   check_options(rest + host + path + 1, is_scheme(url, scheme, "s3"),
						 reason);
}
