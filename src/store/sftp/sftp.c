/*
 * sftp.c: a store in a directory of an SFTP server.
 *
 * Reading: a window that is fetched ahead and grows as long as reads follow
 * each other. While it is read the connection asks for what comes behind it,
 * and the file stays open on the connection (store/sftp/sftppool.h).
 */
#include "store/sftp/sftp.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crypto.h"
#include "store/sftp/sftppool.h"
#include "store/sftp/sftpupload.h"
#include "store/sole.h"
#include "store/readahead.h"
#include "store/removeall.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_FIRST ((size_t) 64 * 1024)
#define WINDOW_LAST ((size_t) 1024 * 1024)
/* After a lost connection; one answer has up to 30,000 bytes. */
#define LEAST_AT_ONCE ((size_t) 32 * 1024)
/* OpenSSH refuses some of those who log in when ten do so at once. */
#define REMOVERS 8
/* More names in a folder are no repository. */
#define NAMES_MAX ((size_t) 4 * 1024 * 1024)

typedef struct sftp_store
{
	omb_store base;
	omb_sftp_pool *pool;
	omb_sole sole;
} sftp_store;

typedef struct sftp_object
{
	omb_object base;
	char *name;
	char *path;
	int64_t changed;
	omb_readahead window;
} sftp_object;

static omb_sftp_pool *
pool_of(omb_store *store)
{
	return ((sftp_store *) store)->pool;
}

/* Say which store it was, unless the message is about an object. */
static omb_status
in_store(const omb_store *store, omb_error *err)
{
	if (err->status != OMB_OK && err->status != OMB_NOT_FOUND &&
		err->status != OMB_CANCELLED)
		(void) omb_error_context(err, "store \"%s\"", store->location);
	return err->status;
}

/* ---- listing ---- */

typedef struct item
{
	char *name;
	bool is_folder;
	uint64_t size;
	int64_t changed;
} item;

typedef struct listing
{
	omb_sftp_pool *pool;
	const char *path;
	item *item;
	size_t count;
	size_t cap;
} listing;

static void
forget_items(listing *l)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		free(l->item[i].name);
	l->count = 0;
}

static int
compare_items(const void *a, const void *b)
{
	return strcmp(((const item *) a)->name, ((const item *) b)->name);
}

static omb_status
add_item(const char *name, const omb_sftp_attributes *attributes, void *arg,
		 omb_error *err)
{
	listing *l = arg;
	item *added;

	/* what no object name begins with, and what is no single name */
	if (name[0] == '.' || strchr(name, '/') != NULL ||
		!omb_path_is_safe(name) ||
		(!attributes->is_folder && !attributes->is_file))
		return OMB_OK;
	if (l->count == NAMES_MAX)
		return omb_error_set(err, OMB_FAILED,
							 "there are too many files in \"%s\"", l->path);
	if (l->count == l->cap)
	{
		l->cap = l->cap ? 2 * l->cap : 64;
		l->item = omb_realloc(l->item, l->cap * sizeof(*l->item));
	}
	added = &l->item[l->count++];
	added->name = omb_strdup(name);
	added->is_folder = attributes->is_folder;
	added->size = attributes->size;
	added->changed = attributes->changed;
	return OMB_OK;
}

static omb_status
list_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	listing *l = arg;

	forget_items(l);
	if (omb_sftp_list(conn, l->path, add_item, l, err) == OMB_NOT_FOUND)
	{
		/* a folder that is not there has nothing in it */
		forget_items(l);
		if (omb_sftp_prove_absent(l->pool, conn, err) == OMB_NOT_FOUND)
			omb_error_clear(err);
	}
	return err->status;
}

/* The sorted content of one folder; free with end_listing in any case. */
static omb_status
read_folder(omb_sftp_pool *pool, const char *folder, listing *l,
			omb_error *err)
{
	char *path = omb_sftp_path(pool, folder);

	memset(l, 0, sizeof(*l));
	l->pool = pool;
	l->path = path;
	(void) omb_sftp_do_once(pool, list_step, l, err);
	l->path = NULL;
	free(path);
	if (err->status == OMB_OK && l->count > 0)
		qsort(l->item, l->count, sizeof(*l->item), compare_items);
	return err->status;
}

static void
end_listing(listing *l)
{
	forget_items(l);
	free(l->item);
}

