/*
 * test_store.c: what every store promises, for each kind of store.
 */
#include "test/storesuite.h"

#include "store/directory.h"
#include "store/fault.h"
#include "store/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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
