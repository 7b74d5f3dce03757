/*
 * directoryupload.h: what the two files of the directory store share.
 */
#ifndef OMB_STORE_DIRECTORYUPLOAD_H
#define OMB_STORE_DIRECTORYUPLOAD_H

#include "store/store.h"

#include <pthread.h>
#include <sys/types.h>

typedef struct omb_dir_store
{
	omb_store base;
	pthread_mutex_t lock;
	bool identified; /* device and inode of the root are known */
	dev_t device;
	ino_t inode;
} omb_dir_store;

/* The path of an object or folder, in new memory. */
extern char *omb_dir_path(const omb_store *store, const char *name);

/*
 * The root must stay the directory it was at first. When its file system is
 * unmounted, the mount point is an empty directory that must not be written
 * to.
 */
extern omb_status omb_dir_check_root(omb_store *store, omb_error *err);

/* Operations of the store, in directoryupload.c. */
extern omb_status omb_dir_create(omb_store *store, omb_upload **upload,
								 omb_error *err);
extern omb_status omb_dir_write(omb_upload *upload, const void *data,
								size_t len, omb_error *err);
extern omb_status omb_dir_commit(omb_upload *upload, const char *name,
								 omb_error *err);
extern void omb_dir_abort(omb_upload *upload);

#endif
