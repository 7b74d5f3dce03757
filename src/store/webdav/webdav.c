/*
 * webdav.c: a store in a folder of a WebDAV server.
 */
#include "store/webdav/webdav.h"

#include "base/file.h"
#include "base/text.h"
#include "store/removeall.h"
#include "store/sole.h"
#include "store/webdav/webdavclient.h"
#include "store/webdav/webdavupload.h"
#include "store/readahead.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_FIRST ((size_t) 128 * 1024)
#define WINDOW_LAST ((size_t) 8 * 1024 * 1024)

typedef struct dav_store
{
	omb_store base;
	omb_cloud_client *client;
	omb_sole sole;
} dav_store;

typedef struct dav_object
{
	omb_object base;
	char *name;
	char *condition; /* header: the object that was opened; or NULL */
	omb_readahead window;
} dav_object;

static omb_cloud_client *
client_of(omb_store *store)
{
	return ((dav_store *) store)->client;
}

/* ---- listing ---- */

static int
compare_items(const void *a, const void *b)
{
	return strcmp(omb_dav_name(a), omb_dav_name(b));
}

static omb_status
stop(const omb_store_entry *entry, void *arg, omb_error *err)
{
	*(bool *) arg = true;
	return omb_error_set(err, OMB_CANCELLED, "there is something");
}

static omb_status
dav_list(omb_store *store, const char *folder, bool recursive,
		 omb_store_visit visit, void *arg, omb_error *err)
{
	char *path = *folder != '\0' ? omb_format("%s/", folder) : omb_strdup("");
	omb_dav_list list;
	size_t i;

	if (omb_dav_find(client_of(store), path, true, &list, NULL, err) ==
		OMB_NOT_FOUND)
		omb_error_clear(err);
	/* the first one is the folder itself */
	if (err->status == OMB_OK && list.count > 2)
		qsort(list.item + 1, list.count - 1, sizeof(*list.item),
			  compare_items);
	for (i = 1; i < list.count && err->status == OMB_OK; i++)
	{
		const omb_dav_item *item = &list.item[i];
		const char *last = omb_dav_name(item);
		char *name = omb_format("%s%s", path, last);
		omb_store_entry entry = { name, item->is_folder, item->size };
		bool shown = true;

		if (last[0] == '.' || !omb_path_is_safe(name) ||
			strcmp(name, "tmp") == 0 || strcmp(name, "lock") == 0 ||
			strcmp(name, "cache") == 0)
			shown = false;
		else if (item->is_folder && recursive)
		{
			(void) dav_list(store, name, true, visit, arg, err);
			shown = false;
		}
		else if (item->is_folder)
		{
			/* one that was left empty is not removed (store/webdav/webdav.h) */
			shown = false;
			if (dav_list(store, name, true, stop, &shown, err) != OMB_OK &&
				shown)
				omb_error_clear(err);
		}
		if (shown && err->status == OMB_OK)
			(void) visit(&entry, arg, err);
		free(name);
	}
	omb_dav_list_free(&list);
	free(path);
	return err->status;
}

/* ---- reading ---- */

static omb_status
dav_open(omb_store *store, const char *name, omb_object **object,
		 omb_error *err)
{
	omb_dav_list list;
	dav_object *o;

	if (omb_dav_find(client_of(store), name, false, &list, NULL, err) !=
		OMB_OK)
		return err->status;
	if (list.item[0].is_folder || !list.item[0].has_size)
		(void) omb_error_set(err, OMB_FAILED, "\"%s\" in \"%s\" is no file",
							 name, store->location);
	else
	{
		o = omb_calloc(1, sizeof(*o));
		o->base.store = store;
		o->base.size = list.item[0].size;
		o->name = omb_strdup(name);
		if (list.item[0].etag[0] != '\0')
			o->condition = omb_format("if-match: %s", list.item[0].etag);
		else if (list.item[0].changed[0] != '\0')
			o->condition =
				omb_format("if-unmodified-since: %s", list.item[0].changed);
		o->window.first = WINDOW_FIRST;
		o->window.last = WINDOW_LAST;
		*object = &o->base;
	}
	omb_dav_list_free(&list);
	return err->status;
}

/* Is it a part of another object? "bytes 0-99/1000" */
static bool
has_other_size(const omb_http_response *answer, uint64_t size)
{
	char range[80];
	const char *slash;
	uint64_t whole;

	if (!omb_http_header(answer, "content-range", range, sizeof(range)))
		return false;
	slash = strchr(range, '/');
	return slash != NULL && omb_u64_parse(slash + 1, &whole) && whole != size;
}

static omb_status
fetch(void *arg, uint64_t offset, void *data, size_t len, omb_error *err)
{
	dav_object *o = arg;
	omb_cloud_call call = { .action = "read object",
							.method = "GET",
							.name = o->name,
							.into = data,
							.into_size = len,
							.offset = offset };
	omb_cloud_answer answer = { 0 };
	int status;

	if (o->condition != NULL)
		call.header[call.header_count++] = o->condition;
	(void) omb_cloud_do(client_of(o->base.store), &call, &answer, err);
	status = answer.http.status;
	/* where a time is all there is: a second is long */
	if (err->status == OMB_OK && has_other_size(&answer.http, o->base.size))
		status = 412;
	omb_cloud_answer_free(&answer);
	if (status == 412)
		return omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" in \"%s\" was replaced while it "
							 "was read",
							 o->name, o->base.store->location);
	return err->status;
}

