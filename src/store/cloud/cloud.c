/*
 * cloud.c: a store in a bucket or container.
 */
#include "store/cloud/cloud.h"

#include "base/text.h"
#include "store/cloud/cloudcache.h"
#include "store/cloud/cloudclient.h"
#include "store/cloud/cloudhead.h"
#include "store/cloud/cloudlist.h"
#include "store/cloud/cloudremove.h"
#include "store/cloud/cloudupload.h"
#include "store/sole.h"

#include <stdlib.h>
#include <string.h>

typedef struct cloud_store
{
	omb_store base;
	omb_cloud_client *client;
	omb_cloud_uploader *uploader;
	omb_cloud_cache *cache;
	omb_cloud_lists *lists;
	omb_sole sole;
} cloud_store;

typedef struct cloud_object
{
	omb_object base;
	omb_cloud_source source;
} cloud_object;

static omb_status
cloud_list(omb_store *base, const char *folder, bool recursive,
		   omb_store_visit visit, void *arg, omb_error *err)
{
	return omb_cloud_list(((cloud_store *) base)->lists, folder, recursive,
						  visit, arg, err);
}

static void
cloud_expect_list(omb_store *base, const char *folder, bool recursive)
{
	omb_cloud_expect_list(((cloud_store *) base)->lists, folder, recursive);
}

/* ---- reading ---- */

static omb_status
cloud_open(omb_store *base, const char *name, omb_object **object,
		   omb_error *err)
{
	cloud_store *store = (cloud_store *) base;
	omb_cloud_source source;
	cloud_object *o;

	if (omb_cloud_cache_open(store->cache, name, &source, err) != OMB_OK)
		return err->status;
	o = omb_calloc(1, sizeof(*o));
	o->base.store = base;
	o->base.size = source.size;
	o->source = source;
	*object = &o->base;
	return OMB_OK;
}

static omb_status
cloud_read(omb_object *object, uint64_t offset, void *data, size_t len,
		   omb_error *err)
{
	cloud_store *store = (cloud_store *) object->store;

	return omb_cloud_cache_read(store->cache,
								&((cloud_object *) object)->source, offset,
								data, len, err);
}

static void
cloud_close(omb_object *object)
{
	free(((cloud_object *) object)->source.name);
	free(object);
}

static void
cloud_expect(omb_store *base, const char *name, uint64_t offset, size_t len)
{
	omb_cloud_cache_expect(((cloud_store *) base)->cache, name, offset, len);
}

/* ---- writing and removing ---- */

static omb_status
cloud_create(omb_store *base, omb_upload **upload, omb_error *err)
{
	cloud_store *store = (cloud_store *) base;

	omb_cloud_lists_forget(store->lists);
	*upload = omb_cloud_upload_new(store->uploader, base);
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
	cloud_store *store = (cloud_store *) base;

	omb_cloud_lists_forget(store->lists);
	omb_cloud_cache_forget(store->cache, name);
	return omb_cloud_remove(store->client, name, err);
}

static omb_status
cloud_remove_many(omb_store *base, const char *const *name, size_t count,
				  omb_store_removed removed, void *arg, omb_error *err)
{
	cloud_store *store = (cloud_store *) base;
	size_t i;

	omb_cloud_lists_forget(store->lists);
	for (i = 0; i < count; i++)
		omb_cloud_cache_forget(store->cache, name[i]);
	return omb_cloud_remove_many(store->client, name, count, removed, arg,
								 err);
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
	return omb_cloud_client_clock(((cloud_store *) base)->client, offset);
}

static void
cloud_free(omb_store *base)
{
	cloud_store *store = (cloud_store *) base;

	omb_cloud_client_stop(store->client);
	omb_cloud_lists_free(store->lists);
	omb_cloud_cache_free(store->cache);
	omb_cloud_uploader_free(store->uploader);
	omb_cloud_client_free(store->client);
	omb_sole_destroy(&store->sole);
	free(base->location);
	free(store);
}

/* ---- locks on objects ---- */

static bool
cloud_lock_rule(omb_store *base, omb_lock_rule *rule)
{
	const omb_cloud_client *client = ((cloud_store *) base)->client;

	if (client->provider->lock_rule == NULL)
		return false;
	*rule = client->provider->lock_rule(client);
	return true;
}

static omb_status
cloud_object_lock(omb_store *base, const char *name, omb_object_lock *lock,
				  omb_error *err)
{
	omb_cloud_client *client = ((cloud_store *) base)->client;

	return client->provider->object_lock(client, name, lock, err);
}

static omb_status
cloud_set_object_lock(omb_store *base, const char *name,
					  const omb_object_lock *lock, omb_error *err)
{
	omb_cloud_client *client = ((cloud_store *) base)->client;

	return client->provider->set_object_lock(client, name, lock, err);
}

static omb_status
cloud_lock_place(omb_store *base, omb_lock_place *place, omb_error *err)
{
	omb_cloud_client *client = ((cloud_store *) base)->client;

	return client->provider->lock_place(client, place, err);
}

omb_store *
omb_store_cloud_new(omb_cloud_client *client)
{
	static const omb_store_ops ops = {
		.list = cloud_list,
		.open = cloud_open,
		.read = cloud_read,
		.close = cloud_close,
		.expect = cloud_expect,
		.expect_list = cloud_expect_list,
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
		.lock_rule = cloud_lock_rule,
		.object_lock = cloud_object_lock,
		.set_object_lock = cloud_set_object_lock,
		.lock_place = cloud_lock_place,
		.free = cloud_free,
	};
	cloud_store *store = omb_calloc(1, sizeof(*store));

	store->base.ops = &ops;
	store->base.location = omb_strdup(client->location);
	store->client = client;
	store->uploader = omb_cloud_uploader_new(client);
	store->cache = omb_cloud_cache_new(client);
	store->lists = omb_cloud_lists_new(client);
	omb_sole_init(&store->sole, client->sole_user);
	return &store->base;
}
