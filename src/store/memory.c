/*
 * memory.c: a store in memory, for tests.
 *
 * Objects are kept in an array sorted by name.
 */
#include "store/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct mem_item
{
	char *name;
	omb_buf bytes;
} mem_item;

typedef struct mem_store
{
	omb_store base;
	pthread_mutex_t lock;
	mem_item *item;
	size_t count;
	size_t cap;
	unsigned int shared; /* locks held with others */
	bool exclusive;
} mem_store;

typedef struct mem_lock
{
	omb_lock base;
	bool exclusive;
} mem_lock;

typedef struct mem_object
{
	omb_object base;
	omb_buf bytes; /* a copy: the object may be removed meanwhile */
} mem_object;

typedef struct mem_upload
{
	omb_upload base;
	omb_buf bytes;
} mem_upload;

/* Where the name is, or where it would be put. */
static size_t
find(const mem_store *store, const char *name, bool *found)
{
	size_t low = 0;
	size_t high = store->count;

	*found = false;
	while (low < high)
	{
		size_t middle = low + (high - low) / 2;
		int order = strcmp(store->item[middle].name, name);

		if (order == 0)
		{
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The names below a folder, copied so that visits may change the store. */
static size_t
collect(mem_store *store, const char *folder, bool recursive,
		omb_store_entry **out)
{
	size_t prefix = strlen(folder);
	size_t count = 0;
	size_t i;

	*out = omb_calloc(store->count + 1, sizeof(**out));
	for (i = 0; i < store->count; i++)
	{
		const char *name = store->item[i].name;
		const char *rest = name + prefix;
		size_t len = strlen(name);
		bool is_folder = false;
		char *copy;

		if (prefix > 0)
		{
			if (strncmp(name, folder, prefix) != 0 || *rest != '/')
				continue;
			rest++;
		}
		if (!recursive && strchr(rest, '/') != NULL)
		{
			is_folder = true;
			len = (size_t) (strchr(rest, '/') - name);
		}
		copy = omb_format("%.*s", (int) len, name);
		if (is_folder && count > 0 &&
			strcmp((*out)[count - 1].name, copy) == 0)
		{
			free(copy);
			continue;
		}
		(*out)[count].name = copy;
		(*out)[count].is_folder = is_folder;
		(*out)[count].size = is_folder ? 0 : store->item[i].bytes.len;
		count++;
	}
	return count;
}

static omb_status
mem_list(omb_store *base, const char *folder, bool recursive,
		 omb_store_visit visit, void *arg, omb_error *err)
{
	mem_store *store = (mem_store *) base;
	omb_store_entry *entry;
	omb_status status = OMB_OK;
	size_t count, i;

	(void) pthread_mutex_lock(&store->lock);
	count = collect(store, folder, recursive, &entry);
	(void) pthread_mutex_unlock(&store->lock);
	for (i = 0; i < count; i++)
	{
		char *name = omb_strdup(entry[i].name);
		omb_store_entry shown = entry[i];

		shown.name = name;
		if (status == OMB_OK)
			status = visit(&shown, arg, err);
		free(name);
	}
	for (i = 0; i < count; i++)
	{
		union
		{
			const char *in;
			char *out;
		} name;

		name.in = entry[i].name;
		free(name.out);
	}
	free(entry);
	return status;
}

static omb_status
mem_open(omb_store *base, const char *name, omb_object **object,
		 omb_error *err)
{
	mem_store *store = (mem_store *) base;
	bool found;
	size_t i;

	(void) pthread_mutex_lock(&store->lock);
	i = find(store, name, &found);
	if (found)
	{
		mem_object *opened = omb_calloc(1, sizeof(*opened));

		opened->base.store = base;
		opened->base.size = store->item[i].bytes.len;
		omb_buf_put(&opened->bytes, store->item[i].bytes.data,
					store->item[i].bytes.len);
		*object = &opened->base;
	}
	(void) pthread_mutex_unlock(&store->lock);
	if (!found)
		return omb_error_set(err, OMB_NOT_FOUND, "object \"%s\" is not there",
							 name);
	return OMB_OK;
}

static omb_status
mem_read(omb_object *object, uint64_t offset, void *data, size_t len,
		 omb_error *err)
{
	mem_object *opened = (mem_object *) object;

	(void) err;
	memcpy(data, opened->bytes.data + offset, len);
	return OMB_OK;
}

static void
mem_close(omb_object *object)
{
	mem_object *opened = (mem_object *) object;

	omb_buf_free(&opened->bytes);
	free(opened);
}

static omb_status
mem_create(omb_store *base, omb_upload **upload, omb_error *err)
{
	mem_upload *started = omb_calloc(1, sizeof(*started));

	(void) err;
	started->base.store = base;
	*upload = &started->base;
	return OMB_OK;
}

static omb_status
mem_write(omb_upload *upload, const void *data, size_t len, omb_error *err)
{
	mem_upload *started = (mem_upload *) upload;

	(void) err;
	omb_buf_put(&started->bytes, data, len);
	return OMB_OK;
}

static void
mem_abort(omb_upload *upload)
{
	mem_upload *started = (mem_upload *) upload;

	omb_buf_free(&started->bytes);
	free(started);
}

static omb_status
mem_commit(omb_upload *upload, const char *name, omb_error *err)
{
	mem_upload *started = (mem_upload *) upload;
	mem_store *store = (mem_store *) upload->store;
	omb_status status = OMB_OK;
	bool found;
	size_t i;

	(void) pthread_mutex_lock(&store->lock);
	i = find(store, name, &found);
	if (found)
		status = omb_error_set(err, OMB_EXISTS, "object \"%s\" exists already",
							   name);
	else
	{
		if (store->count == store->cap)
		{
			store->cap = store->cap ? 2 * store->cap : 64;
			store->item =
				omb_realloc(store->item, store->cap * sizeof(mem_item));
		}
		memmove(&store->item[i + 1], &store->item[i],
				(store->count - i) * sizeof(mem_item));
		store->item[i].name = omb_strdup(name);
		store->item[i].bytes = started->bytes;
		memset(&started->bytes, 0, sizeof(started->bytes));
		store->count++;
	}
	(void) pthread_mutex_unlock(&store->lock);
	mem_abort(upload);
	return status;
}

static omb_status
mem_confirm(omb_store *base, const char *name, omb_error *err)
{
	omb_object *object;

	if (mem_open(base, name, &object, err) == OMB_OK)
		mem_close(object);
	return err->status;
}

static omb_status
mem_remove(omb_store *base, const char *name, omb_error *err)
{
	mem_store *store = (mem_store *) base;
	bool found;
	size_t i;

	(void) pthread_mutex_lock(&store->lock);
	i = find(store, name, &found);
	if (found)
	{
		free(store->item[i].name);
		omb_buf_free(&store->item[i].bytes);
		store->count--;
		memmove(&store->item[i], &store->item[i + 1],
				(store->count - i) * sizeof(mem_item));
	}
	(void) pthread_mutex_unlock(&store->lock);
	if (!found)
		return omb_error_set(err, OMB_NOT_FOUND, "object \"%s\" is not there",
							 name);
	return OMB_OK;
}

static omb_status
mem_settle(omb_store *base, const char *folder, omb_error *err)
{
	return OMB_OK;
}

/* An upload is gone with the process. */
static omb_status
mem_sweep(omb_store *base, uint64_t seconds, bool remove,
		  omb_store_swept *swept, omb_error *err)
{
	return OMB_OK;
}

static omb_status
mem_lock_take(omb_store *base, bool exclusive, omb_lock **lock, omb_error *err)
{
	mem_store *store = (mem_store *) base;
	mem_lock *taken;
	bool busy;

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
mem_unlock(omb_lock *lock)
{
	mem_store *store = (mem_store *) lock->store;

	(void) pthread_mutex_lock(&store->lock);
	if (((mem_lock *) lock)->exclusive)
		store->exclusive = false;
	else
		store->shared--;
	(void) pthread_mutex_unlock(&store->lock);
	free(lock);
}

static void
mem_free(omb_store *base)
{
	mem_store *store = (mem_store *) base;
	size_t i;

	for (i = 0; i < store->count; i++)
	{
		free(store->item[i].name);
		omb_buf_free(&store->item[i].bytes);
	}
	(void) pthread_mutex_destroy(&store->lock);
	free(store->item);
	free(base->location);
	free(store);
}

omb_store *
omb_store_memory_new(void)
{
	static const omb_store_ops ops = {
		.list = mem_list,
		.open = mem_open,
		.read = mem_read,
		.close = mem_close,
		.create = mem_create,
		.write = mem_write,
		.commit = mem_commit,
		.abort = mem_abort,
		.confirm = mem_confirm,
		.remove = mem_remove,
		.settle = mem_settle,
		.sweep = mem_sweep,
		.lock = mem_lock_take,
		.unlock = mem_unlock,
		.free = mem_free,
	};
	mem_store *store = omb_calloc(1, sizeof(*store));

	store->base.ops = &ops;
	store->base.location = omb_strdup("memory");
	(void) pthread_mutex_init(&store->lock, NULL);
	return &store->base;
}

omb_buf *
omb_store_memory_bytes(omb_store *base, const char *name)
{
	mem_store *store = (mem_store *) base;
	bool found;
	size_t i = find(store, name, &found);

	return found ? &store->item[i].bytes : NULL;
}
