/*
 * test_store.c: what every store promises, for each kind of store.
 */
#include "test/tap.h"

#include "store/directory.h"
#include "store/fault.h"
#include "store/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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
	lock_suite(store, store, kind);
	is_text(names(store, "", true, &out), "a b/one b/two/x ",
			"locking makes no object");
	omb_buf_free(&out);
}

/* What root stores belongs to the owner of the directory. */
static void
test_directory_of_another(const char *root)
{
	char *path = omb_format("%s/owned", root);
	char *folder = omb_format("%s/a", path);
	char *file = omb_format("%s/b", folder);
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;
	struct stat of_folder, of_file;
	uid_t owner = geteuid() == 0 ? 65534 : geteuid();

	(void) mkdir(path, 0700);
	ok(chown(path, owner, (gid_t) -1) == 0, "a directory of user %d",
	   (int) owner);
	store = omb_store_directory_new(path);
	ok(omb_store_put(store, "a/b", "1", 1, &err) == OMB_OK &&
		   stat(folder, &of_folder) == 0 && stat(file, &of_file) == 0 &&
		   of_folder.st_uid == owner && of_file.st_uid == owner,
	   "folders and objects have the same owner");
	omb_store_free(store);
	free(file);
	free(folder);
	free(path);
}

/* What a killed upload has left is removed when it is old enough. */
static void
test_directory_sweeps(const char *root)
{
	char *path = omb_format("%s/sweep", root);
	char *file = omb_format("%s/tmp/1-left", path);
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;
	omb_store_swept swept;
	omb_upload *upload;
	FILE *left;

	(void) mkdir(path, 0700);
	store = omb_store_directory_new(path);
	ok(omb_store_sweep(store, 0, true, &swept, &err) == OMB_OK &&
		   swept.count == 0,
	   "nothing is swept from a new store");
	ok(omb_store_settle(store, "none", &err) == OMB_OK,
	   "a folder that is not there is settled");
	ok(omb_store_create(store, &upload, &err) == OMB_OK, "an upload begins");
	left = fopen(file, "w");
	ok(left != NULL && fputs("12345", left) > 0 && fclose(left) == 0,
	   "another was cut short");
	ok(omb_store_sweep(store, 3600, true, &swept, &err) == OMB_OK &&
		   swept.count == 0 && access(file, F_OK) == 0,
	   "what is young stays");
	ok(utimensat(AT_FDCWD, file,
				 (const struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0) == 0 &&
		   omb_store_sweep(store, 3600, false, &swept, &err) == OMB_OK &&
		   swept.count == 1 && swept.bytes == 5 && access(file, F_OK) == 0,
	   "what is old is counted");
	ok(omb_store_sweep(store, 3600, true, &swept, &err) == OMB_OK &&
		   swept.count == 1 && access(file, F_OK) != 0,
	   "and removed");
	ok(omb_upload_write(upload, "x", 1, &err) == OMB_OK &&
		   omb_upload_commit(upload, "x", &err) == OMB_OK,
	   "the upload under way is not disturbed");
	omb_store_free(store);
	free(file);
	free(path);
}

/* Another user of the same directory is refused like one of this process. */
static void
test_directory_locks(const char *root)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store = omb_store_directory_new(root);
	omb_store *other = omb_store_directory_new(root);
	char *path = omb_format("%s/nowhere", root);
	omb_store *none = omb_store_directory_new(path);
	omb_lock *lock;

	lock_suite(store, other, "two of one directory");
	ok(omb_store_lock(none, false, &lock, &err) == OMB_FAILED &&
		   access(path, F_OK) != 0,
	   "a directory that is not there is not made");
	omb_store_free(none);
	omb_store_free(other);
	omb_store_free(store);
	free(path);
}

static void
test_directory_notices_a_lost_mount(const char *root)
{
	char *path = omb_format("%s/mounted", root);
	char *away = omb_format("%s/away", root);
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;

	(void) mkdir(path, 0700);
	store = omb_store_directory_new(path);
	ok(omb_store_put(store, "x", "1", 1, &err) == OMB_OK, "mounted");
	(void) rename(path, away);
	ok(omb_store_put(store, "y", "1", 1, &err) == OMB_FAILED,
	   "nothing is written where nothing is");
	omb_error_clear(&err);
	(void) mkdir(path, 0700);
	ok(omb_store_put(store, "y", "1", 1, &err) == OMB_FAILED,
	   "nothing is written to the mount point");
	omb_store_free(store);
	free(path);
	free(away);
}

int
main(void)
{
	char root[] = "/tmp/omb-test-XXXXXX";
	char *path, *command;
	omb_store *store;

	if (mkdtemp(root) == NULL)
		abort();
	path = omb_format("%s/store", root);
	(void) mkdir(path, 0700);
	store = omb_store_directory_new(path);
	store_suite(store, "directory");
	omb_store_free(store);

	store = omb_store_memory_new();
	store_suite(store, "memory");
	omb_store_free(store);

	store = omb_store_fault_new(omb_store_memory_new());
	store_suite(store, "faults, none set");
	omb_store_free(store);

	test_directory_locks(root);
	test_directory_sweeps(root);
	test_directory_of_another(root);
	test_directory_notices_a_lost_mount(root);
	command = omb_format("rm -rf %s", root);
	ok(system(command) == 0, "clean up");
	free(command);
	free(path);
	return tap_done();
}
