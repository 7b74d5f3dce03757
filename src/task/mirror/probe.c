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
#include <strings.h>

#define FOLDER "probe"
#define SMALL_SIZE 1000
/* Above what a store sends in one piece at first. */
#define LARGE_SIZE ((size_t) 8 * 1024 * 1024 + 64 * 1024)
#define RANGE_OFFSET ((uint64_t) 8 * 1024 * 1024 - 500)
#define RANGE_SIZE 2000
/* Signatures allow for 15 minutes. */
#define CLOCK_SECONDS 300
/* An object of the probe is locked no longer than it takes to see that. */
#define LOCK_SECONDS 60
/* What was removed from a bucket with versions can be had back so long. */
#define RETURN_DAYS 30

/* What the operations need, in the words of each kind of store. */
typedef enum permission
{
	MAY_PUT,
	MAY_GET,
	MAY_PUT_PARTS,
	MAY_LIST,
	MAY_REMOVE,
	MAY_SWEEP,
	MAY_LOCK
} permission;

typedef struct wording
{
	const char *scheme;
	const char *permission[MAY_LOCK + 1];
} wording;

static const wording all_wordings[] = {
	{ "s3",
	  { "Storing needs s3:PutObject, and s3:PutObjectRetention where objects "
		"are locked.",
		"Reading needs s3:GetObject.",
		"Large objects need s3:PutObject, and s3:AbortMultipartUpload to take "
		"back what was cut short.",
		"Listing needs s3:ListBucket.",
		"Retention needs s3:DeleteObject. Without it the copy only grows.",
		"Finding what cut uploads left needs s3:ListBucketMultipartUploads "
		"and s3:ListMultipartUploadParts.",
		"Locking objects and extending that needs s3:PutObjectRetention and "
		"s3:GetObjectRetention." } },
	{ "azblob",
	  { "Storing needs the letters c and w in the permissions (sp) of a SAS "
		"token.",
		"Reading needs the letter r in the permissions (sp) of a SAS token.",
		"Large objects need the letters c and w in the permissions (sp) of a "
		"SAS token.",
		"Listing needs the letter l in the permissions (sp) of a SAS token, "
		"which has to be one of the container.",
		"Retention needs the letter d in the permissions (sp) of a SAS token. "
		"Without it the copy only grows.",
		"", "" } },
	{ "gs",
	  { "Storing needs storage.objects.create (role Storage Object Creator "
		"or Storage Object User).",
		"Reading needs storage.objects.get (role Storage Object Viewer or "
		"Storage Object User).",
		"Large objects need storage.objects.create (role Storage Object User).",
		"Listing needs storage.objects.list (role Storage Object Viewer or "
		"Storage Object User).",
		"Retention needs storage.objects.delete (role Storage Object User). "
		"Without it the copy only grows.",
		"", "" } },
	{ "",
	  { "Storing needs leave to write there.",
		"Reading needs leave to read there.",
		"Large objects need leave to write there.",
		"Listing needs leave to read the directory.",
		"Retention needs leave to write there. Without it the copy only "
		"grows.",
		"Finding what cut uploads left needs leave to read the directory.",
		"" } },
};

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
	const wording *words;
	omb_lock_place place;
} probe;

static const wording *
wording_of(const char *url)
{
	size_t len = url != NULL ? strcspn(url, ":") : 0;
	size_t i = 0;

	while (all_wordings[i].scheme[0] != '\0' &&
		   (strlen(all_wordings[i].scheme) != len ||
			strncasecmp(url, all_wordings[i].scheme, len) != 0))
		i++;
	return &all_wordings[i];
}

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

/* Tell how an operation went; needs says what it takes. */
static bool
conclude(probe *p, const char *operation, const char *found, const char *needs,
		 const omb_error *err)
{
	char *text, *hint;

	if (err->status == OMB_OK)
	{
		tell(p, operation, OMB_PROBE_OK, found, "");
		return true;
	}
	text = err->detail[0] ? omb_format("%s: %s", err->message, err->detail) :
							omb_strdup(err->message);
	hint = err->hint[0] ?
			   omb_format("%s%s%s", err->hint, needs[0] ? " " : "", needs) :
			   omb_strdup(needs);
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
					p->words->permission[MAY_PUT], &err);
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
		(void) conclude(p, "create only", "", p->words->permission[MAY_GET],
						&err);
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
					p->words->permission[MAY_GET], &err);
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
					p->words->permission[MAY_PUT_PARTS], &err);
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
					p->words->permission[MAY_LIST], &err);
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
					p->words->permission[MAY_REMOVE], &err);
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
	(void) conclude(p, "leftovers", found, p->words->permission[MAY_SWEEP],
					&err);
	free(found);
}

/* The lock that was asked for, a moment ago. */
static omb_status
lock_small(probe *p, const omb_lock_rule *rule, omb_error *err)
{
	omb_object_lock lock, found;
	int64_t offset;

	(void) omb_store_clock(p->store, &offset);
	lock.is_set = true;
	lock.compliance = rule->compliance;
	lock.until = omb_time_now() + offset + INT64_C(1000000) * LOCK_SECONDS;
	if (omb_store_set_object_lock(p->store, p->small, &lock, err) == OMB_OK &&
		omb_store_object_lock(p->store, p->small, &found, err) == OMB_OK &&
		(!found.is_set || found.compliance != lock.compliance ||
		 found.until < lock.until - 1000000))
		(void) omb_error_set(err, OMB_FAILED,
							 "the server took a lock, and the object has none "
							 "of the kind");
	return err->status;
}

