/*
 * cloudsuite.c: a cloud store against a server, for TAP tests. Not a unit test:
 * what it does is in its arguments, which server in the environment: a URL in
 * OMB_CLOUD_URL with OMB_CLOUD_CREDENTIALS, or OMB_S3_*.
 *
 *   cloudsuite create            make the bucket or container
 *   cloudsuite policy FILE       say who may do what with it
 *   cloudsuite suite             what every store promises, and what this one does
 *   cloudsuite put NAME SIZE     store an object of so many bytes
 *   cloudsuite get NAME SIZE     read it in pieces and compare
 *   cloudsuite whole NAME SIZE   read it at once and compare
 *   cloudsuite list | remove NAME | removeall PREFIX COUNT | sweep SECONDS
 *   cloudsuite ask METHOD NAME QUERY [HEADER]   a request to S3 as it is, for
 *                             the bucket with an empty name; prints the answer
 *   cloudsuite renew FILE        list, which must fail; put FILE in the place of
 *                             the credentials; list again
 *
 * The single operations print "status: message" and the rest of an error, and
 * exit with 1 when they fail.
 */
#include "test/storesuite.h"

#include "base/file.h"
#include "store/azure/azure.h"
#include "store/s3/s3client.h"
#include "store/s3/s3xml.h"
#include "store/url.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE 100000
#define RACERS 4

static uint8_t
pattern(uint64_t i)
{
	return (uint8_t) ((i * 2654435761u) >> 13 ^ i >> 16);
}

static uint32_t
number(const char *name)
{
	const char *text = getenv(name);

	return text != NULL ? (uint32_t) strtoul(text, NULL, 10) : 0;
}

/* The store that is tested. */
typedef struct target
{
	const char *url; /* or NULL, and: */
	omb_s3_config s3;
	omb_cloud_options common;
} target;

static void
configure(target *t)
{
	omb_s3_config *config = &t->s3;
	const char *style = getenv("OMB_S3_STYLE");
	const char *offset = getenv("OMB_CLOUD_CLOCK_OFFSET");

	memset(t, 0, sizeof(*t));
	t->url = getenv("OMB_CLOUD_URL");
	config->endpoint = getenv("OMB_S3_ENDPOINT");
	config->bucket = getenv("OMB_S3_BUCKET");
	config->common.prefix = getenv("OMB_S3_PREFIX");
	config->region = getenv("OMB_S3_REGION");
	config->common.ca_file = getenv("OMB_S3_CA_FILE");
	config->common.credentials_file = getenv(
		t->url != NULL ? "OMB_CLOUD_CREDENTIALS" : "OMB_S3_CREDENTIALS");
	config->common.proxy = getenv("OMB_S3_PROXY");
	config->storage_class = getenv("OMB_S3_STORAGE_CLASS");
	config->encryption = getenv("OMB_S3_ENCRYPTION");
	config->kms_key_id = getenv("OMB_S3_KMS_KEY_ID");
	config->common.tries = number("OMB_CLOUD_TRIES");
	config->common.stall_seconds = number("OMB_CLOUD_STALL");
	config->common.retry_first = 50;
	config->common.sole_user = true;
	config->common.clock_offset =
		offset != NULL ? strtol(offset, NULL, 10) : 0;
	if (style != NULL)
		config->style = strcmp(style, "virtual") == 0 ? OMB_S3_STYLE_VIRTUAL :
														OMB_S3_STYLE_PATH;
	t->common = config->common;
}

static omb_status
open_target(const target *t, omb_store **store, omb_error *err)
{
	if (t->url == NULL)
		return omb_store_s3_new(&t->s3, store, err);
	return omb_store_open_url_as(t->url, t->common.credentials_file,
								 &t->common, store, err);
}

static int
report(const omb_error *err)
{
	static const char *const word[] = {
		"ok",	   "failed",	"not_found", "exists",
		"damaged", "wrong_key", "no_space",	 "unsupported",
		"refused", "cancelled", "usage",	 "busy"
	};

	printf("%s: %s\n", word[err->status], err->message);
	if (err->detail[0] != '\0')
		printf("detail: %s\n", err->detail);
	if (err->hint[0] != '\0')
		printf("hint: %s\n", err->hint);
	return err->status == OMB_OK ? 0 : 1;
}

