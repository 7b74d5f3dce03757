/*
 * test_locks.c: locks on objects: how long, in which requests, and keeping what
 * a target holds locked.
 */
#include "test/tap.h"

#include "base/file.h"
#include "base/location.h"
#include "base/text.h"
#include "store/s3/s3xml.h"
#include "store/memory.h"
#include "store/s3/s3client.h"
#include "store/s3/s3explain.h"
#include "store/s3/s3lock.h"
#include "store/url.h"
#include "task/mirror/mirrorlock.h"
#include "task/mirror/probe.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define SECOND INT64_C(1000000)
#define DAY (INT64_C(24) * 3600 * SECOND)
#define NOW (INT64_C(20000) * DAY)

/* ---- how long ---- */

static void
test_plan(void)
{
	static const omb_lock_rule month = { 32, false };
	static const struct
	{
		omb_object_lock lock;
		int64_t until; /* 0: it is left alone */
		bool compliance;
		const char *name;
	} cases[] = {
		{ { false, false, 0 }, NOW + 32 * DAY, false, "none" },
		{ { true, false, NOW - DAY },
		  NOW + 32 * DAY,
		  false,
		  "one that ended" },
		{ { true, true, NOW - DAY },
		  NOW + 32 * DAY,
		  false,
		  "one of the other kind that ended" },
		{ { true, false, NOW + DAY }, NOW + 32 * DAY, false, "a short one" },
		{ { true, true, NOW + DAY },
		  NOW + 32 * DAY,
		  true,
		  "a short one of the other kind, which it stays" },
		{ { true, false, NOW + 24 * DAY - 1 },
		  NOW + 32 * DAY,
		  false,
		  "one that would have less than a half at the next look" },
		{ { true, false, NOW + 24 * DAY }, 0, false, "one that is enough" },
		{ { true, false, NOW + 32 * DAY }, 0, false, "a new one" },
		{ { true, true, NOW + 3000 * DAY }, 0, false, "one for longer" },
	};
	static const omb_lock_rule days = { 2, true };
	static const omb_lock_rule none;
	omb_object_lock next;
	omb_object_lock lock = { true, true, NOW + DAY };
	size_t i;

	for (i = 0; i < LENGTH(cases); i++)
	{
		bool extend = omb_lock_rule_extend(&month, NOW, &cases[i].lock, &next);

		ok(extend == (cases[i].until != 0) &&
			   (!extend || (next.is_set && next.until == cases[i].until &&
							next.compliance == cases[i].compliance)),
		   "extending %s", cases[i].name);
	}
	ok(omb_lock_rule_extend(&days, NOW, &lock, &next) &&
		   next.until == NOW + 2 * DAY,
	   "the shortest lock is extended every day");
	ok(!omb_lock_rule_extend(&none, NOW, &lock, &next), "or no lock");
	ok(omb_lock_rule_is_due(&month, 0, NOW) &&
		   omb_lock_rule_is_due(&month, NOW - 8 * DAY, NOW) &&
		   !omb_lock_rule_is_due(&month, NOW - 8 * DAY + 1, NOW),
	   "all is looked at four times in the days");
	ok(!omb_lock_rule_is_due(&days, NOW - DAY + 1, NOW) &&
		   omb_lock_rule_is_due(&days, NOW - DAY, NOW),
	   "never twice a day");
	ok(omb_lock_rule_is_due(&month, NOW + 1, NOW),
	   "a clock that was wrong does not stop it");
	ok(!omb_lock_rule_is_due(&none, 0, NOW), "without locks never");
}

/* Whatever the order of events, what is needed stays locked long enough. */
static void
test_always_locked(void)
{
	uint32_t days, left_most = 0;
	bool good = true;

	for (days = OMB_LOCATION_LOCK_DAYS_MIN; days <= 400; days++)
	{
		omb_lock_rule rule = { days, false };
		omb_object_lock lock, next;
		int64_t now, last = 0;

		omb_lock_rule_begin(&rule, NOW, &lock);
		/* an hour is between two looks, as a server is busy */
		for (now = NOW; now < NOW + 3 * (int64_t) days * DAY; now += DAY / 24)
		{
			if (lock.until - now < (int64_t) days * DAY / 2 - DAY / 24)
				good = false;
			if (!omb_lock_rule_is_due(&rule, last, now))
				continue;
			last = now;
			left_most++;
			if (omb_lock_rule_extend(&rule, now, &lock, &next))
				lock = next;
		}
	}
	ok(good && left_most > 1000, "half of the days is always left");
}

