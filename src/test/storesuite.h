/*
 * storesuite.h: what every store promises, as cases to run over one. Include
 * it in the one .c file of a test program only.
 */
#ifndef OMB_TEST_STORESUITE_H
#define OMB_TEST_STORESUITE_H

#include "test/tap.h"

#include "store/store.h"

static omb_status
append_name(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_buf_printf(arg, "%s%s ", entry->name, entry->is_folder ? "/" : "");
	return OMB_OK;
}

static char *
names(omb_store *store, const char *folder, bool recursive, omb_buf *out)
{
	omb_error err = OMB_ERROR_INIT;

	omb_buf_clear(out);
	if (omb_store_list(store, folder, recursive, append_name, out, &err) !=
		OMB_OK)
		omb_buf_printf(out, "%s", err.message);
	return omb_buf_text(out);
}

/* store and other are the same to whoever uses them. */
static void
lock_suite(omb_store *store, omb_store *other, const char *kind)
{
	omb_error err = OMB_ERROR_INIT;
	omb_lock *first, *second, *third;

	ok(omb_store_lock(store, false, &first, &err) == OMB_OK &&
		   omb_store_lock(other, false, &second, &err) == OMB_OK,
	   "%s: several may lock with others", kind);
	ok(omb_store_lock(other, true, &third, &err) == OMB_BUSY &&
		   third == NULL && err.hint[0] != '\0',
	   "%s: then nobody gets it alone", kind);
	omb_error_clear(&err);
	omb_store_unlock(first);
	ok(omb_store_lock(store, true, &third, &err) == OMB_BUSY,
	   "%s: nor while one is left", kind);
	omb_error_clear(&err);
	omb_store_unlock(second);
	ok(omb_store_lock(other, true, &third, &err) == OMB_OK,
	   "%s: after the last one it can be had", kind);
	ok(omb_store_lock(store, false, &first, &err) == OMB_BUSY,
	   "%s: nobody else gets it then", kind);
	omb_error_clear(&err);
	ok(omb_store_lock(store, true, &first, &err) == OMB_BUSY, "%s: in no way",
	   kind);
	omb_error_clear(&err);
	omb_store_unlock(third);
	omb_store_unlock(NULL);
	ok(omb_store_lock(store, false, &first, &err) == OMB_OK,
	   "%s: and it is free again", kind);
	omb_store_unlock(first);
}

static void
count_gone(size_t i, const omb_error *refused, void *arg)
{
	unsigned int *told = arg;

	told[i] += refused == NULL ? 1 : 100;
}

static void
remove_suite(omb_store *store, const char *kind)
{
	static const char *const name[] = { "m/b & <c>", "m/none", "m/x/a",
										"m/'\"q" };
	omb_error err = OMB_ERROR_INIT;
	omb_buf out = OMB_BUF_INIT;
	unsigned int told[4] = { 0, 0, 0, 0 };

	ok(omb_store_put(store, name[0], "1", 1, &err) == OMB_OK &&
		   omb_store_put(store, name[2], "1", 1, &err) == OMB_OK &&
		   omb_store_put(store, name[3], "1", 1, &err) == OMB_OK &&
		   omb_store_put(store, "m/stays", "1", 1, &err) == OMB_OK,
	   "%s: objects to remove at once %s", kind, err.message);
	ok(omb_store_remove_many(store, name, 4, count_gone, told, &err) == OMB_OK,
	   "%s: several are removed at once %s", kind, err.message);
	ok(told[0] == 1 && told[1] == 1 && told[2] == 1 && told[3] == 1,
	   "%s: each is told once, one that was not there too", kind);
	is_text(names(store, "m", true, &out), "m/stays ", "they are gone");
	ok(omb_store_remove_many(store, name, 0, count_gone, told, &err) ==
			   OMB_OK &&
		   omb_store_remove(store, "m/stays", &err) == OMB_OK,
	   "%s: nothing to remove is fine", kind);
	omb_buf_free(&out);
}