/* What sends requests as they are; of a URL an Azure one. */
static omb_status
open_client(const target *t, omb_cloud_client **client, omb_error *err)
{
	omb_azure_config config = { .common = t->common };
	omb_url url;

	*client = NULL;
	if (t->url == NULL)
		return omb_s3_client_new(&t->s3, client, err);
	if (omb_url_parse(t->url, &url, err) != OMB_OK)
		return err->status;
	config.account = url.host;
	config.container = url.path;
	url.path[strcspn(url.path, "/")] = '\0';
	config.endpoint = omb_url_option_get(&url, "endpoint");
	config.common.ca_file = omb_url_option_get(&url, "ca-file");
	(void) omb_azure_client_new(&config, client, err);
	omb_url_clear(&url);
	return err->status;
}

/* Create the bucket; with a file set its policy. */
static omb_status
put_bucket(const target *t, const char *policy, omb_error *err)
{
	omb_cloud_call call = { .action = "change the bucket", .method = "PUT" };
	omb_cloud_answer answer = { 0 };
	omb_buf text = OMB_BUF_INIT;
	omb_cloud_client *client;

	if (t->url != NULL)
		call.query = "restype=container";
	if (policy != NULL)
	{
		if (omb_file_read(policy, 65536, &text, err) != OMB_OK)
			return err->status;
		call.query = "policy=";
		call.body = text.data;
		call.body_len = text.len;
	}
	if (open_client(t, &client, err) == OMB_OK)
		(void) omb_cloud_do(client, &call, &answer, err);
	omb_cloud_answer_free(&answer);
	omb_cloud_client_free(client);
	omb_buf_free(&text);
	return err->status;
}

static omb_status
ask(const target *t, int argc, char **argv, omb_error *err)
{
	omb_cloud_call call = { .action = "ask for", .method = argv[2] };
	omb_cloud_answer answer = { 0 };
	omb_cloud_client *client;

	call.name = argv[3][0] != '\0' ? argv[3] : NULL;
	call.query = argv[4];
	if (argc > 5)
		call.header[call.header_count++] = argv[5];
	if (open_client(t, &client, err) == OMB_OK &&
		omb_cloud_do(client, &call, &answer, err) == OMB_OK)
		printf("%.*s\n", (int) answer.http.body.len,
			   (const char *) answer.http.body.data);
	omb_cloud_answer_free(&answer);
	omb_cloud_client_free(client);
	return err->status;
}

static omb_status
put(omb_store *store, const char *name, uint64_t size, omb_error *err)
{
	uint8_t piece[PIECE];
	omb_upload *upload;
	uint64_t at = 0;

	if (omb_store_create(store, &upload, err) != OMB_OK)
		return err->status;
	while (at < size)
	{
		size_t len = size - at < PIECE ? (size_t) (size - at) : PIECE;
		size_t i;

		for (i = 0; i < len; i++)
			piece[i] = pattern(at + i);
		if (omb_upload_write(upload, piece, len, err) != OMB_OK)
		{
			omb_upload_abort(upload);
			return err->status;
		}
		at += len;
	}
	return omb_upload_commit(upload, name, err);
}

static omb_status
get(omb_store *store, const char *name, uint64_t size, size_t step,
	omb_error *err)
{
	uint8_t *piece = omb_malloc(step);
	omb_object *object;
	uint64_t at = 0;

	if (omb_store_open(store, name, &object, err) != OMB_OK)
	{
		free(piece);
		return err->status;
	}
	if (object->size != size)
		(void) omb_error_set(err, OMB_DAMAGED, "size is %" PRIu64,
							 object->size);
	while (err->status == OMB_OK && at < size)
	{
		size_t len = size - at < step ? (size_t) (size - at) : step;
		size_t i;

		if (omb_object_read(object, at, piece, len, err) != OMB_OK)
			break;
		for (i = 0; i < len && piece[i] == pattern(at + i); i++)
			;
		if (i < len)
			(void) omb_error_set(err, OMB_DAMAGED, "byte %" PRIu64 " differs",
								 at + i);
		at += len;
	}
	omb_object_close(object);
	free(piece);
	return err->status;
}