static void
test_covered(void)
{
	static const omb_lock_rule rule = { 30, false };
	static const omb_lock_rule none;
	static const char *const locked[] = {
		"repository",
		"keys/1",
		"packs/ab/abcd",
		"backups/20261120T231502Z-7f3a",
		"wal/00000001/0/000000010000000000000001-abc",
		"marks/claims/1",
		"marks/points/1",
		"marks/pinsandmore/1",
		"marks/watermarks/a/1",
	};
	size_t i;

	for (i = 0; i < LENGTH(locked); i++)
		ok(omb_lock_rule_covers(&rule, locked[i]) &&
			   !omb_lock_rule_covers(&none, locked[i]),
		   "\"%s\" is locked", locked[i]);
	ok(!omb_lock_rule_covers(&rule, "probe/0123-a"), "a probe is not");
	ok(!omb_lock_rule_covers(&rule, "marks/pins/20261120T231502Z-7f3a"),
	   "nor is a pin");
}

/* ---- URLs ---- */

static void
test_urls(void)
{
	static const struct
	{
		const char *options;
		const char *reason; /* NULL: it is good */
		omb_lock_rule rule;
	} cases[] = {
		{ "region=x", NULL, { 0, false } },
		{ "object-lock=governance&lock-days=30", NULL, { 30, false } },
		{ "lock-days=2&object-lock=compliance", NULL, { 2, true } },
		{ "object-lock=compliance&lock-days=3650", NULL, { 3650, true } },
		{ "object-lock=governance", "together", { 0, false } },
		{ "lock-days=30", "together", { 0, false } },
		{ "object-lock=GOVERNANCE&lock-days=30",
		  "governance or compliance",
		  { 0, false } },
		{ "object-lock=yes&lock-days=30",
		  "governance or compliance",
		  { 0, false } },
		{ "object-lock=governanceandmuchmore&lock-days=30",
		  "governance or compliance",
		  { 0, false } },
		{ "object-lock=governance&lock-days=1", "2 to 3650", { 0, false } },
		{ "object-lock=governance&lock-days=3651", "2 to 3650", { 0, false } },
		{ "object-lock=governance&lock-days=", "2 to 3650", { 0, false } },
		{ "object-lock=governance&lock-days=-5", "2 to 3650", { 0, false } },
		{ "object-lock=governance&lock-days=4294967326",
		  "2 to 3650",
		  { 0, false } },
		{ "object-lock=governance&lock-days=000000000000000000030",
		  "2 to 3650",
		  { 0, false } },
		{ "object-lock=governance&lock-days=30d", "2 to 3650", { 0, false } },
	};
	size_t i;

	for (i = 0; i < LENGTH(cases); i++)
	{
		char *url = omb_format("s3://bucket/p?%s", cases[i].options);
		omb_error err = OMB_ERROR_INIT;
		omb_store *store = NULL;
		const char *reason = "";
		char directory[16];
		omb_lock_rule rule;
		bool good =
			omb_location_check(url, directory, sizeof(directory), &reason);

		ok(cases[i].reason == NULL ? good :
									 strstr(reason, cases[i].reason) != NULL,
		   "the table: %s", cases[i].options);
		(void) omb_store_open_url(url, NULL, &store, &err);
		ok(cases[i].reason == NULL ?
			   err.status == OMB_OK && omb_store_lock_rule(store, &rule) &&
				   rule.days == cases[i].rule.days &&
				   rule.compliance == cases[i].rule.compliance :
			   err.status == OMB_USAGE && store == NULL &&
				   strstr(err.message, cases[i].reason) != NULL,
		   "the store: %s", cases[i].options);
		omb_store_free(store);
		free(url);
	}
}

