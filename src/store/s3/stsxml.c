/*
 * stsxml.c: keys for a while.
 */
#include "store/s3/stsxml.h"

#include "base/buffer.h"
#include "base/text.h"
#include "store/xmlread.h"

#include <stdlib.h>
#include <string.h>

static void
replace(char **out, const char *text)
{
	free(*out);
	*out = omb_strdup(text);
}

#define STS_KEYS "AssumeRoleWithWebIdentityResult/Credentials/"

static bool
sts_element(const char *path, const char *text, void *arg)
{
	omb_sts_keys *keys = arg;
	const char *name = strchr(path, '/');

	if (name == NULL || strncmp(name + 1, STS_KEYS, sizeof(STS_KEYS) - 1) != 0)
		return true;
	name += sizeof(STS_KEYS);
	if (strcmp(name, "AccessKeyId") == 0)
		replace(&keys->id, text);
	else if (strcmp(name, "SecretAccessKey") == 0)
		replace(&keys->secret, text);
	else if (strcmp(name, "SessionToken") == 0)
		replace(&keys->token, text);
	else if (strcmp(name, "Expiration") == 0)
		return omb_time_parse(text, &keys->expires);
	return true;
}

bool
omb_sts_parse(const void *data, size_t len, omb_sts_keys *keys)
{
	memset(keys, 0, sizeof(*keys));
	if (omb_xml_read(data, len, sts_element, keys) && keys->id != NULL &&
		keys->secret != NULL && keys->token != NULL && keys->expires != 0)
		return true;
	free(keys->id);
	free(keys->secret);
	free(keys->token);
	memset(keys, 0, sizeof(*keys));
	return false;
}

/* ---- errors ---- */

typedef struct error_reader
{
	omb_cloud_error error;
	bool found;
} error_reader;

static const omb_xml_field error_fields[] = {
	OMB_XML_FIELD("ErrorResponse/Error", OMB_XML_SEEN, error_reader, found),
	OMB_XML_FIELD("ErrorResponse/Error/Code", OMB_XML_SHORT, error_reader,
				  error.code),
	OMB_XML_FIELD("ErrorResponse/Error/Message", OMB_XML_SHORT, error_reader,
				  error.message),
};

bool
omb_sts_parse_error(const void *data, size_t len, omb_cloud_error *error)
{
	error_reader r;
	bool good;
	char *c;

	memset(&r, 0, sizeof(r));
	good = omb_xml_read_fields(data, len, error_fields,
							   sizeof(error_fields) / sizeof(error_fields[0]),
							   &r) &&
		   r.found;
	*error = r.error;
	for (c = error->message; *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	return good;
}