static omb_status
print_entry(const omb_store_entry *entry, void *arg, omb_error *err)
{
	printf("%s %" PRIu64 "\n", entry->name, entry->size);
	return OMB_OK;
}

/* ---- several write the same name at once ---- */

typedef struct racer
{
	omb_store *store;
	const char *name;
	uint64_t size;
	pthread_barrier_t *start;
	omb_error err;
} racer;

static void *
run_racer(void *arg)
{
	racer *r = arg;

	(void) pthread_barrier_wait(r->start);
	(void) put(r->store, r->name, r->size, &r->err);
	return NULL;
}

/* How many believe that they made it; the others must know that they did not. */
static int
race(omb_store *store, const char *name, uint64_t size)
{
	pthread_t thread[RACERS];
	racer r[RACERS];
	pthread_barrier_t start;
	int won = 0;
	int i;

	(void) pthread_barrier_init(&start, NULL, RACERS);
	for (i = 0; i < RACERS; i++)
	{
		memset(&r[i], 0, sizeof(r[i]));
		r[i].store = store;
		r[i].name = name;
		r[i].size = size;
		r[i].start = &start;
		if (pthread_create(&thread[i], NULL, run_racer, &r[i]) != 0)
			abort();
	}
	for (i = 0; i < RACERS; i++)
	{
		(void) pthread_join(thread[i], NULL);
		if (r[i].err.status == OMB_OK)
			won++;
		else if (r[i].err.status != OMB_EXISTS)
		{
			(void) report(&r[i].err);
			won += RACERS;
		}
	}
	(void) pthread_barrier_destroy(&start);
	return won;
}

/* ---- the suite ---- */

/* A bucket sorts by whole keys, a store within each folder. */
static void
test_order(omb_store *store)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf out = OMB_BUF_INIT;

	ok(omb_store_put(store, "o/a/x", "1", 1, &err) == OMB_OK &&
		   omb_store_put(store, "o/a-b", "1", 1, &err) == OMB_OK &&
		   omb_store_put(store, "o/a.1", "1", 1, &err) == OMB_OK,
	   "names that sort around a slash");
	is_text(names(store, "o", false, &out), "o/a/ o/a-b o/a.1 ",
			"a folder is sorted by name");
	is_text(names(store, "o/a", false, &out), "o/a/x ",
			"a folder is no beginning of a name");
	ok(omb_store_remove(store, "o/a/x", &err) == OMB_OK &&
		   omb_store_remove(store, "o/a-b", &err) == OMB_OK &&
		   omb_store_remove(store, "o/a.1", &err) == OMB_OK,
	   "they are removed");
	omb_buf_free(&out);
}

static omb_status
count_entry(const omb_store_entry *entry, void *arg, omb_error *err)
{
	(*(unsigned int *) arg)++;
	return OMB_OK;
}

static omb_status
stop_listing(const omb_store_entry *entry, void *arg, omb_error *err)
{
	return omb_error_set(err, OMB_CANCELLED, "enough");
}