static omb_status
list_folder(omb_sftp_pool *pool, const char *folder, bool recursive,
			omb_store_visit visit, void *arg, omb_error *err)
{
	listing l;
	size_t i;

	(void) read_folder(pool, folder, &l, err);
	for (i = 0; i < l.count && err->status == OMB_OK; i++)
	{
		const item *found = &l.item[i];
		char *name = folder[0] == '\0' ?
						 omb_strdup(found->name) :
						 omb_format("%s/%s", folder, found->name);
		omb_store_entry entry = { name, found->is_folder,
								  found->is_folder ? 0 : found->size };

		/* what lies in the root of a directory and is no object */
		if (strcmp(name, "tmp") == 0 || strcmp(name, "lock") == 0 ||
			strcmp(name, "cache") == 0)
			;
		else if (found->is_folder && recursive)
			(void) list_folder(pool, name, true, visit, arg, err);
		else
			(void) visit(&entry, arg, err);
		free(name);
	}
	end_listing(&l);
	return err->status;
}

static omb_status
sftp_list(omb_store *store, const char *folder, bool recursive,
		  omb_store_visit visit, void *arg, omb_error *err)
{
	return list_folder(pool_of(store), folder, recursive, visit, arg, err);
}

/* ---- reading ---- */

typedef struct opening
{
	omb_sftp_pool *pool;
	const char *path;
	omb_sftp_attributes found;
} opening;

static omb_status
open_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	opening *o = arg;

	if (omb_sftp_open(conn, o->path, OMB_SFTP_READ, &o->found, err) ==
		OMB_NOT_FOUND)
		return omb_sftp_prove_absent(o->pool, conn, err);
	/* on a directory that is not one of ours absence is not proven */
	if (err->status == OMB_OK && !o->found.is_file)
		(void) omb_error_set(err, OMB_FAILED, "\"%s\" is no file", o->path);
	return err->status;
}

static omb_status
sftp_open(omb_store *store, const char *name, omb_object **object,
		  omb_error *err)
{
	omb_sftp_pool *pool = pool_of(store);
	char *path = omb_sftp_path(pool, name);
	opening opened = { .pool = pool, .path = path };
	omb_sftp_conn *conn = NULL;
	sftp_object *o;

	(void) omb_sftp_do(pool, &conn, path, open_step, &opened, err);
	omb_sftp_give(pool, conn);
	if (err->status != OMB_OK)
	{
		free(path);
		return in_store(store, err);
	}
	o = omb_calloc(1, sizeof(*o));
	o->base.store = store;
	o->base.size = opened.found.size;
	o->changed = opened.found.changed;
	o->name = omb_strdup(name);
	o->path = path;
	o->window.first = WINDOW_FIRST;
	o->window.last = WINDOW_LAST;
	*object = &o->base;
	return OMB_OK;
}

typedef struct reading
{
	const sftp_object *object;
	uint64_t offset;
	uint8_t *into;
	size_t len;
	size_t most; /* to ask for at once */
} reading;

/*
 * Read some of it. libssh2 sends its requests for all that is wanted before it
 * looks at an answer, so a connection that is lost meanwhile takes with it what
 * had come. Who asks for little gets on where connections never last.
 */
static omb_status
read_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	reading *r = arg;
	const sftp_object *o = r->object;
	const char *opened = omb_sftp_opened(conn);
	omb_sftp_attributes found;
	size_t n = 0;

	if (opened == NULL || strcmp(opened, o->path) != 0)
	{
		if (omb_sftp_open(conn, o->path, OMB_SFTP_READ, &found, err) != OMB_OK)
		{
			/* it was there */
			if (err->status == OMB_NOT_FOUND)
				err->status = OMB_FAILED;
			return err->status;
		}
		if (found.size != o->base.size || found.changed != o->changed)
			return omb_error_set(err, OMB_DAMAGED,
								 "object \"%s\" was replaced while it was "
								 "read",
								 o->name);
	}
	if (again)
		r->most = LEAST_AT_ONCE;
	if (omb_sftp_read(conn, r->offset, r->into,
					  r->len < r->most ? r->len : r->most, &n, err) == OMB_OK)
	{
		r->offset += n;
		r->into += n;
		r->len -= n;
		r->most += r->most < SIZE_MAX - n ? n : 0;
	}
	return err->status;
}

static omb_status
fetch(void *arg, uint64_t offset, void *data, size_t len, omb_error *err)
{
	sftp_object *o = arg;
	omb_sftp_pool *pool = pool_of(o->base.store);
	reading r = { o, offset, data, len, SIZE_MAX };
	omb_sftp_conn *conn = NULL;

	while (r.len > 0 && err->status == OMB_OK)
		(void) omb_sftp_do(pool, &conn, o->path, read_step, &r, err);
	omb_sftp_give(pool, conn);
	return in_store(o->base.store, err);
}

