/*
 * probe.c: trying each operation of a store.
 *
 * The rows are told as they come, so that who waits for a slow network sees
 * how far it got. What was put is removed whatever failed before.
 */
#include "task/mirror/probe.h"

#include "base/text.h"
#include "codec/crypto.h"
#include "store/url.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "probe"
#define SMALL_SIZE 1000
/* Above what a store sends in one piece at first. */
#define LARGE_SIZE ((size_t) 8 * 1024 * 1024 + 64 * 1024)
#define RANGE_OFFSET ((uint64_t) 8 * 1024 * 1024 - 500)
#define RANGE_SIZE 2000
/* Signatures allow for 15 minutes. */
#define CLOCK_SECONDS 300

typedef struct probe
{
	const omb_probe_config *config;
	omb_store *store;
	char *small; /* name of an object */
	char *large;
	uint8_t *bytes; /* LARGE_SIZE, random */
	bool has_small;
	bool has_large;
	int errors;
} probe;

const char *
omb_probe_word(omb_probe_result result)
{
	static const char *const words[] = { "ok", "warning", "error", "skipped" };

	return words[result];
}

static void
tell(probe *p, const char *operation, omb_probe_result result,
	 const char *found, const char *hint)
{
	omb_probe_row row;

	row.operation = operation;
	row.result = result;
	row.found = found;
	row.hint = hint;
	if (result == OMB_PROBE_ERROR)
		p->errors++;
	p->config->row(&row, p->config->arg);
}

/* Tell how an operation went; permission says what it needs. */
static bool
conclude(probe *p, const char *operation, const char *found,
		 const char *permission, const omb_error *err)
{
	char *text, *hint;

	if (err->status == OMB_OK)
	{
		tell(p, operation, OMB_PROBE_OK, found, "");
		return true;
	}
	text = err->detail[0] ? omb_format("%s: %s", err->message, err->detail) :
							omb_strdup(err->message);
	hint = err->hint[0] ? omb_format("%s %s", err->hint, permission) :
						  omb_strdup(permission);
	tell(p, operation, OMB_PROBE_ERROR, text, hint);
	free(text);
	free(hint);
	return false;
}

static void
skip(probe *p, const char *operation)
{
	tell(p, operation, OMB_PROBE_SKIPPED,
		 "not tried, as an earlier one failed", "");
}

/* ---- the operations ---- */

static void
try_put(probe *p)
{
	omb_error err = OMB_ERROR_INIT;

	(void) omb_store_put(p->store, p->small, p->bytes, SMALL_SIZE, &err);
	p->has_small = err.status == OMB_OK;
	(void) conclude(p, "put", "an object was stored",
					"Storing needs s3:PutObject, or leave to write there.",
					&err);
}

/* A name that is taken must stay what it is. */
static void
try_create_only(probe *p)
{
	omb_error err = OMB_ERROR_INIT;

	if (!p->has_small)
	{
		skip(p, "create only");
		return;
	}
	if (omb_store_put(p->store, p->small, p->bytes + SMALL_SIZE, SMALL_SIZE,
					  &err) == OMB_EXISTS)
	{
		omb_error_clear(&err);
		(void) conclude(p, "create only", "an object is never replaced", "",
						&err);
	}
	else if (err.status == OMB_OK)
		tell(p, "create only", OMB_PROBE_ERROR,
			 "an object was replaced by another one of the same name",
			 "The server ignores that objects are to be created only. Use "
			 "one that does not, or keep everybody else from writing there.");
	else
		(void) conclude(p, "create only", "",
						"Looking for an object needs s3:GetObject.", &err);
}

static void
try_get(probe *p)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;

	if (!p->has_small)
	{
		skip(p, "get");
		return;
	}
	if (omb_store_get(p->store, p->small, 2 * SMALL_SIZE, &content, &err) ==
			OMB_OK &&
		(content.len != SMALL_SIZE ||
		 memcmp(content.data, p->bytes, SMALL_SIZE) != 0))
		(void) omb_error_set(&err, OMB_DAMAGED,
							 "the object has other bytes than were stored");
	(void) conclude(p, "get", "the object was read back",
					"Reading needs s3:GetObject, or leave to read there.",
					&err);
	omb_buf_free(&content);
}

