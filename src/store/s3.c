/*
 * s3.c: a store in a bucket.
 *
 * Reading: each request costs a round trip. So opening an object fetches its
 * beginning too, with which the size comes, and reads that go on where the
 * last one ended are served from a window that is fetched ahead and
 * grows as long as they do; small objects are fetched at once.
 */
#include "store/s3.h"

#include "base/file.h"
#include "base/text.h"
#include "store/s3client.h"
#include "store/s3head.h"
#include "store/s3sign.h"
#include "store/s3upload.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Fetched with the size: most objects are no longer. */
#define START ((size_t) 16 * 1024)
#define WINDOW_FIRST ((size_t) 128 * 1024)
#define WINDOW_GROWS 4
#define WINDOW_LAST ((size_t) 8 * 1024 * 1024)

typedef struct s3_store
{
	omb_store base;
	omb_s3_client *client;
	omb_s3_uploader *uploader;
	bool sole_user;
	pthread_mutex_t lock; /* for what follows */
	unsigned int shared;
	bool exclusive;
} s3_store;

typedef struct s3_object
{
	omb_object base;
	char *name;
	char *condition; /* header: the object that was opened and no other */
	uint8_t *window;
	size_t window_size; /* of the next one */
	uint64_t start;		/* of what is in the window */
	size_t len;
	uint64_t next; /* where the last read ended */
} s3_object;

typedef struct s3_lock
{
	omb_lock base;
	bool exclusive;
} s3_lock;

/* ---- listing ---- */

static int
compare_items(const void *a, const void *b)
{
	return strcmp(((const omb_s3_item *) a)->key,
				  ((const omb_s3_item *) b)->key);
}

/* Fetch one page. */
static omb_status
fetch_page(s3_store *store, const char *folder, bool recursive,
		   const char *token, omb_s3_page *page, omb_error *err)
{
	omb_s3_call call = { .action = "list objects", .method = "GET" };
	omb_s3_answer answer = { 0 };
	omb_buf query = OMB_BUF_INIT;

	if (token != NULL)
	{
		omb_buf_printf(&query, "continuation-token=");
		omb_s3_encode(&query, token, false);
		omb_buf_put_u8(&query, '&');
	}
	if (!recursive)
		omb_buf_printf(&query, "delimiter=%%2F&");
	omb_buf_printf(&query, "encoding-type=url&list-type=2&prefix=");
	omb_s3_encode(&query, omb_s3_client_prefix(store->client), false);
	omb_s3_encode(&query, folder, false);
	if (*folder != '\0')
		omb_buf_printf(&query, "%%2F");
	call.query = omb_buf_text(&query);
	if (omb_s3_do(store->client, &call, &answer, err) == OMB_OK &&
		!omb_s3_parse_page(answer.http.body.data, answer.http.body.len, page))
		(void) omb_error_set(err, OMB_FAILED,
							 "could not list objects in \"%s\": the server's "
							 "answer makes no sense",
							 store->base.location);
	omb_buf_free(&query);
	omb_s3_answer_free(&answer);
	return err->status;
}

/* Keys become names; what is none of ours is left out. */
static omb_status
clean_page(s3_store *store, omb_s3_page *page, omb_error *err)
{
	const char *prefix = omb_s3_client_prefix(store->client);
	size_t skip = strlen(prefix);
	size_t kept = 0;
	size_t i;

	for (i = 0; i < page->count; i++)
	{
		omb_s3_item *item = &page->item[i];
		size_t len = strlen(item->key);

		if (strncmp(item->key, prefix, skip) != 0)
			return omb_error_set(err, OMB_FAILED,
								 "could not list objects in \"%s\": the "
								 "server names others",
								 store->base.location);
		memmove(item->key, item->key + skip, len - skip + 1);
		len -= skip;
		if (item->is_folder && len > 0 && item->key[len - 1] == '/')
			item->key[len - 1] = '\0';
		if (omb_path_is_safe(item->key))
		{
			omb_s3_item swap = page->item[kept];

			page->item[kept++] = *item;
			*item = swap;
		}
	}
	for (i = kept; i < page->count; i++)
		free(page->item[i].key);
	page->count = kept;
	return OMB_OK;
}

static omb_status
visit_items(const omb_s3_page *page, omb_store_visit visit, void *arg,
			omb_error *err)
{
	size_t i;

	for (i = 0; i < page->count && err->status == OMB_OK; i++)
	{
		omb_store_entry entry = { page->item[i].key, page->item[i].is_folder,
								  page->item[i].size };

		(void) visit(&entry, arg, err);
	}
	return err->status;
}

