/*
 * cloud.c: a store in a bucket or container.
 *
 * Reading: each request costs a round trip. So opening an object fetches its
 * beginning too, with which the size comes, and reads that go on where the
 * last one ended are served from a window that is fetched ahead and
 * grows as long as they do; small objects are fetched at once.
 */
#include "store/cloud.h"

#include "base/file.h"
#include "base/text.h"
#include "store/cloudclient.h"
#include "store/cloudhead.h"
#include "store/cloudremove.h"
#include "store/cloudupload.h"
#include "store/sole.h"

#include <stdlib.h>
#include <string.h>

/* Fetched with the size: most objects are no longer. */
#define START ((size_t) 16 * 1024)
#define WINDOW_FIRST ((size_t) 128 * 1024)
#define WINDOW_GROWS 4
#define WINDOW_LAST ((size_t) 8 * 1024 * 1024)

typedef struct cloud_store
{
	omb_store base;
	omb_cloud_client *client;
	omb_cloud_uploader *uploader;
	omb_sole sole;
} cloud_store;

typedef struct cloud_object
{
	omb_object base;
	char *name;
	char *condition; /* header: the object that was opened and no other */
	uint8_t *window;
	size_t window_size; /* of the next one */
	uint64_t start;		/* of what is in the window */
	size_t len;
	uint64_t next; /* where the last read ended */
} cloud_object;

/* ---- listing ---- */

static int
compare_items(const void *a, const void *b)
{
	return strcmp(((const omb_cloud_item *) a)->key,
				  ((const omb_cloud_item *) b)->key);
}

/* Fetch one page. */
static omb_status
fetch_page(cloud_store *store, const char *folder, bool recursive,
		   const char *token, omb_cloud_page *page, omb_error *err)
{
	omb_cloud_call call = { .action = "list objects", .method = "GET" };
	omb_cloud_answer answer = { 0 };
	omb_buf query = OMB_BUF_INIT;

	store->client->provider->put_list_query(store->client, folder, recursive,
											token, &query);
	call.query = omb_buf_text(&query);
	if (omb_cloud_do(store->client, &call, &answer, err) == OMB_OK &&
		!store->client->provider->parse_page(answer.http.body.data,
											 answer.http.body.len, page))
		(void) omb_cloud_nonsense(store->client, &call, err);
	omb_buf_free(&query);
	omb_cloud_answer_free(&answer);
	return err->status;
}

