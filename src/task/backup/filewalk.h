/*
 * filewalk.h: finding the files of a set: directories of the application that
 * are backed up with the database.
 */
#ifndef OMB_TASK_FILEWALK_H
#define OMB_TASK_FILEWALK_H

#include "task/backup/walk.h"

#define OMB_FILE_SETS_MAX 16
#define OMB_FILE_SET_NAME_MAX 63
#define OMB_FILE_EXCLUDES_MAX 48

typedef struct omb_file_set
{
	const char *name;			/* begins the paths in the manifest */
	const char *path;			/* absolute; may be a link */
	const char *const *exclude; /* patterns (base/glob.h) below path */
	size_t exclude_count;
} omb_file_set;

/* Are name, path and patterns what they may be? OMB_USAGE. */
extern omb_status omb_file_set_check(const omb_file_set *set, omb_error *err);

typedef struct omb_file_walk_config
{
	const omb_file_set *set;
	int directory;			  /* an open one: the set's */
	const struct stat *avoid; /* directories that are never entered */
	size_t avoid_count;
	omb_walk_visit visit;
	/* what is at or below that path of the manifest cannot be read */
	omb_status (*unreadable)(const char *path, const char *source, int errnum,
							 void *arg, omb_error *err);
	/* one %s is for the path */
	void (*warn)(const char *fmt, const char *path, void *arg);
	void *arg;
} omb_file_walk_config;

/*
 * Visit all of the set but the set itself, in the order of a manifest.
 * Symbolic links are visited as such and never followed; what is neither file,
 * directory nor link is left out with a warning.
 */
extern omb_status omb_file_walk(const omb_file_walk_config *config,
								uint64_t *found, omb_error *err);

#endif
