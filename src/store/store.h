/*
 * store.h: a place that keeps named objects.
 *
 * Names are relative paths of safe components ("packs/ab/abcd..."). What
 * every store promises:
 *
 *  - an object appears under its name whole or not at all, and once _commit
 *    has returned it survives a crash;
 *  - an object never changes: _commit fails with OMB_EXISTS and leaves the
 *    old one when the name is taken, whoever took it, at any time;
 *  - what was committed is listed and can be read at once;
 *  - OMB_NOT_FOUND means that the object is proven absent. A store that
 *    cannot tell fails with another status.
 *
 * A store has one lock. Whoever removes objects holds it alone; whoever relies
 * on objects that it found staying where they are (a backup, a restore,
 * verifying) holds it with others. Adding and reading single objects needs no
 * lock: the archiver and wal-get take none.
 *
 * Functions may be called from several threads; an omb_object or omb_upload
 * belongs to one thread at a time.
 */
#ifndef OMB_STORE_STORE_H
#define OMB_STORE_STORE_H

#include "base/buffer.h"
#include "base/error.h"
#include "store/objectlock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct omb_store omb_store;
typedef struct omb_object omb_object; /* open for reading */
typedef struct omb_upload omb_upload; /* being written */
typedef struct omb_lock omb_lock;	  /* held on a whole store */

typedef struct omb_store_entry
{
	const char *name; /* full name */
	bool is_folder;	  /* only when not listing recursively */
	uint64_t size;	  /* of an object, in bytes */
} omb_store_entry;

/* What uploads that never ended have left behind. */
typedef struct omb_store_swept
{
	uint64_t count;
	uint64_t bytes;
} omb_store_swept;

/*
 * Told of each object that is to be removed: it is gone, or it is locked until
 * some time, and why is in refused. i is its place among the names.
 */
typedef void (*omb_store_removed)(size_t i, const omb_error *refused,
								  void *arg);

/* Anything but OMB_OK ends the listing, which then returns it. */
typedef omb_status (*omb_store_visit)(const omb_store_entry *entry, void *arg,
									  omb_error *err);

/*
 * What a kind of store implements. All are required but those that say so. A
 * store embeds omb_store as its first member; objects and uploads likewise.
 */
typedef struct omb_store_ops
{
	omb_status (*list)(omb_store *store, const char *folder, bool recursive,
					   omb_store_visit visit, void *arg, omb_error *err);
	omb_status (*open)(omb_store *store, const char *name, omb_object **object,
					   omb_error *err);
	/* Reads len bytes, which are all inside the object. */
	omb_status (*read)(omb_object *object, uint64_t offset, void *data,
					   size_t len, omb_error *err);
	void (*close)(omb_object *object);
	/* NULL: reading ahead gains nothing. */
	void (*expect)(omb_store *store, const char *name, uint64_t offset,
				   size_t len);
	void (*expect_list)(omb_store *store, const char *folder, bool recursive);
	omb_status (*create)(omb_store *store, omb_upload **upload,
						 omb_error *err);
	omb_status (*write)(omb_upload *upload, const void *data, size_t len,
						omb_error *err);
	/* Ends the upload, whatever it returns. */
	omb_status (*commit)(omb_upload *upload, const char *name, omb_error *err);
	void (*abort)(omb_upload *upload);
	omb_status (*confirm)(omb_store *store, const char *name, omb_error *err);
	omb_status (*remove)(omb_store *store, const char *name, omb_error *err);
	/* NULL: they are removed one by one. */
	omb_status (*remove_many)(omb_store *store, const char *const *name,
							  size_t count, omb_store_removed removed,
							  void *arg, omb_error *err);
	omb_status (*settle)(omb_store *store, const char *folder, omb_error *err);
	omb_status (*sweep)(omb_store *store, uint64_t seconds, bool remove,
						omb_store_swept *swept, omb_error *err);
	omb_status (*lock)(omb_store *store, bool exclusive, omb_lock **lock,
					   omb_error *err);
	void (*unlock)(omb_lock *lock);
	/* NULL: there is no other clock than this machine's. */
	bool (*clock)(omb_store *store, int64_t *offset);
	/* Locks on objects; all NULL, or the first one false: it has none. */
	bool (*lock_rule)(omb_store *store, omb_lock_rule *rule);
	omb_status (*object_lock)(omb_store *store, const char *name,
							  omb_object_lock *lock, omb_error *err);
	omb_status (*set_object_lock)(omb_store *store, const char *name,
								  const omb_object_lock *lock, omb_error *err);
	omb_status (*lock_place)(omb_store *store, omb_lock_place *place,
							 omb_error *err);
	void (*free)(omb_store *store);
} omb_store_ops;

struct omb_store
{
	const omb_store_ops *ops;
	char *location;		   /* as people know it, for messages */
	const char *directory; /* where it is in a local file system, or NULL */
};

struct omb_object
{
	omb_store *store;
	uint64_t size;
};

struct omb_upload
{
	omb_store *store;
};

struct omb_lock
{
	omb_store *store;
};