static omb_status
sftp_read(omb_object *object, uint64_t offset, void *data, size_t len,
		  omb_error *err)
{
	sftp_object *o = (sftp_object *) object;

	return omb_readahead_read(&o->window, o->base.size, offset, data, len,
							  fetch, o, err);
}

static void
sftp_close(omb_object *object)
{
	sftp_object *o = (sftp_object *) object;

	omb_readahead_free(&o->window);
	free(o->name);
	free(o->path);
	free(o);
}

/* ---- writing and removing ---- */

static omb_status
sftp_create(omb_store *store, omb_upload **upload, omb_error *err)
{
	*upload = omb_sftp_upload_new(pool_of(store), store);
	return OMB_OK;
}

/* What is done to one path. */
typedef struct change
{
	omb_sftp_pool *pool;
	const char *path;
} change;

/* Make durable the folders from a path (which is cut) up to the root. */
static omb_status
sync_upwards(const change *c, omb_sftp_conn *conn, char *path, bool all,
			 omb_error *err)
{
	size_t root = strlen(omb_sftp_pool_root(c->pool));

	while (err->status == OMB_OK)
	{
		(void) omb_sftp_sync_folder(conn, path, err);
		if (err->status == OMB_NOT_FOUND && strlen(path) > root)
			omb_error_clear(err); /* it went with its last object */
		else if (!all)
			break;
		if (strlen(path) <= root)
			break;
		*strrchr(path, '/') = '\0';
	}
	return err->status;
}

static omb_status
confirm_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	const change *c = arg;
	char *parent = omb_path_parent(c->path);

	if (omb_sftp_open(conn, c->path, OMB_SFTP_READ, NULL, err) ==
		OMB_NOT_FOUND)
		(void) omb_sftp_prove_absent(c->pool, conn, err);
	else if (err->status == OMB_OK && omb_sftp_sync(conn, err) == OMB_OK &&
			 omb_sftp_close(conn, err) == OMB_OK)
		(void) sync_upwards(c, conn, parent, true, err);
	free(parent);
	return err->status;
}

static omb_status
settle_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	const change *c = arg;
	char *path = omb_strdup(c->path);

	(void) sync_upwards(c, conn, path, false, err);
	free(path);
	return err->status;
}

/* Folders that an object has left empty go with it. */
static void
remove_empty_folders(const change *c, omb_sftp_conn *conn)
{
	size_t root = strlen(omb_sftp_pool_root(c->pool));
	char *path = omb_path_parent(c->path);
	omb_error ignored = OMB_ERROR_INIT;

	while (strlen(path) > root && strcmp(path + root, "/tmp") != 0 &&
		   omb_sftp_rmdir(conn, path, &ignored) == OMB_OK)
		*strrchr(path, '/') = '\0';
	free(path);
}

static omb_status
remove_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	const change *c = arg;

	if (omb_sftp_unlink(conn, c->path, err) == OMB_OK)
		remove_empty_folders(c, conn);
	else if (err->status == OMB_NOT_FOUND &&
			 omb_sftp_prove_absent(c->pool, conn, err) == OMB_NOT_FOUND &&
			 again)
		omb_error_clear(err); /* an earlier try did it */
	return err->status;
}

static omb_status
do_change(omb_store *store, const char *name, omb_sftp_step step,
		  omb_error *err)
{
	char *path = omb_sftp_path(pool_of(store), name);
	change c = { pool_of(store), path };

	(void) omb_sftp_do_once(c.pool, step, &c, err);
	free(path);
	return in_store(store, err);
}

static omb_status
sftp_confirm(omb_store *store, const char *name, omb_error *err)
{
	return do_change(store, name, confirm_step, err);
}

static omb_status
sftp_remove(omb_store *store, const char *name, omb_error *err)
{
	return do_change(store, name, remove_step, err);
}

static omb_status
remove_one(void *store, const char *name, omb_error *err)
{
	return sftp_remove(store, name, err);
}

static omb_status
sftp_remove_many(omb_store *store, const char *const *name, size_t count,
				 omb_store_removed removed, void *arg, omb_error *err)
{
	return omb_remove_all(store, remove_one, REMOVERS, name, count, removed,
						  arg, err);
}

static omb_status
sftp_settle(omb_store *store, const char *folder, omb_error *err)
{
	return do_change(store, folder, settle_step, err);
}

/* ---- the server's clock ---- */