static void
store_suite(omb_store *store, const char *kind)
{
	omb_error err = OMB_ERROR_INIT;
	omb_buf out = OMB_BUF_INIT;
	omb_upload *upload;
	omb_object *object;
	char part[4];

	is_text(names(store, "", true, &out), "", kind);
	ok(omb_store_put(store, "b/two/x", "content", 7, &err) == OMB_OK,
	   "%s: an object is put, with its folders", kind);
	ok(omb_store_put(store, "b/one", "1", 1, &err) == OMB_OK &&
		   omb_store_put(store, "a", "", 0, &err) == OMB_OK &&
		   omb_store_put(store, "b/two/w", "w", 1, &err) == OMB_OK,
	   "%s: so are others, and an empty one", kind);
	is_text(names(store, "", true, &out), "a b/one b/two/w b/two/x ",
			"listing all, in order");
	is_text(names(store, "b", false, &out), "b/one b/two/ ",
			"listing a folder");
	is_text(names(store, "nothing", true, &out), "",
			"listing a folder that is not there");

	ok(omb_store_put(store, "b/one", "other", 5, &err) == OMB_EXISTS,
	   "%s: a name is never taken twice", kind);
	omb_error_clear(&err);
	omb_buf_clear(&out);
	ok(omb_store_get(store, "b/one", 100, &out, &err) == OMB_OK &&
		   out.len == 1 && out.data[0] == '1',
	   "%s: the old object stays", kind);
	ok(omb_store_confirm(store, "b/one", &err) == OMB_OK,
	   "%s: it can be confirmed", kind);
	ok(omb_store_get(store, "b/two/x", 6, &out, &err) == OMB_DAMAGED,
	   "%s: one larger than expected is refused", kind);
	omb_error_clear(&err);
	ok(omb_store_open(store, "none", &object, &err) == OMB_NOT_FOUND,
	   "%s: an absent object is said to be absent", kind);
	omb_error_clear(&err);
	ok(omb_store_open(store, "b/two/x", &object, &err) == OMB_OK &&
		   object->size == 7 &&
		   omb_object_read(object, 3, part, 4, &err) == OMB_OK &&
		   memcmp(part, "tent", 4) == 0,
	   "%s: a part is read", kind);
	ok(omb_object_read(object, 4, part, 4, &err) == OMB_DAMAGED,
	   "%s: reading past the end is damage", kind);
	omb_error_clear(&err);
	omb_object_close(object);

	ok(omb_store_create(store, &upload, &err) == OMB_OK &&
		   omb_upload_write(upload, "half", 4, &err) == OMB_OK,
	   "%s: an upload begins", kind);
	is_text(names(store, "", true, &out), "a b/one b/two/w b/two/x ",
			"it is not seen before it is committed");
	omb_upload_abort(upload);
	is_text(names(store, "", true, &out), "a b/one b/two/w b/two/x ",
			"nor after it was aborted");
	ok(omb_store_remove(store, "b/two/w", &err) == OMB_OK &&
		   omb_store_remove(store, "b/two/w", &err) == OMB_NOT_FOUND,
	   "%s: an object is removed once", kind);
	omb_error_clear(&err);
	is_text(names(store, "", true, &out), "a b/one b/two/x ", "and is gone");
	ok(omb_store_settle(store, "b/two", &err) == OMB_OK &&
		   omb_store_put(store, "c/d/e", "1", 1, &err) == OMB_OK &&
		   omb_store_remove(store, "c/d/e", &err) == OMB_OK &&
		   omb_store_settle(store, "c/d", &err) == OMB_OK,
	   "%s: removals are settled, of the last object in a folder too", kind);
	is_text(names(store, "", false, &out), "a b/ ",
			"a folder goes with its last object");
	ok(omb_store_put(store, "c/d/e", "2", 1, &err) == OMB_OK &&
		   omb_store_remove(store, "c/d/e", &err) == OMB_OK,
	   "%s: and comes again with the next one", kind);
	remove_suite(store, kind);
	lock_suite(store, store, kind);
	is_text(names(store, "", true, &out), "a b/one b/two/x ",
			"locking makes no object");
	omb_buf_free(&out);
}

#endif