static omb_status
dav_read(omb_object *object, uint64_t offset, void *data, size_t len,
		 omb_error *err)
{
	dav_object *o = (dav_object *) object;

	return omb_readahead_read(&o->window, o->base.size, offset, data, len,
							  fetch, o, err);
}

static void
dav_close(omb_object *object)
{
	dav_object *o = (dav_object *) object;

	omb_readahead_free(&o->window);
	free(o->condition);
	free(o->name);
	free(o);
}

/* ---- writing and removing ---- */

static omb_status
dav_create(omb_store *store, omb_upload **upload, omb_error *err)
{
	*upload = omb_dav_upload_new(client_of(store), store);
	return OMB_OK;
}

static omb_status
dav_confirm(omb_store *store, const char *name, omb_error *err)
{
	uint64_t size;

	return omb_dav_look(client_of(store), name, &size, err);
}

/* DELETE that is tried again would not find what an earlier try removed. */
static omb_status
dav_remove(omb_store *store, const char *name, omb_error *err)
{
	int status;

	if (dav_confirm(store, name, err) == OMB_OK &&
		omb_dav_do(client_of(store), "DELETE", "remove object", name, NULL, 0,
				   false, &status, err) != OMB_OK &&
		status == 404)
		omb_error_clear(err);
	return err->status;
}

static omb_status
remove_one(void *store, const char *name, omb_error *err)
{
	return dav_remove(store, name, err);
}

static omb_status
dav_remove_many(omb_store *store, const char *const *name, size_t count,
				omb_store_removed removed, void *arg, omb_error *err)
{
	return omb_remove_all(store, remove_one, OMB_REMOVE_THREADS, name, count,
						  removed, arg, err);
}

/* What the server has said to be removed is removed. */
static omb_status
dav_settle(omb_store *store, const char *folder, omb_error *err)
{
	return OMB_OK;
}

static omb_status
dav_sweep(omb_store *store, uint64_t seconds, bool remove,
		  omb_store_swept *swept, omb_error *err)
{
	omb_dav_list list;
	int64_t now = 0;
	size_t i;

	if (omb_dav_find(client_of(store), "tmp/", true, &list, &now, err) ==
		OMB_NOT_FOUND)
		omb_error_clear(err);
	for (i = 1; i < list.count && err->status == OMB_OK; i++)
	{
		const omb_dav_item *item = &list.item[i];
		char *name = omb_format("tmp/%s", omb_dav_name(item));
		int64_t changed;

		if (item->is_folder || !omb_path_is_safe(name) ||
			!omb_http_time(item->changed, &changed) ||
			now - changed < (int64_t) seconds * 1000000)
			;
		else if (remove && dav_remove(store, name, err) == OMB_NOT_FOUND)
			omb_error_clear(err);
		else if (err->status == OMB_OK)
		{
			swept->count++;
			swept->bytes += item->size;
		}
		free(name);
	}
	omb_dav_list_free(&list);
	return err->status;
}

/* ---- the store ---- */

static omb_status
dav_lock(omb_store *store, bool exclusive, omb_lock **lock, omb_error *err)
{
	return omb_sole_take(&((dav_store *) store)->sole, store, exclusive, lock,
						 err);
}

static bool
dav_clock(omb_store *store, int64_t *offset)
{
	return omb_cloud_client_clock(client_of(store), offset);
}

static void
dav_free(omb_store *base)
{
	dav_store *store = (dav_store *) base;

	omb_cloud_client_free(store->client);
	omb_sole_destroy(&store->sole);
	free(base->location);
	free(store);
}

omb_status
omb_store_webdav_new(const omb_webdav_config *config, omb_store **out,
					 omb_error *err)
{
	static const omb_store_ops ops = {
		.list = dav_list,
		.open = dav_open,
		.read = dav_read,
		.close = dav_close,
		.create = dav_create,
		.write = omb_dav_upload_write,
		.commit = omb_dav_upload_commit,
		.abort = omb_dav_upload_abort,
		.confirm = dav_confirm,
		.remove = dav_remove,
		.remove_many = dav_remove_many,
		.settle = dav_settle,
		.sweep = dav_sweep,
		.lock = dav_lock,
		.unlock = omb_sole_give,
		.clock = dav_clock,
		.free = dav_free,
	};
	omb_cloud_client *client;
	dav_store *store;

	*out = NULL;
	if (omb_dav_client_new(config, &client, err) != OMB_OK)
		return err->status;
	store = omb_calloc(1, sizeof(*store));
	store->base.ops = &ops;
	store->base.location = omb_strdup(client->location);
	store->client = client;
	omb_sole_init(&store->sole, client->sole_user);
	*out = &store->base;
	return OMB_OK;
}