static void
test_other_stores(void)
{
	static const char *const urls[] = {
		"gs://bucket/p?object-lock=governance&lock-days=30",
		"azblob://account/c?object-lock=governance&lock-days=30",
		"sftp://host/d?lock-days=30",
	};
	omb_error err = OMB_ERROR_INIT;
	omb_store *store = NULL;
	omb_lock_rule rule;
	const char *reason = "";
	char directory[16];
	size_t i;

	for (i = 0; i < LENGTH(urls); i++)
		ok(!omb_location_check(urls[i], directory, sizeof(directory),
							   &reason) &&
			   strstr(reason, "bucket of S3") != NULL,
		   "no lock in %s", urls[i]);
	ok(omb_store_open_url("gs://bucket/p", NULL, &store, &err) == OMB_OK &&
		   !omb_store_lock_rule(store, &rule) && rule.days == 0,
	   "another cloud has no locks");
	omb_store_free(store);
}

/* ---- requests and answers of S3 ---- */

static const char *
header_of(const omb_cloud_call *call, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; i < call->header_count; i++)
		if (strncmp(call->header[i], name, len) == 0 &&
			strncmp(call->header[i] + len, ": ", 2) == 0)
			return call->header[i] + len + 2;
	return NULL;
}

static void
test_requests(void)
{
	omb_s3_config config = { .bucket = "b", .lock = { 30, true } };
	omb_cloud_call call = { .method = "PUT", .name = "packs/ab/abcd" };
	omb_cloud_call pin = { .method = "PUT", .name = "marks/pins/x" };
	omb_error err = OMB_ERROR_INIT;
	omb_buf text = OMB_BUF_INIT;
	omb_cloud_client *client;
	int64_t until = 0;
	const char *value;

	if (omb_s3_client_new(&config, &client, &err) != OMB_OK)
		abort();
	call.body = "hello";
	call.body_len = 5;
	omb_s3_put_headers(client, call.body, call.body_len, &call, &text);
	is_text(header_of(&call, "x-amz-object-lock-mode"), "COMPLIANCE",
			"the kind of lock is sent");
	value = header_of(&call, "x-amz-object-lock-retain-until-date");
	ok(value != NULL && strlen(value) == 20 && value[10] == 'T' &&
		   value[19] == 'Z' && omb_time_parse(value, &until) &&
		   until > omb_time_now() + 30 * DAY - 60 * SECOND &&
		   until <= omb_time_now() + 30 * DAY,
	   "and its end: %s", value);
	is_text(header_of(&call, "content-md5"),
			"XUFAKrxLKna5cZ2REBfFkg==", "and the MD5 of the body");
	ok(omb_s3_lock_is_asked(&call), "it asks for a lock");
	omb_buf_clear(&text);
	omb_s3_put_headers(client, "", 0, &pin, &text);
	ok(pin.header_count == 0 && !omb_s3_lock_is_asked(&pin),
	   "a pin is not locked");
	omb_buf_free(&text);
	omb_cloud_client_free(client);
	config.lock.days = 0;
	if (omb_s3_client_new(&config, &client, &err) != OMB_OK)
		abort();
	call.header_count = 0;
	omb_s3_put_headers(client, call.body, call.body_len, &call, &text);
	ok(call.header_count == 0, "without the options nothing is added");
	omb_buf_free(&text);
	omb_cloud_client_free(client);
}

static void
test_answers(void)
{
	static const char *const damaged[] = {
		"",
		"<Retention/>",
		"<Retention><Mode>GOVERNANCE</Mode></Retention>",
		"<Retention><Mode>OTHER</Mode><RetainUntilDate>2026-12-20T00:00:00Z"
		"</RetainUntilDate></Retention>",
		"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>soon"
		"</RetainUntilDate></Retention>",
		"<Other><Mode>GOVERNANCE</Mode></Other>",
	};
	static const char good[] =
		"<?xml version=\"1.0\"?><Retention xmlns=\"http://s3.amazonaws.com/"
		"doc/2006-03-01/\"><Mode>COMPLIANCE</Mode><RetainUntilDate>"
		"2026-12-20T23:15:02.000Z</RetainUntilDate></Retention>";
	static const char versions[] =
		"<VersioningConfiguration><Status>Enabled</Status>"
		"</VersioningConfiguration>";
	static const char suspended[] =
		"<VersioningConfiguration><Status>Suspended</Status>"
		"</VersioningConfiguration>";
	static const char locks[] =
		"<ObjectLockConfiguration><ObjectLockEnabled>Enabled"
		"</ObjectLockEnabled></ObjectLockConfiguration>";
	int64_t until, wanted;
	bool flag;
	size_t i;

	(void) omb_time_parse("2026-12-20T23:15:02Z", &wanted);
	ok(omb_s3_parse_retention(good, strlen(good), &flag, &until) && flag &&
		   until == wanted,
	   "the lock of an object");
	for (i = 0; i < LENGTH(damaged); i++)
		ok(!omb_s3_parse_retention(damaged[i], strlen(damaged[i]), &flag,
								   &until),
		   "what is none %zu", i);
	ok(omb_s3_parse_versioning(versions, strlen(versions), &flag) && flag,
	   "a bucket with versions");
	ok(omb_s3_parse_versioning(suspended, strlen(suspended), &flag) && !flag,
	   "one without");
	ok(omb_s3_parse_lock_config(locks, strlen(locks), &flag) && flag,
	   "a bucket with locks");
	ok(!omb_s3_parse_lock_config(versions, strlen(versions), &flag) && !flag,
	   "another answer says nothing of locks");
}