/* Move the items of a page to the end of another. */
static void
join_pages(omb_s3_page *all, omb_s3_page *page)
{
	if (page->count == 0)
		return;
	all->item = omb_realloc(all->item,
							(all->count + page->count) * sizeof(*all->item));
	memcpy(all->item + all->count, page->item,
		   page->count * sizeof(*page->item));
	all->count += page->count;
	page->count = 0;
}

/*
 * A server sorts by whole keys, "a-b" before "a/": within one folder objects
 * come in order, but folders among them do not. So one folder is listed whole
 * and sorted, and all objects are visited page by page.
 */
static omb_status
s3_list(omb_store *base, const char *folder, bool recursive,
		omb_store_visit visit, void *arg, omb_error *err)
{
	s3_store *store = (s3_store *) base;
	omb_s3_page all = { 0 };
	omb_s3_page page = { 0 };
	char *token = NULL;

	do
	{
		(void) fetch_page(store, folder, recursive, token, &page, err);
		free(token);
		token = page.token;
		page.token = NULL;
		if (err->status == OMB_OK && clean_page(store, &page, err) == OMB_OK)
		{
			if (recursive)
				(void) visit_items(&page, visit, arg, err);
			else
				join_pages(&all, &page);
		}
		omb_s3_page_free(&page);
	} while (err->status == OMB_OK && token != NULL);
	free(token);
	if (err->status == OMB_OK && all.count > 0)
	{
		qsort(all.item, all.count, sizeof(*all.item), compare_items);
		(void) visit_items(&all, visit, arg, err);
	}
	omb_s3_page_free(&all);
	return err->status;
}

/* ---- reading ---- */

static omb_status
s3_open(omb_store *base, const char *name, omb_object **object, omb_error *err)
{
	s3_store *store = (s3_store *) base;
	omb_buf start = OMB_BUF_INIT;
	omb_s3_found found;
	s3_object *o;

	if (omb_s3_peek(store->client, name, START, &found, &start, err) != OMB_OK)
	{
		omb_buf_free(&start);
		return err->status;
	}
	o = omb_calloc(1, sizeof(*o));
	o->base.store = base;
	o->base.size = found.size;
	o->name = omb_strdup(name);
	if (found.etag[0] != '\0')
		o->condition = omb_format("if-match: %s", found.etag);
	o->window = start.data;
	o->len = start.len;
	o->window_size = WINDOW_FIRST / WINDOW_GROWS;
	*object = &o->base;
	return OMB_OK;
}

static omb_status
fetch(s3_object *o, uint64_t offset, void *data, size_t len, omb_error *err)
{
	s3_store *store = (s3_store *) o->base.store;
	omb_s3_call call = { .action = "read object",
						 .method = "GET",
						 .name = o->name,
						 .into = data,
						 .into_size = len,
						 .offset = offset };
	omb_s3_answer answer = { 0 };
	int http_status;

	if (o->condition != NULL)
		call.header[call.header_count++] = o->condition;
	(void) omb_s3_do(store->client, &call, &answer, err);
	http_status = answer.http.status;
	omb_s3_answer_free(&answer);
	if (err->status != OMB_OK && http_status == 412)
		return omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" in \"%s\" was replaced while it "
							 "was read",
							 o->name, store->base.location);
	return err->status;
}

/* Have what begins at offset in the window. */
static omb_status
fill_window(s3_object *o, uint64_t offset, size_t len, omb_error *err)
{
	uint64_t left = o->base.size - offset;
	size_t size = o->window_size;

	if (offset == o->next && o->len > 0 && o->window_size < WINDOW_LAST)
		size = o->window_size *= WINDOW_GROWS;
	else if (offset != o->next)
		size = o->window_size = WINDOW_FIRST;
	if (size < len)
		size = len;
	if (size > left)
		size = (size_t) left;
	o->window = omb_realloc(o->window, size);
	o->start = offset;
	o->len = 0;
	if (fetch(o, offset, o->window, size, err) != OMB_OK)
		return err->status;
	o->len = size;
	return OMB_OK;
}

static omb_status
s3_read(omb_object *object, uint64_t offset, void *data, size_t len,
		omb_error *err)
{
	s3_object *o = (s3_object *) object;
	uint8_t *out = data;

	/* the beginning may be in the window */
	if (offset >= o->start && offset - o->start < o->len)
	{
		size_t skip = (size_t) (offset - o->start);
		size_t part = o->len - skip < len ? o->len - skip : len;

		memcpy(out, o->window + skip, part);
		out += part;
		offset += part;
		len -= part;
		o->next = offset;
	}
	if (len == 0)
		return OMB_OK;
	if (len >= WINDOW_LAST)
	{
		if (fetch(o, offset, out, len, err) != OMB_OK)
			return err->status;
	}
	else
	{
		if (fill_window(o, offset, len, err) != OMB_OK)
			return err->status;
		memcpy(out, o->window, len);
	}
	o->next = offset + len;
	return OMB_OK;
}

