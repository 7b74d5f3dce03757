/*
 * mirrorrun.h: one run of the mirror; private to mirror.c and mirrororder.c.
 */
#ifndef OMB_TASK_MIRRORRUN_H
#define OMB_TASK_MIRRORRUN_H

#include "repo/revision.h"
#include "task/mirrorsend.h"

/* From where on WAL is needed. */
typedef struct omb_mirror_wal
{
	uint32_t timeline;
	uint64_t first; /* log and segment */
	uint64_t last;	/* that the backup itself needs */
	bool is_known;	/* else all is */
} omb_mirror_wal;

typedef struct omb_mirror_run
{
	const omb_mirror_config *config;
	omb_repository_facts facts;
	omb_mirror_sender *sender;
	bool is_new;	 /* the target has no "repository" yet */
	bool fresh;		 /* the target was listed in this run */
	bool is_limited; /* to the newest backups; there are others */
	bool capped;	 /* there is more than was looked at */
	bool wal_capped; /* the same of WAL */
	int64_t listed_at;
	uint64_t listed_before; /* objects that the target once had */
	omb_revision *backup;	/* at the source, newest first */
	uint64_t backups;
	omb_mirror_items wal; /* missing at the target, oldest first */
	omb_mirror_wal hint;  /* of the newest backup, without a key */
} omb_mirror_run;

/* mirror.c: learn what the target has. */
extern omb_status omb_mirror_list_target(omb_mirror_run *run, omb_error *err);

/*
 * mirrororder.c: look at the source and send, or count, what is missing, in
 * the order of mirror.h.
 */
extern omb_status omb_mirror_round(omb_mirror_run *run, omb_error *err);

#endif
