/*
 * cloudxml.c: the answers of cloud servers, over expat, which no other file knows.
 */
#include "store/cloud/cloudxml.h"

#include "base/buffer.h"
#include "base/percent.h"
#include "base/text.h"

#include <expat.h>

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16
#define TEXT_MAX ((size_t) 16 * 1024)
#define PATH_MAX_LEN 256

typedef struct walk
{
	XML_Parser parser;
	char path[PATH_MAX_LEN];
	int depth;
	omb_buf text;
	omb_xml_element end;
	void *arg;
	bool bad;
} walk;

static void
give_up(walk *w)
{
	w->bad = true;
	(void) XML_StopParser(w->parser, XML_FALSE);
}

static void
on_start(void *arg, const char *name, const char **attributes)
{
	walk *w = arg;
	size_t used = strlen(w->path);
	const char *colon = strrchr(name, ':');
	size_t len;

	/* prefixes are chosen by whoever writes */
	if (colon != NULL)
		name = colon + 1;
	len = strlen(name);

	if (w->depth >= DEPTH_MAX || used + len + 2 > sizeof(w->path))
	{
		give_up(w);
		return;
	}
	if (used > 0)
		w->path[used++] = '/';
	memcpy(w->path + used, name, len + 1);
	w->depth++;
	omb_buf_clear(&w->text);
}

static void
on_end(void *arg, const char *name)
{
	walk *w = arg;
	char *slash;

	if (!w->bad && !w->end(w->path, omb_buf_text(&w->text), w->arg))
		give_up(w);
	omb_buf_clear(&w->text);
	slash = strrchr(w->path, '/');
	if (slash != NULL)
		*slash = '\0';
	else
		w->path[0] = '\0';
	w->depth--;
}

static void
on_text(void *arg, const char *text, int len)
{
	walk *w = arg;

	if (w->text.len + (size_t) len > TEXT_MAX)
		give_up(w);
	else
		omb_buf_put(&w->text, text, (size_t) len);
}

/* No server declares one, and entities could grow without end. */
static void
on_doctype(void *arg, const char *name, const char *system, const char *public,
		   int internal)
{
	give_up(arg);
}

bool
omb_xml_read(const void *data, size_t len, omb_xml_element end, void *arg)
{
	const char *text = data;
	walk w;
	bool good;

	/* a server that works for long sends space to keep the connection */
	while (len > 0 && strchr(" \t\r\n", *text) != NULL && *text != '\0')
	{
		text++;
		len--;
	}
	if (len == 0 || len > (size_t) 64 * 1024 * 1024)
		return false;
	memset(&w, 0, sizeof(w));
	w.end = end;
	w.arg = arg;
	w.parser = XML_ParserCreate(NULL);
	if (w.parser == NULL)
		return false;
	XML_SetUserData(w.parser, &w);
	XML_SetElementHandler(w.parser, on_start, on_end);
	XML_SetCharacterDataHandler(w.parser, on_text);
	XML_SetStartDoctypeDeclHandler(w.parser, on_doctype);
	good = XML_Parse(w.parser, text, (int) len, 1) == XML_STATUS_OK && !w.bad;
	XML_ParserFree(w.parser);
	omb_buf_free(&w.text);
	return good;
}

static void
keep(char *out, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		len = size - 1;
	memcpy(out, text, len);
	out[len] = '\0';
}

/* A text in the place of the one before, if any. */
static void
replace(char **out, const char *text)
{
	free(*out);
	*out = omb_strdup(text);
}

/* An array of items of one size gets one more, all zeros. */
static void *
add(void **items, size_t *count, size_t *cap, size_t size)
{
	uint8_t *item;

	if (*count == *cap)
	{
		*cap = *cap ? 2 * *cap : 64;
		*items = omb_realloc(*items, *cap * size);
	}
	item = (uint8_t *) *items + (*count)++ * size;
	memset(item, 0, size);
	return item;
}

/* ---- errors ---- */