static void
try_large(probe *p)
{
	omb_error err = OMB_ERROR_INIT;
	char size[OMB_SIZE_TEXT];
	char *found;

	if (!p->has_small)
	{
		skip(p, "large object");
		return;
	}
	(void) omb_store_put(p->store, p->large, p->bytes, LARGE_SIZE, &err);
	p->has_large = err.status == OMB_OK;
	found = omb_format("an object of %s was stored, in parts where the store "
					   "has them",
					   omb_size_format(LARGE_SIZE, size));
	(void) conclude(p, "large object", found,
					"Large objects need s3:PutObject, "
					"s3:AbortMultipartUpload and "
					"s3:ListMultipartUploadParts.",
					&err);
	free(found);
}

/* Reads must give the bytes asked for, across the border of two parts, too. */
static void
try_range(probe *p)
{
	omb_error err = OMB_ERROR_INIT;
	omb_object *object = NULL;
	uint8_t piece[RANGE_SIZE];

	if (!p->has_large)
	{
		skip(p, "get range");
		return;
	}
	if (omb_store_open(p->store, p->large, &object, &err) == OMB_OK)
	{
		if (object->size != LARGE_SIZE)
			(void) omb_error_set(&err, OMB_DAMAGED,
								 "the object has %" PRIu64
								 " bytes instead of %zu",
								 object->size, LARGE_SIZE);
		else if (omb_object_read(object, RANGE_OFFSET, piece, sizeof(piece),
								 &err) == OMB_OK &&
				 memcmp(piece, p->bytes + RANGE_OFFSET, sizeof(piece)) != 0)
			(void) omb_error_set(&err, OMB_DAMAGED,
								 "a part of the object has other bytes than "
								 "were stored");
		omb_object_close(object);
	}
	(void) conclude(p, "get range", "a part of the object was read",
					"The server has to support the header \"Range\".", &err);
}

static omb_status
find_small(const omb_store_entry *entry, void *arg, omb_error *err)
{
	probe *p = arg;

	if (strcmp(entry->name, p->small) == 0 && entry->size == SMALL_SIZE)
		p->has_small = true;
	return OMB_OK;
}

/* Whether the listing of the folder has the small object. */
static bool
is_listed(probe *p, omb_error *err)
{
	bool before = p->has_small;
	bool listed;

	p->has_small = false;
	(void) omb_store_list(p->store, FOLDER, true, find_small, p, err);
	listed = p->has_small;
	p->has_small = before;
	return listed;
}

static void
try_list(probe *p)
{
	omb_error err = OMB_ERROR_INIT;
	bool listed = is_listed(p, &err);

	if (err.status == OMB_OK && p->has_small && !listed)
		(void) omb_error_set(&err, OMB_FAILED,
							 "an object that was stored is not listed");
	(void) conclude(p, "list", "objects are listed",
					"Listing needs s3:ListBucket, or leave to read the "
					"directory.",
					&err);
}

/* What says that it is locked is as it should be: it goes when it may. */
static void
try_remove(probe *p)
{
	omb_error err = OMB_ERROR_INIT;
	omb_error large = OMB_ERROR_INIT;
	bool tried = p->has_small || p->has_large;

	if (p->has_small)
		(void) omb_store_remove(p->store, p->small, &err);
	if (p->has_large)
		(void) omb_store_remove(p->store, p->large, &large);
	if (err.status == OMB_OK)
		err = large;
	if (!tried)
	{
		skip(p, "remove");
		return;
	}
	if (err.status == OMB_REFUSED)
	{
		tell(p, "remove", OMB_PROBE_WARNING, err.message,
			 "Objects can be removed when their lock has ended. Until then "
			 "retention leaves them, and the copy takes more space.");
		return;
	}
	if (err.status == OMB_OK && is_listed(p, &err))
		(void) omb_error_set(&err, OMB_FAILED,
							 "an object that was removed is still listed");
	(void) conclude(p, "remove", "the objects were removed again",
					"Retention needs s3:DeleteObject, or leave to write "
					"there. Without it the copy only grows.",
					&err);
}

/* Which uploads were cut short is what the sweeping of leftovers asks. */
static void
try_sweep(probe *p)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store_swept swept = { 0, 0 };
	char size[OMB_SIZE_TEXT];
	char *found;

	(void) omb_store_sweep(p->store, 3600, false, &swept, &err);
	found = omb_format("%" PRIu64 " uploads were cut short and left %s",
					   swept.count, omb_size_format(swept.bytes, size));
	(void) conclude(p, "leftovers", found,
					"Finding what cut uploads left needs "
					"s3:ListBucketMultipartUploads and "
					"s3:ListMultipartUploadParts.",
					&err);
	free(found);
}

