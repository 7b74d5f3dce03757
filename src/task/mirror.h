/*
 * mirror.h: copying a repository from one store to another.
 *
 * Objects never change, so a mirror copies what is missing, as it is, and
 * removes nothing: each store has its own retention. The order makes the
 * target a valid repository from the moment it has the object "repository",
 * and makes the most recent instant restorable first:
 *
 *   1. keys, then "repository", then marks
 *   2. WAL from the start of the newest backup on (or of the newest backup
 *      that the target has, when that is less to copy), oldest first; the
 *      packs of that backup; its manifest
 *   3. older backups in the same way, newest first
 *   4. all other WAL, and packs of the backup that is being taken
 *
 * A manifest goes only when its packs and its WAL are there, seen in a
 * listing of this run, while the target's lock, held with others, keeps
 * anybody from removing them.
 *
 * Which packs a manifest names is sealed. Without the key all packs go before
 * any manifest, and one pack that cannot be copied holds up all manifests.
 *
 * No lock is held at the source, for a copy may take days. What retention
 * removes meanwhile is skipped and the source is looked at again.
 */
#ifndef OMB_TASK_MIRROR_H
#define OMB_TASK_MIRROR_H

#include "repo/repository.h"

/* The source is looked at again after so many seconds of copying. */
#define OMB_MIRROR_ROUND 60
/* After so many failures one after the other the target is given up. */
#define OMB_MIRROR_FAILURES 20
/* A list of the target that is older is made anew. */
#define OMB_MIRROR_LIST_AGE (24 * 3600)

typedef struct omb_mirror_config
{
	omb_store *from;
	omb_store *to;
	/* the repository in from, opened with its key; NULL: without the key */
	omb_repository *repo;
	/* file for the list of what the target has (task/mirrorset.h), or NULL */
	const char *list_path;
	int jobs;		 /* transfers at once */
	uint64_t limit;	 /* bytes per second; 0: none */
	uint64_t newest; /* only so many backups, and their WAL; 0: all */
	bool reconcile;	 /* list the target, whatever is in the file */
	bool dry_run;
	uint64_t round_seconds;
	unsigned max_failures;
	void (*problem)(const char *object, const omb_error *problem, void *arg);
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	void *arg;
} omb_mirror_config;

typedef struct omb_mirror_result
{
	uint64_t objects; /* copied */
	uint64_t bytes;
	uint64_t backups; /* manifests among them */
	uint64_t there;	  /* at the target when it ended */
	uint64_t missing; /* still to be copied */
	uint64_t bytes_missing;
	uint64_t backups_missing;
	uint64_t failed;  /* could not be copied */
	uint64_t damaged; /* of these: damaged at the source */
	bool listed;	  /* the target was listed */
} omb_mirror_result;

/* Fill in the defaults; stores, repo, callbacks and arg are the caller's. */
extern void omb_mirror_config_init(omb_mirror_config *config);

/*
 * Copy what is missing. OMB_REFUSED when the target holds anything but this
 * repository. Objects that cannot be copied are told to problem and do not
 * keep others back; when anything is missing at the end the result is an
 * error. Wherever it is cut short, running it again does the rest.
 */
extern omb_status omb_mirror(const omb_mirror_config *config,
							 omb_mirror_result *result, omb_error *err);

/*
 * The usual place of the list of a target, named by its URL, in the source's
 * directory; in new memory. NULL when the source is not in a local directory.
 */
extern char *omb_mirror_list_path(const omb_store *from, const char *url);

#endif