/*
 * Visit what is below a folder ("" for all), sorted by name within each
 * folder; with recursive every object at any depth, else the objects and
 * folders directly in it. A folder that is not there has nothing in it.
 */
extern omb_status omb_store_list(omb_store *store, const char *folder,
								 bool recursive, omb_store_visit visit,
								 void *arg, omb_error *err);

/* Open an object for reading; OMB_NOT_FOUND. */
extern omb_status omb_store_open(omb_store *store, const char *name,
								 omb_object **object, omb_error *err);
/* Bytes past the end are OMB_DAMAGED: somebody believed in a longer object. */
extern omb_status omb_object_read(omb_object *object, uint64_t offset,
								  void *data, size_t len, omb_error *err);
extern void omb_object_close(omb_object *object);

/*
 * These bytes will be read soon, in the order in which they are told: a hint,
 * which a store far away fetches ahead by. At most 1 MiB at a time.
 */
extern void omb_store_expect(omb_store *store, const char *name,
							 uint64_t offset, size_t len);
/* All of an object of that size will be. */
extern void omb_store_expect_all(omb_store *store, const char *name,
								 uint64_t size);
/* This folder will be listed within seconds: likewise. */
extern void omb_store_expect_list(omb_store *store, const char *folder,
								  bool recursive);
/* Whether such hints are of any use. */
extern bool omb_store_is_far(const omb_store *store);

/* Begin an object whose name is known only when it is complete. */
extern omb_status omb_store_create(omb_store *store, omb_upload **upload,
								   omb_error *err);
extern omb_status omb_upload_write(omb_upload *upload, const void *data,
								   size_t len, omb_error *err);
extern omb_status omb_upload_commit(omb_upload *upload, const char *name,
									omb_error *err);
/* Forget an upload that was not committed; NULL is fine. */
extern void omb_upload_abort(omb_upload *upload);

/*
 * Make sure that an object which is visible survives a crash: whoever wrote
 * it may have been killed before it could see to that.
 */
extern omb_status omb_store_confirm(omb_store *store, const char *name,
									omb_error *err);

/*
 * Remove an object; one that is not there is OMB_NOT_FOUND, and one that the
 * store keeps locked until some time OMB_REFUSED. Where a store keeps versions
 * it is not there any more, and can be had back by who has the right. After a crash it
 * may be back, unless its folder was settled: before removing what an object
 * names, settle the removal of the object.
 */
extern omb_status omb_store_remove(omb_store *store, const char *name,
								   omb_error *err);
/*
 * Remove several, in any order, in few requests where the store can. Each is
 * told once: gone (those that were not there too), or locked. Any other
 * failure ends it; then those that were not told may be gone or not.
 */
extern omb_status omb_store_remove_many(omb_store *store,
										const char *const *name, size_t count,
										omb_store_removed removed, void *arg,
										omb_error *err);
/* Make what was removed directly from a folder stay away after a crash. */
extern omb_status omb_store_settle(omb_store *store, const char *folder,
								   omb_error *err);

/*
 * Remove what uploads that never ended have left behind and nobody has
 * touched for so many seconds; with remove false only count it.
 */
extern omb_status omb_store_sweep(omb_store *store, uint64_t seconds,
								  bool remove, omb_store_swept *swept,
								  omb_error *err);

/*
 * Take the store's lock, alone or with others, without waiting: OMB_BUSY when
 * somebody else's does not go together with that. It ends with _unlock or
 * with the process. A store that cannot be written to gives a lock with
 * others that is none: nothing is removed there.
 */
extern omb_status omb_store_lock(omb_store *store, bool exclusive,
								 omb_lock **lock, omb_error *err);
/* NULL is fine. */
extern void omb_store_unlock(omb_lock *lock);

/*
 * By how many microseconds the server's clock is ahead of ours, to the second;
 * false when that is not known, or for a store that has no clock. May ask the
 * server.
 */
extern bool omb_store_clock(omb_store *store, int64_t *offset);

/*
 * Objects that nobody can remove until some time (store/objectlock.h); nothing
 * to do with the store's lock. New objects are locked by the rule. False for a
 * store that has no such locks: the functions below are not for it.
 */
extern bool omb_store_lock_rule(omb_store *store, omb_lock_rule *rule);
/* OMB_NOT_FOUND when there is no such object. */
extern omb_status omb_store_object_lock(omb_store *store, const char *name,
										omb_object_lock *lock, omb_error *err);
extern omb_status omb_store_set_object_lock(omb_store *store, const char *name,
											const omb_object_lock *lock,
											omb_error *err);
/* What the place can do, as far as it tells us. */
extern omb_status omb_store_lock_place(omb_store *store, omb_lock_place *place,
									   omb_error *err);

extern void omb_store_free(omb_store *store);

/* Whole small objects: create, write and commit; open and read all. */
extern omb_status omb_store_put(omb_store *store, const char *name,
								const void *data, size_t len, omb_error *err);
/* Appends to out; OMB_DAMAGED when larger than max. */
extern omb_status omb_store_get(omb_store *store, const char *name, size_t max,
								omb_buf *out, omb_error *err);

#endif