static void
test_pages(omb_store *store)
{
	omb_error err = OMB_ERROR_INIT;
	unsigned int count = 0;
	static unsigned int told[1005];
	static char *all[1005];
	unsigned int i;
	char name[32];

	for (i = 0; i < 1005 && err.status == OMB_OK; i++)
	{
		(void) snprintf(name, sizeof(name), "pages/%u/%u", i % 3, i);
		(void) omb_store_put(store, name, "x", 1, &err);
	}
	ok(err.status == OMB_OK, "more objects than a page of a listing has");
	ok(omb_store_list(store, "pages", true, count_entry, &count, &err) ==
			   OMB_OK &&
		   count == 1005,
	   "all are listed: %u", count);
	ok(omb_store_list(store, "pages", true, stop_listing, NULL, &err) ==
		   OMB_CANCELLED,
	   "a listing ends when the visitor wants");
	omb_error_clear(&err);
	for (i = 0; i < 1005; i++)
		all[i] = omb_format("pages/%u/%u", i % 3, i);
	ok(omb_store_remove_many(store, (const char *const *) all, 1005,
							 count_gone, told, &err) == OMB_OK,
	   "all are removed at once %s", err.message);
	for (i = 0, count = 0; i < 1005; i++)
	{
		count += told[i];
		free(all[i]);
	}
	is_u64(count, 1005, "each is told once");
	count = 0;
	ok(omb_store_list(store, "pages", true, count_entry, &count, &err) ==
			   OMB_OK &&
		   count == 0,
	   "none is left");
}

/* Remove "<prefix>0" and so on at once; shows what became of them. */
static omb_status
remove_all(omb_store *store, const char *prefix, size_t count, omb_error *err)
{
	char **all = omb_calloc(count + 1, sizeof(*all));
	unsigned int *told = omb_calloc(count + 1, sizeof(*told));
	size_t gone = 0, locked = 0, i;

	for (i = 0; i < count; i++)
		all[i] = omb_format("%s%zu", prefix, i);
	(void) omb_store_remove_many(store, (const char *const *) all, count,
								 count_gone, told, err);
	for (i = 0; i < count; i++)
	{
		gone += told[i] == 1;
		locked += told[i] == 100;
		free(all[i]);
	}
	printf("gone %zu, locked %zu, of %zu\n", gone, locked, count);
	free(told);
	free(all);
	return err->status;
}

/* A new store does not know how fast the server is and cuts into parts. */
static omb_store *
fresh(const target *t)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;

	if (open_target(t, &store, &err) != OMB_OK)
		abort();
	return store;
}

static void
test_sizes(omb_store *known, const target *t)
{
	static const uint64_t size[] = { 0,
									 1,
									 128 * 1024,
									 8 * 1024 * 1024,
									 8 * 1024 * 1024 + 1,
									 16 * 1024 * 1024,
									 20 * 1024 * 1024 + 12345 };
	omb_error err = OMB_ERROR_INIT;
	omb_store_swept swept;
	size_t i;

	for (i = 0; i < 2 * sizeof(size) / sizeof(size[0]); i++)
	{
		omb_store *store = i % 2 == 0 ? known : fresh(t);
		uint64_t bytes = size[i / 2];

		ok(put(store, "big", bytes, &err) == OMB_OK,
		   "%" PRIu64 " bytes are stored %s", bytes, err.message);
		ok(put(store, "big", bytes, &err) == OMB_EXISTS, "once");
		omb_error_clear(&err);
		ok(get(store, "big", bytes, 33333, &err) == OMB_OK &&
			   get(store, "big", bytes, 5000001, &err) == OMB_OK,
		   "and read in small and large pieces %s", err.message);
		ok(omb_store_remove(store, "big", &err) == OMB_OK, "and removed");
		if (store != known)
			omb_store_free(store);
	}
	ok(omb_store_sweep(known, 0, true, &swept, &err) == OMB_OK &&
		   swept.count == 0,
	   "no upload was left behind");
}

static void
test_races(const target *t)
{
	const char *creates = getenv("OMB_S3_CREATES");
	bool puts_only = creates != NULL && strcmp(creates, "puts") == 0;
	/* it looks first; see store/s3/s3.h and store/webdav/webdav.h */
	bool looks = creates != NULL && strcmp(creates, "looks") == 0;
	omb_store *store = fresh(t);
	omb_error err = OMB_ERROR_INIT;
	int i, won;

	for (i = 0; i < 5; i++)
	{
		won = race(store, "race", 1000);
		ok(won == 1 || (won > 1 && won <= RACERS && looks),
		   "of several that create a name at once %d did", won);
		ok(get(store, "race", 1000, 1000, &err) == OMB_OK &&
			   omb_store_remove(store, "race", &err) == OMB_OK,
		   "it is whole");
	}
	won = race(store, "race", 9000000);
	/* what a server does not know cannot be asked of it; see store/s3/s3.h */
	ok(won == 1 || (won > 1 && won <= RACERS && (puts_only || looks)),
	   "the same with parts: %d did%s", won,
	   puts_only ? ", on a server that creates only by PUT" : "");
	ok(get(store, "race", 9000000, 100000, &err) == OMB_OK &&
		   omb_store_remove(store, "race", &err) == OMB_OK,
	   "it is whole");
	omb_store_free(store);
}