/* What is forbidden is named by what was asked for. */
static void
test_rights(void)
{
	static const struct
	{
		omb_cloud_call call;
		const char *right;
	} cases[] = {
		{ { .method = "PUT", .name = "x" }, "s3:PutObject on" },
		{ { .method = "PUT", .name = "x", .query = "partNumber=1&uploadId=u" },
		  "s3:PutObject on" },
		{ { .method = "POST", .name = "x", .query = "uploads=" },
		  "s3:PutObject on" },
		{ { .method = "PUT",
			.name = "x",
			.header = { "x-amz-object-lock-mode: GOVERNANCE" },
			.header_count = 1 },
		  "s3:PutObject and s3:PutObjectRetention" },
		{ { .method = "PUT", .name = "x", .query = "retention=" },
		  "s3:PutObjectRetention on" },
		{ { .method = "GET", .name = "x", .query = "retention=" },
		  "s3:GetObjectRetention" },
		{ { .method = "GET", .name = "x" }, "s3:GetObject on" },
		{ { .method = "HEAD", .name = "x" }, "s3:GetObject on" },
		{ { .method = "GET", .name = "x", .query = "uploadId=u" },
		  "s3:ListMultipartUploadParts" },
		{ { .method = "DELETE", .name = "x", .query = "uploadId=u" },
		  "s3:AbortMultipartUpload" },
		{ { .method = "DELETE", .name = "x" }, "s3:DeleteObject" },
		{ { .method = "POST", .query = "delete=" }, "s3:DeleteObject" },
		{ { .method = "GET", .query = "list-type=2&prefix=uploads=" },
		  "s3:ListBucket on" },
		{ { .method = "GET", .query = "prefix=x&uploads=" },
		  "s3:ListBucketMultipartUploads" },
		{ { .method = "GET", .query = "object-lock=" },
		  "s3:GetBucketObjectLockConfiguration" },
		{ { .method = "GET", .query = "versioning=" },
		  "s3:GetBucketVersioning" },
	};
	size_t i;

	for (i = 0; i < LENGTH(cases); i++)
		ok(strncmp(omb_s3_right(&cases[i].call), cases[i].right,
				   strlen(cases[i].right)) == 0,
		   "%s %s: %s", cases[i].call.method,
		   cases[i].call.query ? cases[i].call.query : "",
		   omb_s3_right(&cases[i].call));
}

static void
test_probe_texts(void)
{
	char *policy =
		omb_probe_policy("s3://b/p?object-lock=governance&lock-days=30");
	char *rules = omb_probe_lifecycle("s3://b/p%22q?region=x");

	ok(policy != NULL && strstr(policy, "s3:PutObjectRetention") != NULL &&
		   strstr(policy, "s3:GetObjectRetention") != NULL &&
		   strstr(policy, "DeleteObjectVersion") == NULL &&
		   strstr(policy, "Bypass") == NULL,
	   "a policy for locks");
	free(policy);
	policy = omb_probe_policy("s3://b/p");
	ok(policy != NULL && strstr(policy, "Retention") == NULL,
	   "and one without");
	ok(rules != NULL && strstr(rules, "\"Prefix\": \"p\\\"q/\"") != NULL &&
		   strstr(rules, "NoncurrentDays") != NULL,
	   "a rule of the bucket: %s", rules);
	free(rules);
	free(policy);
}