static void
s3_close(omb_object *object)
{
	s3_object *o = (s3_object *) object;

	free(o->window);
	free(o->condition);
	free(o->name);
	free(o);
}

/* ---- writing and removing ---- */

static omb_status
s3_create(omb_store *base, omb_upload **upload, omb_error *err)
{
	*upload = omb_s3_upload_new(((s3_store *) base)->uploader, base);
	return OMB_OK;
}

static omb_status
s3_confirm(omb_store *base, const char *name, omb_error *err)
{
	omb_s3_found found;

	return omb_s3_head(((s3_store *) base)->client, name, &found, err);
}

/* DELETE does not tell whether there was anything. */
static omb_status
s3_remove(omb_store *base, const char *name, omb_error *err)
{
	s3_store *store = (s3_store *) base;
	omb_s3_call call = { .action = "remove object",
						 .method = "DELETE",
						 .name = name };
	omb_s3_answer answer = { 0 };

	if (s3_confirm(base, name, err) != OMB_OK)
		return err->status;
	(void) omb_s3_do(store->client, &call, &answer, err);
	omb_s3_answer_free(&answer);
	return err->status;
}

/* What the server has said to be removed is removed. */
static omb_status
s3_settle(omb_store *base, const char *folder, omb_error *err)
{
	return OMB_OK;
}

/* ---- sweeping ---- */

/* An upload that nobody has added to for so long is aborted. */
static omb_status
sweep_one(s3_store *store, const omb_s3_multipart *item, uint64_t seconds,
		  bool remove, omb_store_swept *swept, omb_error *err)
{
	omb_s3_call call = { .action = "list parts of object", .method = "GET" };
	omb_s3_answer answer = { 0 };
	omb_buf query = OMB_BUF_INIT;
	uint64_t bytes = 0;
	int64_t newest = 0;
	bool done = false;

	call.name = item->key + strlen(omb_s3_client_prefix(store->client));
	omb_buf_printf(&query, "uploadId=");
	omb_s3_encode(&query, item->id, false);
	call.query = omb_buf_text(&query);
	if (omb_s3_do(store->client, &call, &answer, err) == OMB_OK &&
		!omb_s3_parse_parts(answer.http.body.data, answer.http.body.len,
							&bytes, &newest))
		(void) omb_error_set(err, OMB_FAILED,
							 "could not list parts of object \"%s\" in "
							 "\"%s\": the server's answer makes no sense",
							 call.name, store->base.location);
	if (newest < item->started)
		newest = item->started;
	if (err->status == OMB_OK && omb_s3_client_now(store->client) - newest >=
									 (int64_t) seconds * 1000000)
	{
		done = true;
		if (remove)
		{
			omb_s3_answer_free(&answer);
			memset(&answer, 0, sizeof(answer));
			call.action = "abort an upload of object";
			call.method = "DELETE";
			done = omb_s3_do(store->client, &call, &answer, err) == OMB_OK;
		}
	}
	if (done)
	{
		swept->count++;
		swept->bytes += bytes;
	}
	else if (answer.http.status == 404 &&
			 strcmp(answer.error.code, "NoSuchUpload") == 0)
		omb_error_clear(err); /* it has ended meanwhile */
	omb_s3_answer_free(&answer);
	omb_buf_free(&query);
	return err->status;
}

static omb_status
fetch_multiparts(s3_store *store, const char *key, const char *id,
				 omb_s3_multiparts *list, omb_error *err)
{
	omb_s3_call call = { .action = "list uploads", .method = "GET" };
	omb_s3_answer answer = { 0 };
	omb_buf query = OMB_BUF_INIT;

	if (key != NULL)
	{
		omb_buf_printf(&query, "key-marker=");
		omb_s3_encode(&query, key, false);
		omb_buf_put_u8(&query, '&');
	}
	omb_buf_printf(&query, "prefix=");
	omb_s3_encode(&query, omb_s3_client_prefix(store->client), false);
	if (id != NULL)
	{
		omb_buf_printf(&query, "&upload-id-marker=");
		omb_s3_encode(&query, id, false);
	}
	omb_buf_printf(&query, "&uploads=");
	call.query = omb_buf_text(&query);
	if (omb_s3_do(store->client, &call, &answer, err) == OMB_OK &&
		!omb_s3_parse_multiparts(answer.http.body.data, answer.http.body.len,
								 list))
		(void) omb_error_set(err, OMB_FAILED,
							 "could not list uploads in \"%s\": the server's "
							 "answer makes no sense",
							 store->base.location);
	omb_s3_answer_free(&answer);
	omb_buf_free(&query);
	return err->status;
}

