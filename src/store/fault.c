/*
 * fault.c: a store that fails on purpose, for tests.
 *
 * A commit can fail before or after the object is in place: a caller may not
 * rely on either. Odd operations fail before, even ones after.
 */
#include "store/fault.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct fault_store
{
	omb_store base;
	omb_store *inner;
	pthread_mutex_t lock;
	uint64_t count;
	uint64_t at;
	bool persistent;
	const char *keep;
} fault_store;

typedef struct fault_object
{
	omb_object base;
	omb_object *inner;
} fault_object;

typedef struct fault_lock
{
	omb_lock base;
	omb_lock *inner;
} fault_lock;

typedef struct fault_upload
{
	omb_upload base;
	omb_upload *inner;
} fault_upload;

/* Whether this operation fails; its number goes to *number. */
static bool
fails(omb_store *base, uint64_t *number)
{
	fault_store *store = (fault_store *) base;
	bool result;

	(void) pthread_mutex_lock(&store->lock);
	*number = ++store->count;
	result = store->at != 0 && (*number == store->at ||
								(store->persistent && *number > store->at));
	(void) pthread_mutex_unlock(&store->lock);
	return result;
}

static omb_status
failure(omb_error *err, const char *what)
{
	return omb_error_set(err, OMB_FAILED, "could not %s: injected fault",
						 what);
}

static omb_status
fault_list(omb_store *base, const char *folder, bool recursive,
		   omb_store_visit visit, void *arg, omb_error *err)
{
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "list");
	return omb_store_list(((fault_store *) base)->inner, folder, recursive,
						  visit, arg, err);
}

static omb_status
fault_open(omb_store *base, const char *name, omb_object **object,
		   omb_error *err)
{
	omb_object *inner;
	fault_object *opened;
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "open");
	if (omb_store_open(((fault_store *) base)->inner, name, &inner, err) !=
		OMB_OK)
		return err->status;
	opened = omb_calloc(1, sizeof(*opened));
	opened->base.store = base;
	opened->base.size = inner->size;
	opened->inner = inner;
	*object = &opened->base;
	return OMB_OK;
}

static omb_status
fault_read(omb_object *object, uint64_t offset, void *data, size_t len,
		   omb_error *err)
{
	uint64_t number;

	if (fails(object->store, &number))
		return failure(err, "read");
	return omb_object_read(((fault_object *) object)->inner, offset, data, len,
						   err);
}

static void
fault_close(omb_object *object)
{
	omb_object_close(((fault_object *) object)->inner);
	free(object);
}

static omb_status
fault_create(omb_store *base, omb_upload **upload, omb_error *err)
{
	omb_upload *inner;
	fault_upload *started;
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "create");
	if (omb_store_create(((fault_store *) base)->inner, &inner, err) != OMB_OK)
		return err->status;
	started = omb_calloc(1, sizeof(*started));
	started->base.store = base;
	started->inner = inner;
	*upload = &started->base;
	return OMB_OK;
}

static omb_status
fault_write(omb_upload *upload, const void *data, size_t len, omb_error *err)
{
	uint64_t number;

	if (fails(upload->store, &number))
		return failure(err, "write");
	return omb_upload_write(((fault_upload *) upload)->inner, data, len, err);
}

static void
fault_abort(omb_upload *upload)
{
	omb_upload_abort(((fault_upload *) upload)->inner);
	free(upload);
}

static omb_status
fault_commit(omb_upload *upload, const char *name, omb_error *err)
{
	fault_upload *started = (fault_upload *) upload;
	uint64_t number;
	bool fail = fails(upload->store, &number);

	if (fail && number % 2 == 1)
	{
		fault_abort(upload);
		return failure(err, "commit");
	}
	(void) omb_upload_commit(started->inner, name, err);
	free(upload);
	return fail ? failure(err, "commit") : err->status;
}

static omb_status
fault_confirm(omb_store *base, const char *name, omb_error *err)
{
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "confirm");
	return omb_store_confirm(((fault_store *) base)->inner, name, err);
}

static omb_status
fault_remove(omb_store *base, const char *name, omb_error *err)
{
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "remove");
	if (((fault_store *) base)->keep != NULL &&
		strstr(name, ((fault_store *) base)->keep) != NULL)
		return omb_error_set(err, OMB_REFUSED, "object \"%s\" is locked",
							 name);
	return omb_store_remove(((fault_store *) base)->inner, name, err);
}

static omb_status
fault_settle(omb_store *base, const char *folder, omb_error *err)
{
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "settle");
	return omb_store_settle(((fault_store *) base)->inner, folder, err);
}

static omb_status
fault_sweep(omb_store *base, uint64_t seconds, bool remove,
			omb_store_swept *swept, omb_error *err)
{
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "sweep");
	return omb_store_sweep(((fault_store *) base)->inner, seconds, remove,
						   swept, err);
}

static omb_status
fault_lock_take(omb_store *base, bool exclusive, omb_lock **lock,
				omb_error *err)
{
	omb_lock *inner;
	fault_lock *taken;
	uint64_t number;

	if (fails(base, &number))
		return failure(err, "lock");
	if (omb_store_lock(((fault_store *) base)->inner, exclusive, &inner,
					   err) != OMB_OK)
		return err->status;
	taken = omb_calloc(1, sizeof(*taken));
	taken->base.store = base;
	taken->inner = inner;
	*lock = &taken->base;
	return OMB_OK;
}

static void
fault_unlock(omb_lock *lock)
{
	omb_store_unlock(((fault_lock *) lock)->inner);
	free(lock);
}

static void
fault_free(omb_store *base)
{
	fault_store *store = (fault_store *) base;

	omb_store_free(store->inner);
	(void) pthread_mutex_destroy(&store->lock);
	free(base->location);
	free(store);
}

omb_store *
omb_store_fault_new(omb_store *inner)
{
	static const omb_store_ops ops = {
		.list = fault_list,
		.open = fault_open,
		.read = fault_read,
		.close = fault_close,
		.create = fault_create,
		.write = fault_write,
		.commit = fault_commit,
		.abort = fault_abort,
		.confirm = fault_confirm,
		.remove = fault_remove,
		.settle = fault_settle,
		.sweep = fault_sweep,
		.lock = fault_lock_take,
		.unlock = fault_unlock,
		.free = fault_free,
	};
	fault_store *store = omb_calloc(1, sizeof(*store));

	store->base.ops = &ops;
	store->base.location = omb_strdup(inner->location);
	store->base.directory = inner->directory;
	store->inner = inner;
	(void) pthread_mutex_init(&store->lock, NULL);
	return &store->base;
}

void
omb_store_fault_set(omb_store *base, uint64_t at, bool persistent)
{
	fault_store *store = (fault_store *) base;

	(void) pthread_mutex_lock(&store->lock);
	store->count = 0;
	store->at = at;
	store->persistent = persistent;
	(void) pthread_mutex_unlock(&store->lock);
}

void
omb_store_fault_keep(omb_store *base, const char *part)
{
	((fault_store *) base)->keep = part;
}

uint64_t
omb_store_fault_count(omb_store *base)
{
	fault_store *store = (fault_store *) base;
	uint64_t count;

	(void) pthread_mutex_lock(&store->lock);
	count = store->count;
	(void) pthread_mutex_unlock(&store->lock);
	return count;
}

omb_store *
omb_store_fault_inner(omb_store *base)
{
	return ((fault_store *) base)->inner;
}