/* ---- keeping what a target holds locked ---- */

#define OBJECTS 60

/* A store in memory whose objects have locks, by their number. */
static struct
{
	omb_store_ops ops;
	pthread_mutex_t lock;
	omb_lock_rule rule;
	omb_object_lock object[OBJECTS];
	unsigned asked;
	unsigned set;
	bool shrunk;
	unsigned fail_at; /* of what is asked; 0: never */
	omb_status failure;
} fake;

#define FOLDER "marks/points/"

static char *
object_name(unsigned i)
{
	return omb_format(FOLDER "%u", 100 + i);
}

static unsigned
object_number(const char *name)
{
	return (unsigned) strtoul(name + strlen(FOLDER), NULL, 10) - 100;
}

static bool
fake_rule(omb_store *store, omb_lock_rule *rule)
{
	*rule = fake.rule;
	return true;
}

static omb_status
fake_get(omb_store *store, const char *name, omb_object_lock *lock,
		 omb_error *err)
{
	(void) pthread_mutex_lock(&fake.lock);
	if (++fake.asked == fake.fail_at)
		(void) omb_error_set(err, fake.failure, "it fails");
	else
		*lock = fake.object[object_number(name)];
	(void) pthread_mutex_unlock(&fake.lock);
	return err->status;
}

static omb_status
fake_set(omb_store *store, const char *name, const omb_object_lock *lock,
		 omb_error *err)
{
	unsigned i = object_number(name);

	(void) pthread_mutex_lock(&fake.lock);
	fake.set++;
	fake.shrunk = fake.shrunk || lock->until < fake.object[i].until;
	fake.object[i] = *lock;
	(void) pthread_mutex_unlock(&fake.lock);
	return OMB_OK;
}

static omb_store *
fake_store(void)
{
	omb_store *store = omb_store_memory_new();
	omb_error err = OMB_ERROR_INIT;
	unsigned i;

	memset(fake.object, 0, sizeof(fake.object));
	fake.ops = *store->ops;
	fake.ops.lock_rule = fake_rule;
	fake.ops.object_lock = fake_get;
	fake.ops.set_object_lock = fake_set;
	store->ops = &fake.ops;
	fake.rule.days = 30;
	fake.asked = fake.set = fake.fail_at = 0;
	fake.shrunk = false;
	for (i = 0; i < OBJECTS; i++)
	{
		char *name = object_name(i);

		if (omb_store_put(store, name, "x", 1, &err) != OMB_OK)
			abort();
		free(name);
	}
	if (omb_store_put(store, "marks/pins/a", "x", 1, &err) != OMB_OK ||
		omb_store_put(store, "stranger", "x", 1, &err) != OMB_OK)
		abort();
	return store;
}

static unsigned
locked_objects(void)
{
	unsigned i, count = 0;

	for (i = 0; i < OBJECTS; i++)
		count += fake.object[i].is_set &&
				 fake.object[i].until > omb_time_now() + 29 * DAY;
	return count;
}

static void
test_locker(const char *path)
{
	omb_store *store = fake_store();
	omb_mirror_lock_config config = { .to = store, .path = path, .jobs = 3 };
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_lock_result result;
	omb_mirror_locker *locker;
	omb_object_lock longer = { true, true, omb_time_now() + 3000 * DAY };

	fake.object[7] = longer;
	fake.object[8] = longer;
	fake.object[8].until = omb_time_now() + 25 * DAY;
	locker = omb_mirror_locker_new(&config);
	ok(omb_mirror_locker_step(locker, 0, &result, &err) == OMB_OK &&
		   result.is_done && result.looked_at == OBJECTS &&
		   result.extended == OBJECTS - 2 && fake.set == OBJECTS - 2,
	   "what is not locked long enough is locked anew");
	ok(!fake.shrunk && fake.object[7].until == longer.until &&
		   fake.object[8].until < omb_time_now() + 26 * DAY,
	   "what is, stays");
	ok(omb_mirror_locker_step(locker, 0, &result, &err) == OMB_OK &&
		   result.is_done && fake.asked == OBJECTS,
	   "right after it nothing is asked");
	omb_mirror_locker_free(locker);
	locker = omb_mirror_locker_new(&config);
	ok(omb_mirror_locker_step(locker, 0, &result, &err) == OMB_OK &&
		   result.is_done && fake.asked == OBJECTS,
	   "nor by another process");
	omb_mirror_locker_free(locker);
	fake.rule.days = 0;
	ok(omb_mirror_locker_new(&config) == NULL, "without locks there is none");
	omb_store_free(store);
	(void) unlink(path);
}