/* Keys become names; what is none of ours is left out. */
static omb_status
clean_page(cloud_store *store, omb_cloud_page *page, omb_error *err)
{
	const char *prefix = store->client->prefix;
	size_t skip = strlen(prefix);
	size_t kept = 0;
	size_t i;

	for (i = 0; i < page->count; i++)
	{
		omb_cloud_item *item = &page->item[i];
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
			omb_cloud_item swap = page->item[kept];

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
visit_items(const omb_cloud_page *page, omb_store_visit visit, void *arg,
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
join_pages(omb_cloud_page *all, omb_cloud_page *page)
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
cloud_list(omb_store *base, const char *folder, bool recursive,
		   omb_store_visit visit, void *arg, omb_error *err)
{
	cloud_store *store = (cloud_store *) base;
	omb_cloud_page all = { 0 };
	omb_cloud_page page = { 0 };
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
		omb_cloud_page_free(&page);
	} while (err->status == OMB_OK && token != NULL);
	free(token);
	if (err->status == OMB_OK && all.count > 0)
	{
		qsort(all.item, all.count, sizeof(*all.item), compare_items);
		(void) visit_items(&all, visit, arg, err);
	}
	omb_cloud_page_free(&all);
	return err->status;
}

/* ---- reading ---- */

static omb_status
cloud_open(omb_store *base, const char *name, omb_object **object,
		   omb_error *err)
{
	cloud_store *store = (cloud_store *) base;
	omb_buf start = OMB_BUF_INIT;
	omb_cloud_found found;
	cloud_object *o;

	if (omb_cloud_peek(store->client, name, START, &found, &start, err) !=
		OMB_OK)
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
fetch(cloud_object *o, uint64_t offset, void *data, size_t len, omb_error *err)
{
	cloud_store *store = (cloud_store *) o->base.store;
	omb_cloud_call call = { .action = "read object",
							.method = "GET",
							.name = o->name,
							.into = data,
							.into_size = len,
							.offset = offset };
	omb_cloud_answer answer = { 0 };
	int http_status;

	if (o->condition != NULL)
		call.header[call.header_count++] = o->condition;
	(void) omb_cloud_do(store->client, &call, &answer, err);
	http_status = answer.http.status;
	omb_cloud_answer_free(&answer);
	if (err->status != OMB_OK && http_status == 412)
		return omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" in \"%s\" was replaced while it "
							 "was read",
							 o->name, store->base.location);
	return err->status;
}

/* Have what begins at offset in the window. */
static omb_status
fill_window(cloud_object *o, uint64_t offset, size_t len, omb_error *err)
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
cloud_read(omb_object *object, uint64_t offset, void *data, size_t len,
		   omb_error *err)
{
	cloud_object *o = (cloud_object *) object;
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
cloud_close(omb_object *object)
{
	cloud_object *o = (cloud_object *) object;

	free(o->window);
	free(o->condition);
	free(o->name);
	free(o);
}

/* ---- writing and removing ---- */

static omb_status
cloud_create(omb_store *base, omb_upload **upload, omb_error *err)
{
	*upload = omb_cloud_upload_new(((cloud_store *) base)->uploader, base);
	return OMB_OK;
}

static omb_status
cloud_confirm(omb_store *base, const char *name, omb_error *err)
{
	omb_cloud_found found;

	return omb_cloud_head(((cloud_store *) base)->client, name, &found, err);
}

static omb_status
cloud_remove(omb_store *base, const char *name, omb_error *err)
{
	return omb_cloud_remove(((cloud_store *) base)->client, name, err);
}

static omb_status
cloud_remove_many(omb_store *base, const char *const *name, size_t count,
				  omb_store_removed removed, void *arg, omb_error *err)
{
	return omb_cloud_remove_many(((cloud_store *) base)->client, name, count,
								 removed, arg, err);
}

/* What the server has said to be removed is removed. */
static omb_status
cloud_settle(omb_store *base, const char *folder, omb_error *err)
{
	return OMB_OK;
}

static omb_status
cloud_sweep(omb_store *base, uint64_t seconds, bool remove,
			omb_store_swept *swept, omb_error *err)
{
	omb_cloud_client *client = ((cloud_store *) base)->client;

	if (client->provider->sweep == NULL)
		return OMB_OK;
	return client->provider->sweep(client, seconds, remove, swept, err);
}

/* ---- locking ---- */

static omb_status
cloud_lock_take(omb_store *base, bool exclusive, omb_lock **lock,
				omb_error *err)
{
	return omb_sole_take(&((cloud_store *) base)->sole, base, exclusive, lock,
						 err);
}

/* ---- the store ---- */

static bool
cloud_clock(omb_store *base, int64_t *offset)
{
	*offset =
		omb_cloud_client_now(((cloud_store *) base)->client) - omb_time_now();
	return true;
}

static void
cloud_free(omb_store *base)
{
	cloud_store *store = (cloud_store *) base;

	omb_cloud_uploader_free(store->uploader);
	omb_cloud_client_free(store->client);
	omb_sole_destroy(&store->sole);
	free(base->location);
	free(store);
}

omb_store *
omb_store_cloud_new(omb_cloud_client *client)
{
	static const omb_store_ops ops = {
		.list = cloud_list,
		.open = cloud_open,
		.read = cloud_read,
		.close = cloud_close,
		.create = cloud_create,
		.write = omb_cloud_upload_write,
		.commit = omb_cloud_upload_commit,
		.abort = omb_cloud_upload_abort,
		.confirm = cloud_confirm,
		.remove = cloud_remove,
		.remove_many = cloud_remove_many,
		.settle = cloud_settle,
		.sweep = cloud_sweep,
		.lock = cloud_lock_take,
		.unlock = omb_sole_give,
		.clock = cloud_clock,
		.free = cloud_free,
	};
	cloud_store *store = omb_calloc(1, sizeof(*store));

	store->base.ops = &ops;
	store->base.location = omb_strdup(client->location);
	store->client = client;
	store->uploader = omb_cloud_uploader_new(client);
	omb_sole_init(&store->sole, client->sole_user);
	return &store->base;
}