/* An upload of which only parts have come is found, counted and aborted. */
static void
test_sweeps(omb_store *store, const target *t)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store_swept swept;
	omb_cloud_client *client;
	omb_cloud_answer answer = { 0 };
	omb_cloud_call call = {
		.action = "test", .method = "POST", .name = "left", .query = "uploads="
	};
	char *id = NULL;
	char *query;

	ok(omb_s3_client_new(&t->s3, &client, &err) == OMB_OK &&
		   omb_cloud_do(client, &call, &answer, &err) == OMB_OK &&
		   omb_s3_parse_upload_id(answer.http.body.data, answer.http.body.len,
								  &id),
	   "an upload begins");
	query = omb_format("partNumber=1&uploadId=%s", id);
	call.method = "PUT";
	call.query = query;
	call.body = "12345";
	call.body_len = 5;
	ok(omb_cloud_do(client, &call, &answer, &err) == OMB_OK, "a part is sent");
	ok(omb_store_sweep(store, 3600, true, &swept, &err) == OMB_OK &&
		   swept.count == 0,
	   "one under way is left alone");
	ok(omb_store_sweep(store, 0, false, &swept, &err) == OMB_OK &&
		   swept.count == 1 && swept.bytes == 5,
	   "it is counted");
	ok(omb_store_sweep(store, 0, true, &swept, &err) == OMB_OK &&
		   swept.count == 1,
	   "it is aborted");
	ok(omb_store_sweep(store, 0, true, &swept, &err) == OMB_OK &&
		   swept.count == 0,
	   "and gone");
	free(query);
	free(id);
	omb_cloud_answer_free(&answer);
	omb_cloud_client_free(client);
}

/* Who reads an object sees that one, or an error. */
static void
test_replaced(omb_store *store)
{
	omb_error err = OMB_ERROR_INIT;
	omb_object *object;
	uint8_t byte = 0;

	ok(put(store, "r", 100000, &err) == OMB_OK &&
		   omb_store_open(store, "r", &object, &err) == OMB_OK &&
		   omb_store_remove(store, "r", &err) == OMB_OK &&
		   put(store, "r", 100001, &err) == OMB_OK,
	   "an object is replaced behind the back of its reader");
	ok(omb_object_read(object, 99999, &byte, 1, &err) == OMB_DAMAGED,
	   "who notices: %s", err.message);
	omb_error_clear(&err);
	omb_object_close(object);
	ok(omb_store_remove(store, "r", &err) == OMB_OK, "clean up");
}

/* A child goes on with the store, and leaves its parent's connections alone. */
static void
test_fork(omb_store *store)
{
	char path[] = "/tmp/omb-test-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	unsigned int count = 0;
	int file = mkstemp(path);
	int status = -1;
	struct stat st;
	pid_t child;
	int fd;

	ok(file >= 0 && omb_store_list(store, "", true, count_entry, &count,
								   &err) == OMB_OK,
	   "a connection is open");
	child = fork();
	if (child == 0)
	{
		/* what was a connection is a file now */
		for (fd = 3; fd < 64; fd++)
			if (fd != file)
				(void) dup2(file, fd);
		if (omb_store_list(store, "", true, count_entry, &count, &err) !=
			OMB_OK)
			_exit(1);
		for (fd = 3; fd < 64; fd++)
			if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size != 0)
				_exit(2);
		_exit(0);
	}
	ok(child > 0 && waitpid(child, &status, 0) == child && status == 0,
	   "a child of this process makes its own");
	ok(omb_store_list(store, "", true, count_entry, &count, &err) == OMB_OK,
	   "its parent keeps it");
	(void) close(file);
	(void) unlink(path);
}