static void
test_locker_removed(const char *path)
{
	omb_store *store = fake_store();
	omb_mirror_lock_config config = { .to = store, .path = path, .jobs = 2 };
	omb_mirror_locker *locker = omb_mirror_locker_new(&config);
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_lock_result result;

	fake.fail_at = 9;
	fake.failure = OMB_NOT_FOUND;
	ok(omb_mirror_locker_step(locker, 0, &result, &err) == OMB_OK &&
		   result.is_done && locked_objects() == OBJECTS - 1,
	   "what is removed meanwhile is left out");
	omb_mirror_locker_free(locker);
	omb_store_free(store);
	(void) unlink(path);
}

/* In steps, with a new process now and then, and failures. */
static void
test_locker_cut(const char *path, size_t names, unsigned seed)
{
	omb_store *store = fake_store();
	omb_mirror_lock_config config = {
		.to = store, .path = path, .jobs = 2, .names = names
	};
	omb_mirror_locker *locker = omb_mirror_locker_new(&config);
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_lock_result result;
	unsigned turns = 0, failures = 0;

	fake.failure = OMB_FAILED;
	do
	{
		fake.fail_at = fake.asked + 5 + seed % 7;
		(void) omb_mirror_locker_step(locker, 0, &result, &err);
		failures += err.status == OMB_FAILED;
		omb_error_clear(&err);
		if (turns % 2 == seed % 2)
		{
			omb_mirror_locker_free(locker);
			locker = omb_mirror_locker_new(&config);
		}
		turns++;
	} while (!result.is_done && turns < 1000);
	ok(result.is_done && failures > 2 && locked_objects() == OBJECTS,
	   "cut short %u times, %zu names at once: all are done", failures, names);
	ok(fake.asked < 3 * OBJECTS, "it goes on where it was (%u)", fake.asked);
	omb_mirror_locker_free(locker);
	omb_store_free(store);
	(void) unlink(path);
}

static void
test_locker_file(const char *path)
{
	static const char *const contents[] = {
		"",
		"nonsense",
		"began=1\nafter=zzz\n",
		"began=x\nafter=zzz\nlast=0\n",
		"began=1\nafter=%ZZ\nlast=0\n",
	};
	omb_error err = OMB_ERROR_INIT;
	omb_mirror_lock_result result;
	size_t i;

	for (i = 0; i < LENGTH(contents); i++)
	{
		omb_store *store = fake_store();
		omb_mirror_lock_config config = { .to = store,
										  .path = path,
										  .jobs = 1 };
		omb_mirror_locker *locker;

		(void) omb_file_replace(path, contents[i], strlen(contents[i]), 0600,
								&err);
		locker = omb_mirror_locker_new(&config);
		ok(omb_mirror_locker_step(locker, 0, &result, &err) == OMB_OK &&
			   result.is_done && locked_objects() == OBJECTS,
		   "with a damaged file %zu all is looked at", i);
		omb_mirror_locker_free(locker);
		omb_store_free(store);
	}
	(void) unlink(path);
}

int
main(void)
{
	char *path = omb_format("/tmp/test_locks.%d", (int) getpid());
	unsigned seed;

	(void) pthread_mutex_init(&fake.lock, NULL);
	test_plan();
	test_always_locked();
	test_covered();
	test_urls();
	test_other_stores();
	test_requests();
	test_answers();
	test_rights();
	test_probe_texts();
	test_locker(path);
	test_locker_removed(path);
	for (seed = 0; seed < 4; seed++)
	{
		test_locker_cut(path, 0, seed);
		test_locker_cut(path, 7, seed);
	}
	test_locker_file(path);
	free(path);
	return tap_done();
}
