/*
 * problems.h: what is wrong with a repository, and what that means.
 */
#ifndef OMB_TASK_PROBLEMS_H
#define OMB_TASK_PROBLEMS_H

#include "pgfmt/walname.h"
#include "repo/manifest.h"
#include "repo/walobject.h"

/* File names that are kept for a problem. */
#define OMB_PROBLEM_FILES 10
/* More problems than these are counted only. */
#define OMB_PROBLEMS_MAX 5000

typedef enum omb_problem_kind
{
	OMB_PROBLEM_PACK,
	OMB_PROBLEM_WAL,
	OMB_PROBLEM_BACKUP, /* a manifest */
	OMB_PROBLEM_MARK,	/* a mark, a watermark or the like */
	OMB_PROBLEM_OTHER
} omb_problem_kind;

typedef struct omb_problem
{
	omb_problem_kind kind;
	bool missing; /* else damaged */
	char *object; /* name of the object; of missing WAL, of the file */
	char *message;
	uint8_t sha256[OMB_SHA256_SIZE]; /* of a pack */
	omb_wal_object wal;				 /* id "" when missing */

	/* what it means: backups that cannot be restored */
	char **backup; /* ids */
	size_t backup_count;
	char *file[OMB_PROBLEM_FILES]; /* of a pack: some of the files in it */
	size_t file_count;
	uint64_t files_total;
	/* of WAL: what recovery cannot reach; lost_from 0: nothing is lost */
	uint32_t timeline;
	uint64_t lost_from;
	uint64_t lost_to;		/* LSN; UINT64_MAX: all that follows */
	int64_t lost_from_time; /* 0 when not known */
	int64_t lost_to_time;

	/* repairing */
	char *source; /* where a good copy is, or NULL */
	bool repaired;
} omb_problem;

typedef struct omb_problems
{
	omb_problem *item;
	size_t count;
	uint64_t total; /* with those that are counted only */
} omb_problems;

/*
 * Add a problem; NULL when the object has one already, or there are too many.
 * The pointer is good until the next _add.
 */
extern omb_problem *omb_problems_add(omb_problems *problems,
									 omb_problem_kind kind, const char *object,
									 const omb_error *err);
extern void omb_problem_add_backup(omb_problem *problem, const char *id);
extern void omb_problem_add_file(omb_problem *problem, const char *path);
/* The problem of a pack that has one, not repaired; or NULL. */
extern omb_problem *omb_problems_find_pack(const omb_problems *problems,
										   const uint8_t *sha256);
/* Is this WAL object known to be damaged? */
extern bool omb_problems_has_wal(const omb_problems *problems,
								 const omb_wal_object *object);
/* Problems that were not repaired. */
extern uint64_t omb_problems_left(const omb_problems *problems);
extern void omb_problems_clear(omb_problems *problems);

#endif