static void
tell_clock(probe *p)
{
	int64_t offset = 0;
	char *found;
	uint64_t seconds;

	if (!omb_store_clock(p->store, &offset))
		return;
	seconds = (uint64_t) (offset < 0 ? -offset : offset) / 1000000;
	found = omb_format("the clock of the server is %" PRIu64
					   " seconds %s that of this machine",
					   seconds, offset < 0 ? "behind" : "ahead of");
	tell(p, "clock",
		 seconds > CLOCK_SECONDS ? OMB_PROBE_WARNING : OMB_PROBE_OK, found,
		 seconds > CLOCK_SECONDS ?
			 "Set the clock of this machine, and see that it stays right." :
			 "");
	free(found);
}

static void
try_all(probe *p)
{
	try_put(p);
	try_create_only(p);
	try_get(p);
	try_list(p);
	try_large(p);
	try_range(p);
	try_remove(p);
	try_sweep(p);
	tell_clock(p);
}

char *
omb_probe_policy(const char *url)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_url parsed;
	char *policy = NULL;
	const char *slash;

	if (omb_url_parse(url, &parsed, &ignored) != OMB_OK)
		return NULL;
	slash = parsed.path[0] ? "/" : "";
	if (strcmp(parsed.scheme, "s3") == 0)
		policy = omb_format(
			"{ \"Version\": \"2012-10-17\", \"Statement\": [ "
			"{ \"Effect\": \"Allow\", \"Action\": [ \"s3:ListBucket\", "
			"\"s3:ListBucketMultipartUploads\" ], "
			"\"Resource\": \"arn:aws:s3:::%s\" }, "
			"{ \"Effect\": \"Allow\", \"Action\": [ \"s3:GetObject\", "
			"\"s3:PutObject\", \"s3:DeleteObject\", "
			"\"s3:AbortMultipartUpload\", \"s3:ListMultipartUploadParts\" ], "
			"\"Resource\": \"arn:aws:s3:::%s%s%s/*\" } ] }",
			parsed.host, parsed.host, slash, parsed.path);
	else if (strcmp(parsed.scheme, "azblob") == 0)
		policy = omb_format("a SAS token with permissions rcwdl on the "
							"container \"%.*s\" of account \"%s\"",
							(int) strcspn(parsed.path, "/"), parsed.path,
							parsed.host);
	else if (strcmp(parsed.scheme, "gs") == 0)
		policy = omb_format("roles/storage.objectUser on the bucket \"%s\" "
							"(storage.objects.create, get, list, delete)",
							parsed.host);
	omb_url_clear(&parsed);
	return policy;
}

int
omb_probe_store(const omb_probe_config *config, omb_store *store)
{
	uint8_t random[8];
	char hex[2 * sizeof(random) + 1];
	probe p;

	memset(&p, 0, sizeof(p));
	p.config = config;
	p.store = store;
	p.bytes = omb_malloc(LARGE_SIZE);
	omb_random(random, sizeof(random));
	omb_random(p.bytes, LARGE_SIZE);
	(void) omb_hex_format(random, sizeof(random), hex);
	p.small = omb_format(FOLDER "/%s-a", hex);
	p.large = omb_format(FOLDER "/%s-b", hex);
	try_all(&p);
	free(p.small);
	free(p.large);
	free(p.bytes);
	return p.errors;
}

int
omb_probe(const omb_probe_config *config)
{
	omb_error err = OMB_ERROR_INIT;
	char *policy = omb_probe_policy(config->url);
	omb_store *store = NULL;
	int errors;
	probe p;

	memset(&p, 0, sizeof(p));
	p.config = config;
	(void) omb_store_open_url(config->url, config->credentials, &store, &err);
	(void) conclude(&p, "open", "URL and credentials are well formed", "",
					&err);
	errors = p.errors;
	if (store != NULL)
		errors += omb_probe_store(config, store);
	if (policy != NULL)
		tell(&p, "policy", OMB_PROBE_OK, policy, "");
	omb_store_free(store);
	free(policy);
	return errors;
}