typedef struct error_reader
{
	omb_cloud_error *error;
	bool found;
} error_reader;

static bool
error_element(const char *path, const char *text, void *arg)
{
	error_reader *r = arg;

	if (strncmp(path, "Error", 5) != 0)
		return false; /* a long answer is not read to its end for this */
	if (strcmp(path, "Error/Code") == 0)
		keep(r->error->code, sizeof(r->error->code), text);
	else if (strcmp(path, "Error/Message") == 0)
		keep(r->error->message, sizeof(r->error->message), text);
	else if (strcmp(path, "Error/Region") == 0)
		keep(r->error->region, sizeof(r->error->region), text);
	else if (strcmp(path, "Error") == 0)
		r->found = true;
	return true;
}

bool
omb_cloud_parse_error(const void *data, size_t len, omb_cloud_error *error)
{
	error_reader r = { error, false };

	memset(error, 0, sizeof(*error));
	return omb_xml_read(data, len, error_element, &r) && r.found;
}

/* ---- ListObjectsV2 ---- */

typedef struct page_reader
{
	omb_cloud_page *page;
	omb_cloud_item item; /* being read */
	char *token;
	bool encoded;
	bool more;
	bool found;
} page_reader;

/* In place; false when it is not encoded rightly. */
static bool
url_decode(char *text)
{
	size_t len = strlen(text);
	char *plus;

	for (plus = text; (plus = strchr(plus, '+')) != NULL;)
		*plus = ' ';
	return omb_percent_decode(text, len, text, len + 1);
}

static bool
page_element(const char *path, const char *text, void *arg)
{
	page_reader *r = arg;
	const char *name;
	omb_cloud_item *item;

	if (strncmp(path, "ListBucketResult", 16) != 0)
		return false;
	name = path[16] == '/' ? path + 17 : "";
	if (path[16] == '\0')
		r->found = true;
	else if (strcmp(name, "IsTruncated") == 0)
		r->more = strcmp(text, "true") == 0;
	else if (strcmp(name, "NextContinuationToken") == 0)
		replace(&r->token, text);
	else if (strcmp(name, "EncodingType") == 0)
		r->encoded = strcmp(text, "url") == 0;
	else if (strcmp(name, "Contents/Key") == 0 ||
			 strcmp(name, "CommonPrefixes/Prefix") == 0)
		replace(&r->item.key, text);
	else if (strcmp(name, "Contents/Size") == 0)
		return omb_u64_parse(text, &r->item.size);
	else if (strcmp(name, "Contents") == 0 ||
			 strcmp(name, "CommonPrefixes") == 0)
	{
		if (r->item.key == NULL)
			return false;
		item = add((void **) &r->page->item, &r->page->count, &r->page->cap,
				   sizeof(*item));
		*item = r->item;
		item->is_folder = name[1] == 'o' && name[2] == 'm';
		memset(&r->item, 0, sizeof(r->item));
	}
	return true;
}

bool
omb_cloud_parse_page(const void *data, size_t len, omb_cloud_page *page)
{
	page_reader r = { .page = page };
	bool good;
	size_t i;

	memset(page, 0, sizeof(*page));
	good = omb_xml_read(data, len, page_element, &r) && r.found &&
		   (!r.more || (r.token != NULL && r.token[0] != '\0'));
	for (i = 0; good && r.encoded && i < page->count; i++)
		good = url_decode(page->item[i].key);
	free(r.item.key);
	if (good && r.more)
		page->token = r.token;
	else
		free(r.token);
	if (!good)
		omb_cloud_page_free(page);
	return good;
}

void
omb_cloud_page_free(omb_cloud_page *page)
{
	size_t i;

	for (i = 0; i < page->count; i++)
		free(page->item[i].key);
	free(page->item);
	free(page->token);
	memset(page, 0, sizeof(*page));
}

/* ---- List Blobs ---- */