static void
test_lock_needs_a_sole_user(const target *t)
{
	omb_error err = OMB_ERROR_INIT;
	target other = *t;
	omb_store *store;
	omb_lock *lock;

	other.s3.common.sole_user = false;
	other.common.sole_user = false;
	ok(open_target(&other, &store, &err) == OMB_OK &&
		   omb_store_lock(store, true, &lock, &err) == OMB_REFUSED &&
		   lock == NULL,
	   "an exclusive lock is refused");
	omb_error_clear(&err);
	ok(omb_store_lock(store, false, &lock, &err) == OMB_OK,
	   "a shared one is given");
	omb_store_unlock(lock);
	omb_store_free(store);
}

static int
run_suite(const target *t)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store_swept swept;
	omb_store *store;

	if (!ok(open_target(t, &store, &err) == OMB_OK, "new store"))
		return 1;
	store_suite(store, "cloud");
	test_order(store);
	test_sizes(store, t);
	test_races(t);
	if (t->url == NULL)
		test_sweeps(store, t);
	else
		ok(omb_store_sweep(store, 0, true, &swept, &err) == OMB_OK &&
			   swept.count == 0,
		   "there is nothing to sweep");
	test_replaced(store);
	test_fork(store);
	test_pages(store);
	test_lock_needs_a_sole_user(t);
	omb_store_free(store);
	return tap_done();
}

int
main(int argc, char **argv)
{
	const char *action = argc > 1 ? argv[1] : "";
	const char *name = argc > 2 ? argv[2] : "";
	uint64_t size = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	omb_error err = OMB_ERROR_INIT;
	omb_store_swept swept;
	target t;
	omb_store *store;

	(void) signal(SIGPIPE, SIG_IGN);
	configure(&t);
	if (strcmp(action, "create") == 0)
	{
		(void) put_bucket(&t, NULL, &err);
		return report(&err);
	}
	if (strcmp(action, "ask") == 0 && argc > 4)
	{
		(void) ask(&t, argc, argv, &err);
		return report(&err);
	}
	if (strcmp(action, "policy") == 0)
	{
		(void) put_bucket(&t, name, &err);
		return report(&err);
	}
	if (strcmp(action, "suite") == 0)
		return run_suite(&t);
	if (open_target(&t, &store, &err) != OMB_OK)
		return report(&err);
	if (strcmp(action, "put") == 0)
		(void) put(store, name, size, &err);
	else if (strcmp(action, "get") == 0)
		(void) get(store, name, size, PIECE, &err);
	else if (strcmp(action, "whole") == 0)
		(void) get(store, name, size, size > 0 ? (size_t) size : 1, &err);
	else if (strcmp(action, "list") == 0)
		(void) omb_store_list(store, "", true, print_entry, NULL, &err);
	else if (strcmp(action, "remove") == 0)
		(void) omb_store_remove(store, name, &err);
	else if (strcmp(action, "removeall") == 0)
		(void) remove_all(store, name, size, &err);
	else if (strcmp(action, "sweep") == 0)
	{
		if (omb_store_sweep(store, strtoul(name, NULL, 10), true, &swept,
							&err) == OMB_OK)
			printf("swept %" PRIu64 "\n", swept.count);
	}
	else if (strcmp(action, "renew") == 0)
	{
		if (omb_store_list(store, "", true, print_entry, NULL, &err) == OMB_OK)
			(void) omb_error_set(&err, OMB_USAGE, "the first keys are good");
		else
		{
			omb_error_clear(&err);
			if (rename(name, t.common.credentials_file) != 0)
				abort();
			(void) omb_store_list(store, "", true, print_entry, NULL, &err);
		}
	}
	else
		(void) omb_error_set(&err, OMB_USAGE, "see the top of cloudsuite.c");
	omb_store_free(store);
	return report(&err);
}
