/*
 * expire.h: removing backups and WAL that no rule keeps.
 */
#ifndef OMB_TASK_EXPIRE_H
#define OMB_TASK_EXPIRE_H

#include "task/retain/retain.h"

#include "repo/repository.h"
#include "task/retain/prune.h"

/*
 * One verdict:
 *
 *   object   name                     verdict
 *   backup   its id                   keep, drop, or unreadable
 *   wal      a segment, a timeline    keep or drop
 *            history, or "A to B"
 *   gap      a segment, or "A to B"   missing: WAL that is not there though a
 *                                     kept backup has a use for it
 *   mark     its id                   keep or drop
 *   watermark  its name               drop: some values of it
 */
typedef struct omb_expire_row
{
	const char *object;
	const char *name;
	const char *verdict;
	const char *reason;
} omb_expire_row;

typedef struct omb_expire_config
{
	omb_repository *repo;
	omb_retain_rules rules;
	bool dry_run; /* tell, remove nothing */
	/*
	 * Bytes that shall be free in the repository's file system, for which
	 * backups may go early (task/retain/retain.h); 0 for nothing of the kind.
	 */
	uint64_t min_free;
	/* How much is free; NULL to measure it. For tests. */
	omb_status (*available)(const omb_repository *repo, uint64_t *bytes,
							omb_error *err);
	/* Then prune, not in a dry run; both NULL for not. repo and lock are ours. */
	const omb_prune_config *prune;
	omb_prune_result *pruned;
	/*
	 * The store that the repository is a copy of, or NULL: what it has of
	 * marks stays here, too.
	 */
	omb_store *copy_of;
	void (*row)(const omb_expire_row *row, void *arg);
	void *arg;
} omb_expire_config;

/* Dropped is what was removed, or in a dry run would be. */
typedef struct omb_expire_result
{
	uint64_t backups_kept;
	uint64_t backups_dropped;
	uint64_t files_kept; /* backups of the application's files alone */
	uint64_t files_dropped;
	uint64_t backups_early; /* of these: for lack of space */
	uint64_t wal_kept;		/* files */
	uint64_t wal_dropped;
	uint64_t wal_bytes_dropped; /* as stored */
	uint64_t locked;			/* objects that the store keeps locked */
} omb_expire_result;

/*
 * Tell the verdict on all backups, oldest first, and on all WAL; then remove
 * manifests, oldest first, then WAL, and then packs (task/retain/prune.h). A crash at any point leaves a valid
 * repository, and doing it again finishes.
 *
 * Holds the store's lock, alone unless it is a dry run: OMB_BUSY while a
 * backup, a restore or verifying runs. Nothing is removed when anything could not be read:
 * OMB_REFUSED when that is the manifest of a backup, which is never removed.
 * In a dry run that is no error. What the store keeps locked is kept, with all
 * that it needs, and counted: a later run removes it.
 */
extern omb_status omb_expire(const omb_expire_config *config,
							 omb_expire_result *result, omb_error *err);

#endif