/* Who asks for no locks is told whether there are any. */
static void
tell_possible_locks(probe *p)
{
	tell(p, "object lock", OMB_PROBE_OK,
		 p->place.can_lock ?
			 "the bucket can lock objects, and the URL does not ask for it" :
		 p->place.is_known ?
			 "the bucket does not lock objects" :
			 "whether the bucket can lock objects is not known",
		 "");
}

static void
try_lock(probe *p)
{
	omb_error err = OMB_ERROR_INIT;
	omb_lock_rule rule;
	char *found;

	if (!omb_store_lock_rule(p->store, &rule))
		return;
	/* what cannot be known will show */
	if (omb_store_lock_place(p->store, &p->place, &err) != OMB_OK)
		omb_error_clear(&err);
	if (rule.days == 0)
	{
		tell_possible_locks(p);
		return;
	}
	if (!p->has_small)
	{
		skip(p, "object lock");
		return;
	}
	found =
		omb_format("new objects are locked for %" PRIu32 " days (%s)",
				   rule.days, rule.compliance ? "compliance" : "governance");
	(void) lock_small(p, &rule, &err);
	(void) conclude(p, "object lock", found, p->words->permission[MAY_LOCK],
					&err);
	free(found);
}

/* What is removed from a bucket with versions is there until a rule ends it. */
static void
tell_lifecycle(probe *p)
{
	omb_lock_rule rule;
	char *rules;

	if (!omb_store_lock_rule(p->store, &rule) ||
		(!p->place.is_versioned && rule.days == 0))
		return;
	rules = omb_probe_lifecycle(p->config->url);
	if (rules != NULL)
		tell(p, "lifecycle", OMB_PROBE_OK, rules,
			 "The bucket keeps versions: what is removed takes space until a "
			 "rule of the bucket ends it. Give the bucket this one.");
	free(rules);
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
	try_lock(p);
	try_remove(p);
	try_sweep(p);
	tell_clock(p);
	tell_lifecycle(p);
}

/* Quotes and backslashes of a text in JSON. */
static char *
quoted(const char *text)
{
	omb_buf out = OMB_BUF_INIT;
	char *copy;

	for (; *text != '\0'; text++)
	{
		if (*text == '"' || *text == '\\')
			omb_buf_put_u8(&out, '\\');
		omb_buf_put(&out, text, 1);
	}
	copy = omb_strdup(omb_buf_text(&out));
	omb_buf_free(&out);
	return copy;
}

char *
omb_probe_lifecycle(const char *url)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_url parsed;
	char *prefix, *rules;

	if (url == NULL || omb_url_parse(url, &parsed, &ignored) != OMB_OK)
		return NULL;
	prefix = quoted(parsed.path);
	rules = omb_format(
		"{ \"Rules\": [ { \"ID\": \"omsupply_backup\", \"Status\": "
		"\"Enabled\", \"Filter\": { \"Prefix\": \"%s%s\" }, "
		"\"NoncurrentVersionExpiration\": { \"NoncurrentDays\": %d }, "
		"\"Expiration\": { \"ExpiredObjectDeleteMarker\": true } } ] }",
		prefix, prefix[0] ? "/" : "", RETURN_DAYS);
	free(prefix);
	omb_url_clear(&parsed);
	return rules;
}

char *
omb_probe_policy(const char *url)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_url parsed;
	char *policy = NULL;
	const char *slash;
	bool locks;

	if (omb_url_parse(url, &parsed, &ignored) != OMB_OK)
		return NULL;
	slash = parsed.path[0] ? "/" : "";
	locks = omb_url_option_get(&parsed, "object-lock") != NULL;
	if (strcmp(parsed.scheme, "s3") == 0)
		policy = omb_format(
			"{ \"Version\": \"2012-10-17\", \"Statement\": [ "
			"{ \"Effect\": \"Allow\", \"Action\": [ \"s3:ListBucket\", "
			"\"s3:ListBucketMultipartUploads\"%s ], "
			"\"Resource\": \"arn:aws:s3:::%s\" }, "
			"{ \"Effect\": \"Allow\", \"Action\": [ \"s3:GetObject\", "
			"\"s3:PutObject\", \"s3:DeleteObject\", "
			"\"s3:AbortMultipartUpload\", \"s3:ListMultipartUploadParts\"%s ], "
			"\"Resource\": \"arn:aws:s3:::%s%s%s/*\" } ] }",
			locks ? ", \"s3:GetBucketObjectLockConfiguration\", "
					"\"s3:GetBucketVersioning\"" :
					"",
			parsed.host,
			locks ? ", \"s3:PutObjectRetention\", "
					"\"s3:GetObjectRetention\"" :
					"",
			parsed.host, slash, parsed.path);
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
	p.words = wording_of(config->url);
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
	p.words = wording_of(config->url);
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