typedef struct blobs_reader
{
	omb_cloud_page *page;
	omb_cloud_item item; /* being read */
	char *token;
	bool is_directory; /* of an account with a tree of names */
	bool found;
} blobs_reader;

#define BLOBS "EnumerationResults"

static bool
blobs_element(const char *path, const char *text, void *arg)
{
	blobs_reader *r = arg;
	size_t len = strlen(BLOBS);
	const char *name;
	omb_cloud_item *item;

	if (strncmp(path, BLOBS, len) != 0)
		return false;
	name = path[len] == '/' ? path + len + 1 : "";
	if (path[len] == '\0')
		r->found = true;
	else if (strcmp(name, "NextMarker") == 0)
		replace(&r->token, text);
	else if (strcmp(name, "Blobs/Blob/Name") == 0 ||
			 strcmp(name, "Blobs/BlobPrefix/Name") == 0)
		replace(&r->item.key, text);
	else if (strcmp(name, "Blobs/Blob/Properties/Content-Length") == 0)
		return omb_u64_parse(text, &r->item.size);
	else if (strcmp(name, "Blobs/Blob/Properties/ResourceType") == 0)
		r->is_directory = strcmp(text, "directory") == 0;
	else if (strcmp(name, "Blobs/Blob") == 0 ||
			 strcmp(name, "Blobs/BlobPrefix") == 0)
	{
		if (r->item.key == NULL)
			return false;
		if (r->is_directory)
			free(r->item.key);
		else
		{
			item = add((void **) &r->page->item, &r->page->count,
					   &r->page->cap, sizeof(*item));
			*item = r->item;
			item->is_folder = strcmp(name, "Blobs/BlobPrefix") == 0;
		}
		memset(&r->item, 0, sizeof(r->item));
		r->is_directory = false;
	}
	return true;
}

bool
omb_cloud_parse_blobs(const void *data, size_t len, omb_cloud_page *page)
{
	blobs_reader r = { .page = page };
	bool good;

	memset(page, 0, sizeof(*page));
	good = omb_xml_read(data, len, blobs_element, &r) && r.found;
	free(r.item.key);
	if (good && r.token != NULL && r.token[0] != '\0')
		page->token = r.token;
	else
		free(r.token);
	if (!good)
		omb_cloud_page_free(page);
	return good;
}

/* ---- multipart uploads ---- */

typedef struct multiparts_reader
{
	omb_cloud_multiparts *list;
	omb_cloud_multipart item; /* being read */
	bool more;
	bool found;
} multiparts_reader;

static bool
multiparts_element(const char *path, const char *text, void *arg)
{
	multiparts_reader *r = arg;
	const char *name;
	omb_cloud_multipart *item;

	if (strncmp(path, "ListMultipartUploadsResult", 26) != 0)
		return false;
	name = path[26] == '/' ? path + 27 : "";
	if (path[26] == '\0')
		r->found = true;
	else if (strcmp(name, "IsTruncated") == 0)
		r->more = strcmp(text, "true") == 0;
	else if (strcmp(name, "NextKeyMarker") == 0)
		replace(&r->list->next_key, text);
	else if (strcmp(name, "NextUploadIdMarker") == 0)
		replace(&r->list->next_id, text);
	else if (strcmp(name, "Upload/Key") == 0)
		replace(&r->item.key, text);
	else if (strcmp(name, "Upload/UploadId") == 0)
		replace(&r->item.id, text);
	else if (strcmp(name, "Upload/Initiated") == 0)
		return omb_time_parse(text, &r->item.started);
	else if (strcmp(name, "Upload") == 0)
	{
		if (r->item.key == NULL || r->item.id == NULL || r->item.started == 0)
			return false;
		item = add((void **) &r->list->item, &r->list->count, &r->list->cap,
				   sizeof(*item));
		*item = r->item;
		memset(&r->item, 0, sizeof(r->item));
	}
	return true;
}