/* The time of a file that is made for it. */
static omb_status
clock_step(omb_sftp_conn *conn, bool again, void *arg, omb_error *err)
{
	opening *o = arg;
	omb_error ignored = OMB_ERROR_INIT;

	/* one that a cut try has left has the time of that try */
	(void) omb_sftp_unlink(conn, o->path, &ignored);
	if (!omb_sftp_is_lost(conn) &&
		omb_sftp_open(conn, o->path, OMB_SFTP_CREATE, &o->found, err) ==
			OMB_OK &&
		omb_sftp_close(conn, err) == OMB_OK)
		(void) omb_sftp_unlink(conn, o->path, err);
	return err->status;
}

/* In seconds since 1970; false when it cannot be found out. */
static bool
server_time(omb_store *store, int64_t *time)
{
	omb_sftp_pool *pool = pool_of(store);
	omb_error ignored = OMB_ERROR_INIT;
	opening o = { .pool = pool };
	uint64_t number;
	char *path;

	omb_random(&number, sizeof(number));
	path = omb_format("%s/tmp/%d-%016" PRIx64 "-clock",
					  omb_sftp_pool_root(pool), getpid(), number);
	o.path = path;
	(void) omb_sftp_do_once(pool, clock_step, &o, &ignored);
	free(path);
	*time = o.found.changed;
	return o.found.changed > 0;
}

/* Times of files are in whole seconds: what is less than that is no offset. */
static bool
sftp_clock(omb_store *store, int64_t *offset)
{
	int64_t time;

	if (!server_time(store, &time))
		return false;
	*offset = (time - omb_time_now() / 1000000) * 1000000;
	return true;
}

/* ---- sweeping ---- */

/*
 * How late it is at least, where the server does not let us find out: no file
 * is younger than that. This machine's clock would tell nothing of files there.
 */
static int64_t
newest_of(const listing *l)
{
	int64_t newest = 0;
	size_t i;

	for (i = 0; i < l->count; i++)
		if (l->item[i].changed > newest)
			newest = l->item[i].changed;
	return newest;
}

static omb_status
sftp_sweep(omb_store *store, uint64_t seconds, bool remove,
		   omb_store_swept *swept, omb_error *err)
{
	listing l;
	int64_t time;
	int64_t before;
	size_t i;

	(void) read_folder(pool_of(store), "tmp", &l, err);
	if (l.count == 0 || !server_time(store, &time))
		time = newest_of(&l);
	before = time - (int64_t) seconds;
	for (i = 0; i < l.count && err->status == OMB_OK; i++)
	{
		char *name = omb_format("tmp/%s", l.item[i].name);

		if (l.item[i].is_folder || l.item[i].changed > before)
			;
		else if (remove && sftp_remove(store, name, err) == OMB_NOT_FOUND)
			omb_error_clear(err);
		else if (err->status == OMB_OK)
		{
			swept->count++;
			swept->bytes += l.item[i].size;
		}
		free(name);
	}
	end_listing(&l);
	return err->status;
}

/* ---- the store ---- */

static omb_status
sftp_lock(omb_store *store, bool exclusive, omb_lock **lock, omb_error *err)
{
	return omb_sole_take(&((sftp_store *) store)->sole, store, exclusive, lock,
						 err);
}

static void
sftp_free(omb_store *base)
{
	sftp_store *store = (sftp_store *) base;

	omb_sftp_pool_free(store->pool);
	omb_sole_destroy(&store->sole);
	free(base->location);
	free(store);
}

omb_status
omb_store_sftp_new(const omb_sftp_config *config, omb_store **out,
				   omb_error *err)
{
	static const omb_store_ops ops = {
		.list = sftp_list,
		.open = sftp_open,
		.read = sftp_read,
		.close = sftp_close,
		.create = sftp_create,
		.write = omb_sftp_upload_write,
		.commit = omb_sftp_upload_commit,
		.abort = omb_sftp_upload_abort,
		.confirm = sftp_confirm,
		.remove = sftp_remove,
		.remove_many = sftp_remove_many,
		.settle = sftp_settle,
		.sweep = sftp_sweep,
		.lock = sftp_lock,
		.unlock = omb_sole_give,
		.clock = sftp_clock,
		.free = sftp_free,
	};
	omb_sftp_pool *pool;
	sftp_store *store;

	*out = NULL;
	if (omb_sftp_pool_new(config, &pool, err) != OMB_OK)
		return err->status;
	store = omb_calloc(1, sizeof(*store));
	store->base.ops = &ops;
	store->base.location = omb_strdup(omb_sftp_pool_location(pool));
	store->pool = pool;
	omb_sole_init(&store->sole, config->common.sole_user);
	*out = &store->base;
	return OMB_OK;
}
