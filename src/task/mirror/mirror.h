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
 * With rules only what these keep is copied (task/mirror/mirrorkeep.h).
 *
 * No lock is held at the source, for a copy may take days. What retention
 * removes meanwhile is skipped and the source is looked at again.
 */
#ifndef OMB_TASK_MIRROR_H
#define OMB_TASK_MIRROR_H

#include "repo/repository.h"
#include "repo/walobject.h"
#include "task/mirror/mirrorkeep.h"
#include "task/mirror/throttle.h"

/* The source is looked at again after so many seconds of copying. */
#define OMB_MIRROR_ROUND 60
/* After so many failures one after the other the target is given up. */
#define OMB_MIRROR_FAILURES 20
/* A list of the target that is older is made anew. */
#define OMB_MIRROR_LIST_AGE (24 * 3600)
/* All WAL of the source is listed that often, else the newest folders. */
#define OMB_MIRROR_FULL_AGE 3600

typedef struct omb_mirror_config
{
	omb_store *from;
	omb_store *to;
	/* the repository in from, opened with its key; NULL: without the key */
	omb_repository *repo;
	/* file for the list of what the target has (task/mirror/mirrorset.h), or NULL */
	const char *list_path;
	int jobs;		/* transfers at once */
	uint64_t limit; /* bytes per second; 0: none */
	/* instead of limit, when others change it or look at it; or NULL */
	omb_throttle *throttle;
	uint64_t newest; /* only so many backups, and their WAL; 0: all */
	/* only what is wanted; or NULL; needs repo */
	omb_mirror_keep *keep;
	bool reconcile; /* list the target, whatever is in the file */
	bool dry_run;
	uint64_t round_seconds;
	unsigned max_failures;
	void (*problem)(const char *object, const omb_error *problem, void *arg);
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	/* What is missing, when that is another number; or NULL. */
	void (*waiting)(uint64_t objects, uint64_t bytes, void *arg);
	/* The target can restore all that was archived at that time; or NULL. */
	void (*current)(int64_t time, void *arg);
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
	/* it has a backup, and all WAL that the source had when it began */
	bool is_current;
	char waiting_wal[OMB_WAL_FILE_MAX + 1]; /* the oldest missing, or "" */
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
 * The same in steps, for who mirrors again and again: what the target has is
 * kept in memory. A step that is not full looks for WAL in the newest folders
 * only, when the last step left nothing missing. After a step that failed end
 * it and begin anew.
 */
typedef struct omb_mirror_session omb_mirror_session;

extern omb_status omb_mirror_begin(const omb_mirror_config *config,
								   omb_mirror_session **out, omb_error *err);
extern omb_status omb_mirror_step(omb_mirror_session *session, bool full,
								  omb_mirror_result *result, omb_error *err);
/* Something may have been removed from the target: list it in the next step. */
extern void omb_mirror_unlist(omb_mirror_session *session);
/* NULL is fine. */
extern void omb_mirror_end(omb_mirror_session *session);

/*
 * The usual place of the list of a target, named by its URL, in the source's
 * directory; in new memory. NULL when the source is not in a local directory.
 */
extern char *omb_mirror_list_path(const omb_store *from, const char *url);
/* The same for what the target dropped (task/mirror/mirrorkeep.h). */
extern char *omb_mirror_dropped_path(const omb_store *from, const char *url);
/* And for how far locking it anew got (task/mirror/mirrorlock.h). */
extern char *omb_mirror_locked_path(const omb_store *from, const char *url);

#endif