bool
omb_cloud_parse_multiparts(const void *data, size_t len,
						   omb_cloud_multiparts *out)
{
	multiparts_reader r = { .list = out };
	bool good;

	memset(out, 0, sizeof(*out));
	good = omb_xml_read(data, len, multiparts_element, &r) && r.found &&
		   (!r.more || (out->next_key != NULL && out->next_id != NULL));
	free(r.item.key);
	free(r.item.id);
	if (!good)
		omb_cloud_multiparts_free(out);
	else if (!r.more)
	{
		free(out->next_key);
		free(out->next_id);
		out->next_key = NULL;
		out->next_id = NULL;
	}
	return good;
}

void
omb_cloud_multiparts_free(omb_cloud_multiparts *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
	{
		free(list->item[i].key);
		free(list->item[i].id);
	}
	free(list->item);
	free(list->next_key);
	free(list->next_id);
	memset(list, 0, sizeof(*list));
}

typedef struct parts_reader
{
	uint64_t bytes;
	int64_t newest;
	bool found;
} parts_reader;

static bool
parts_element(const char *path, const char *text, void *arg)
{
	parts_reader *r = arg;
	uint64_t size;
	int64_t time;

	if (strcmp(path, "ListPartsResult") == 0)
		r->found = true;
	else if (strcmp(path, "ListPartsResult/Part/Size") == 0)
	{
		if (!omb_u64_parse(text, &size))
			return false;
		r->bytes += size;
	}
	else if (strcmp(path, "ListPartsResult/Part/LastModified") == 0)
	{
		if (!omb_time_parse(text, &time))
			return false;
		if (time > r->newest)
			r->newest = time;
	}
	return true;
}

bool
omb_cloud_parse_parts(const void *data, size_t len, uint64_t *bytes,
					  int64_t *newest)
{
	parts_reader r = { 0, 0, false };
	bool good = omb_xml_read(data, len, parts_element, &r) && r.found;

	*bytes = r.bytes;
	*newest = r.newest;
	return good;
}

static bool
upload_id_element(const char *path, const char *text, void *arg)
{
	if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0)
		replace(arg, text);
	return true;
}

bool
omb_cloud_parse_upload_id(const void *data, size_t len, char **id)
{
	*id = NULL;
	if (omb_xml_read(data, len, upload_id_element, id) && *id != NULL &&
		(*id)[0] != '\0')
		return true;
	free(*id);
	*id = NULL;
	return false;
}

/* ---- DeleteObjects ---- */

typedef struct fates_reader
{
	omb_cloud_fates *fates;
	char *key; /* being read */
	bool found;
} fates_reader;

static bool
fates_element(const char *path, const char *text, void *arg)
{
	fates_reader *r = arg;
	omb_cloud_fate *fate;
	const char *name;

	if (strncmp(path, "DeleteResult", 12) != 0)
		return false;
	name = path[12] == '/' ? path + 13 : "";
	if (path[12] == '\0')
		r->found = true;
	else if (strcmp(name, "Deleted/Key") == 0 ||
			 strcmp(name, "Error/Key") == 0)
		replace(&r->key, text);
	else if (strcmp(name, "Deleted") == 0 || strcmp(name, "Error") == 0)
	{
		if (r->key == NULL)
			return false;
		fate = add((void **) &r->fates->item, &r->fates->count, &r->fates->cap,
				   sizeof(*fate));
		fate->key = r->key;
		fate->is_deleted = name[0] == 'D';
		r->key = NULL;
	}
	return true;
}

bool
omb_cloud_parse_deleted(const void *data, size_t len, omb_cloud_fates *out)
{
	fates_reader r = { .fates = out };
	bool good;

	memset(out, 0, sizeof(*out));
	good = omb_xml_read(data, len, fates_element, &r) && r.found;
	free(r.key);
	if (!good)
		omb_cloud_fates_free(out);
	return good;
}

void
omb_cloud_fates_free(omb_cloud_fates *fates)
{
	size_t i;

	for (i = 0; i < fates->count; i++)
		free(fates->item[i].key);
	free(fates->item);
	memset(fates, 0, sizeof(*fates));
}