static omb_status
s3_sweep(omb_store *base, uint64_t seconds, bool remove,
		 omb_store_swept *swept, omb_error *err)
{
	s3_store *store = (s3_store *) base;
	const char *prefix = omb_s3_client_prefix(store->client);
	omb_s3_multiparts list = { 0 };
	char *key = NULL;
	char *id = NULL;
	size_t i;

	do
	{
		(void) fetch_multiparts(store, key, id, &list, err);
		free(key);
		free(id);
		key = list.next_key;
		id = list.next_id;
		list.next_key = NULL;
		list.next_id = NULL;
		for (i = 0; i < list.count && err->status == OMB_OK; i++)
			if (strncmp(list.item[i].key, prefix, strlen(prefix)) == 0)
				(void) sweep_one(store, &list.item[i], seconds, remove, swept,
								 err);
		omb_s3_multiparts_free(&list);
	} while (err->status == OMB_OK && key != NULL);
	free(key);
	free(id);
	return err->status;
}

/* ---- locking ---- */

static omb_status
s3_lock_take(omb_store *base, bool exclusive, omb_lock **lock, omb_error *err)
{
	s3_store *store = (s3_store *) base;
	s3_lock *taken;
	bool busy;

	if (exclusive && !store->sole_user)
	{
		(void) omb_error_set(err, OMB_REFUSED, "cannot lock \"%s\" alone",
							 base->location);
		omb_error_detail(err, "A bucket has no lock, so it cannot be seen "
							  "whether somebody restores from it now.");
		omb_error_hint(err, "Remove old backups with the server whose "
							"repository is kept there.");
		return err->status;
	}
	(void) pthread_mutex_lock(&store->lock);
	busy = store->exclusive || (exclusive && store->shared > 0);
	if (!busy && exclusive)
		store->exclusive = true;
	else if (!busy)
		store->shared++;
	(void) pthread_mutex_unlock(&store->lock);
	if (busy)
		return omb_error_set(err, OMB_BUSY, "repository \"%s\" is in use",
							 base->location);
	taken = omb_calloc(1, sizeof(*taken));
	taken->base.store = base;
	taken->exclusive = exclusive;
	*lock = &taken->base;
	return OMB_OK;
}

static void
s3_unlock(omb_lock *lock)
{
	s3_store *store = (s3_store *) lock->store;

	(void) pthread_mutex_lock(&store->lock);
	if (((s3_lock *) lock)->exclusive)
		store->exclusive = false;
	else
		store->shared--;
	(void) pthread_mutex_unlock(&store->lock);
	free(lock);
}

/* ---- the store ---- */

static bool
s3_clock(omb_store *base, int64_t *offset)
{
	*offset = omb_s3_client_now(((s3_store *) base)->client) - omb_time_now();
	return true;
}

static void
s3_free(omb_store *base)
{
	s3_store *store = (s3_store *) base;

	omb_s3_uploader_free(store->uploader);
	omb_s3_client_free(store->client);
	(void) pthread_mutex_destroy(&store->lock);
	free(base->location);
	free(store);
}

omb_status
omb_store_s3_new(const omb_s3_config *config, omb_store **out, omb_error *err)
{
	static const omb_store_ops ops = {
		.list = s3_list,
		.open = s3_open,
		.read = s3_read,
		.close = s3_close,
		.create = s3_create,
		.write = omb_s3_upload_write,
		.commit = omb_s3_upload_commit,
		.abort = omb_s3_upload_abort,
		.confirm = s3_confirm,
		.remove = s3_remove,
		.settle = s3_settle,
		.sweep = s3_sweep,
		.lock = s3_lock_take,
		.unlock = s3_unlock,
		.clock = s3_clock,
		.free = s3_free,
	};
	omb_s3_client *client;
	s3_store *store;

	*out = NULL;
	if (omb_s3_client_new(config, &client, err) != OMB_OK)
		return err->status;
	store = omb_calloc(1, sizeof(*store));
	store->base.ops = &ops;
	store->base.location = omb_strdup(omb_s3_client_location(client));
	store->client = client;
	store->uploader = omb_s3_uploader_new(client, config);
	store->sole_user = config->sole_user;
	(void) pthread_mutex_init(&store->lock, NULL);
	*out = &store->base;
	return OMB_OK;
}
