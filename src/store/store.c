/*
 * store.c: what is the same for all stores.
 */
#include "store/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Told at a time of what will be read. */
#define EXPECT_MAX ((size_t) 1024 * 1024)

omb_status
omb_store_list(omb_store *store, const char *folder, bool recursive,
			   omb_store_visit visit, void *arg, omb_error *err)
{
	return store->ops->list(store, folder, recursive, visit, arg, err);
}

omb_status
omb_store_open(omb_store *store, const char *name, omb_object **object,
			   omb_error *err)
{
	*object = NULL;
	return store->ops->open(store, name, object, err);
}

omb_status
omb_object_read(omb_object *object, uint64_t offset, void *data, size_t len,
				omb_error *err)
{
	if (offset > object->size || len > object->size - offset)
		return omb_error_set(err, OMB_DAMAGED,
							 "object ends at byte %" PRIu64 " of %" PRIu64
							 " expected",
							 object->size, offset + len);
	if (len == 0)
		return OMB_OK;
	return object->store->ops->read(object, offset, data, len, err);
}

void
omb_object_close(omb_object *object)
{
	if (object != NULL)
		object->store->ops->close(object);
}

void
omb_store_expect(omb_store *store, const char *name, uint64_t offset,
				 size_t len)
{
	if (store->ops->expect != NULL)
		store->ops->expect(store, name, offset, len);
}

void
omb_store_expect_all(omb_store *store, const char *name, uint64_t size)
{
	uint64_t offset;

	for (offset = 0; offset < size; offset += EXPECT_MAX)
		omb_store_expect(store, name, offset,
						 size - offset < EXPECT_MAX ?
							 (size_t) (size - offset) :
							 EXPECT_MAX);
}

void
omb_store_expect_list(omb_store *store, const char *folder, bool recursive)
{
	if (store->ops->expect_list != NULL)
		store->ops->expect_list(store, folder, recursive);
}

bool
omb_store_is_far(const omb_store *store)
{
	return store->ops->expect != NULL;
}

omb_status
omb_store_create(omb_store *store, omb_upload **upload, omb_error *err)
{
	*upload = NULL;
	return store->ops->create(store, upload, err);
}

omb_status
omb_upload_write(omb_upload *upload, const void *data, size_t len,
				 omb_error *err)
{
	return upload->store->ops->write(upload, data, len, err);
}

omb_status
omb_upload_commit(omb_upload *upload, const char *name, omb_error *err)
{
	return upload->store->ops->commit(upload, name, err);
}

void
omb_upload_abort(omb_upload *upload)
{
	if (upload != NULL)
		upload->store->ops->abort(upload);
}

omb_status
omb_store_confirm(omb_store *store, const char *name, omb_error *err)
{
	return store->ops->confirm(store, name, err);
}

omb_status
omb_store_remove(omb_store *store, const char *name, omb_error *err)
{
	return store->ops->remove(store, name, err);
}

static omb_status
remove_each(omb_store *store, const char *const *name, size_t count,
			omb_store_removed removed, void *arg, omb_error *err)
{
	size_t i;

	for (i = 0; i < count; i++)
	{
		omb_error refused;

		switch (omb_store_remove(store, name[i], err))
		{
			case OMB_OK:
			case OMB_NOT_FOUND:
				omb_error_clear(err);
				removed(i, NULL, arg);
				break;
			case OMB_REFUSED:
				refused = *err;
				omb_error_clear(err);
				removed(i, &refused, arg);
				break;
			default:
				return err->status;
		}
	}
	return OMB_OK;
}

omb_status
omb_store_remove_many(omb_store *store, const char *const *name, size_t count,
					  omb_store_removed removed, void *arg, omb_error *err)
{
	if (store->ops->remove_many != NULL)
		return store->ops->remove_many(store, name, count, removed, arg, err);
	return remove_each(store, name, count, removed, arg, err);
}

omb_status
omb_store_settle(omb_store *store, const char *folder, omb_error *err)
{
	return store->ops->settle(store, folder, err);
}

omb_status
omb_store_sweep(omb_store *store, uint64_t seconds, bool remove,
				omb_store_swept *swept, omb_error *err)
{
	memset(swept, 0, sizeof(*swept));
	return store->ops->sweep(store, seconds, remove, swept, err);
}

omb_status
omb_store_lock(omb_store *store, bool exclusive, omb_lock **lock,
			   omb_error *err)
{
	*lock = NULL;
	if (store->ops->lock(store, exclusive, lock, err) != OMB_BUSY)
		return err->status;
	if (exclusive)
	{
		omb_error_detail(err, "A backup, a restore, verifying, or another "
							  "removal of old backups is running.");
		omb_error_hint(err, "Nothing was removed. Try again when it has "
							"ended.");
	}
	else
	{
		omb_error_detail(err, "Old backups are being removed from it.");
		omb_error_hint(err, "Try again when that has ended.");
	}
	return err->status;
}

void
omb_store_unlock(omb_lock *lock)
{
	if (lock != NULL)
		lock->store->ops->unlock(lock);
}

bool
omb_store_clock(omb_store *store, int64_t *offset)
{
	*offset = 0;
	return store->ops->clock != NULL && store->ops->clock(store, offset);
}

bool
omb_store_lock_rule(omb_store *store, omb_lock_rule *rule)
{
	memset(rule, 0, sizeof(*rule));
	return store->ops->lock_rule != NULL && store->ops->lock_rule(store, rule);
}

omb_status
omb_store_object_lock(omb_store *store, const char *name,
					  omb_object_lock *lock, omb_error *err)
{
	memset(lock, 0, sizeof(*lock));
	return store->ops->object_lock(store, name, lock, err);
}

omb_status
omb_store_set_object_lock(omb_store *store, const char *name,
						  const omb_object_lock *lock, omb_error *err)
{
	return store->ops->set_object_lock(store, name, lock, err);
}

omb_status
omb_store_lock_place(omb_store *store, omb_lock_place *place, omb_error *err)
{
	memset(place, 0, sizeof(*place));
	return store->ops->lock_place(store, place, err);
}

void
omb_store_free(omb_store *store)
{
	if (store != NULL)
		store->ops->free(store);
}

omb_status
omb_store_put(omb_store *store, const char *name, const void *data, size_t len,
			  omb_error *err)
{
	omb_upload *upload;

	if (omb_store_create(store, &upload, err) != OMB_OK)
		return err->status;
	if (omb_upload_write(upload, data, len, err) != OMB_OK)
	{
		omb_upload_abort(upload);
		return err->status;
	}
	return omb_upload_commit(upload, name, err);
}

omb_status
omb_store_get(omb_store *store, const char *name, size_t max, omb_buf *out,
			  omb_error *err)
{
	omb_object *object;
	omb_status status;

	if (omb_store_open(store, name, &object, err) != OMB_OK)
		return err->status;
	if (object->size > max)
		status =
			omb_error_set(err, OMB_DAMAGED,
						  "object \"%s\" is larger than %zu bytes", name, max);
	else
	{
		size_t size = (size_t) object->size;

		status =
			omb_object_read(object, 0, omb_buf_reserve(out, size), size, err);
		if (status == OMB_OK)
			out->len += size;
	}
	omb_object_close(object);
	return status;
}