/* ---- temporary keys ---- */

#define STS_KEYS "AssumeRoleWithWebIdentityResult/Credentials/"

static bool
sts_element(const char *path, const char *text, void *arg)
{
	omb_cloud_keys *keys = arg;
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
omb_cloud_parse_sts(const void *data, size_t len, omb_cloud_keys *keys)
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

static bool
sts_error_element(const char *path, const char *text, void *arg)
{
	error_reader *r = arg;

	if (strcmp(path, "ErrorResponse/Error/Code") == 0)
		keep(r->error->code, sizeof(r->error->code), text);
	else if (strcmp(path, "ErrorResponse/Error/Message") == 0)
		keep(r->error->message, sizeof(r->error->message), text);
	else if (strcmp(path, "ErrorResponse/Error") == 0)
		r->found = true;
	return true;
}

bool
omb_cloud_parse_sts_error(const void *data, size_t len, omb_cloud_error *error)
{
	error_reader r = { error, false };
	char *c;

	memset(error, 0, sizeof(*error));
	if (!omb_xml_read(data, len, sts_error_element, &r) || !r.found)
		return false;
	for (c = error->message; *c != '\0'; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	return true;
}

static bool
completed_element(const char *path, const char *text, void *arg)
{
	bool *found = arg;

	if (strcmp(path, "CompleteMultipartUploadResult") == 0)
		*found = true;
	return true;
}

bool
omb_cloud_parse_completed(const void *data, size_t len)
{
	bool found = false;

	return omb_xml_read(data, len, completed_element, &found) && found;
}

/* ---- locks ---- */

typedef struct retention_reader
{
	bool has_mode;
	bool compliance;
	int64_t until;
	bool found;
} retention_reader;

static bool
retention_element(const char *path, const char *text, void *arg)
{
	retention_reader *r = arg;

	if (strcmp(path, "Retention") == 0)
		r->found = r->has_mode && r->until != 0;
	else if (strcmp(path, "Retention/Mode") == 0)
	{
		r->compliance = strcmp(text, "COMPLIANCE") == 0;
		r->has_mode = r->compliance || strcmp(text, "GOVERNANCE") == 0;
	}
	else if (strcmp(path, "Retention/RetainUntilDate") == 0)
		return omb_time_parse(text, &r->until);
	return true;
}

bool
omb_cloud_parse_retention(const void *data, size_t len, bool *compliance,
						  int64_t *until)
{
	retention_reader r = { false, false, 0, false };
	bool good = omb_xml_read(data, len, retention_element, &r) && r.found;

	*compliance = r.compliance;
	*until = r.until;
	return good;
}

/* Is there an element with the word "Enabled" in it? */
typedef struct enabled_reader
{
	const char *root;
	const char *path;
	bool enabled;
	bool found;
} enabled_reader;

static bool
enabled_element(const char *path, const char *text, void *arg)
{
	enabled_reader *r = arg;

	if (strcmp(path, r->root) == 0)
		r->found = true;
	else if (strcmp(path, r->path) == 0)
		r->enabled = strcmp(text, "Enabled") == 0;
	return true;
}

bool
omb_cloud_parse_versioning(const void *data, size_t len, bool *enabled)
{
	enabled_reader r = { "VersioningConfiguration",
						 "VersioningConfiguration/Status", false, false };
	bool good = omb_xml_read(data, len, enabled_element, &r) && r.found;

	*enabled = good && r.enabled;
	return good;
}

bool
omb_cloud_parse_lock_config(const void *data, size_t len, bool *enabled)
{
	enabled_reader r = { "ObjectLockConfiguration",
						 "ObjectLockConfiguration/ObjectLockEnabled", false,
						 false };
	bool good = omb_xml_read(data, len, enabled_element, &r) && r.found;

	*enabled = good && r.enabled;
	return good;
}
