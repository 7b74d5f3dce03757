/*
 * mirrorrun.h: one run of the mirror; private to mirror.c, mirrororder.c and
 * mirrorwal.c.
 */
#ifndef OMB_TASK_MIRRORRUN_H
#define OMB_TASK_MIRRORRUN_H

#include "repo/revision.h"
#include "task/mirror/mirrorsend.h"

/* So many missing objects of a kind are dealt with in one round. */
#define OMB_MIRROR_ITEMS_MAX 200000

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
	bool is_new;	   /* the target has no "repository" yet */
	bool fresh;		   /* the target was listed in this run */
	bool is_limited;   /* to the newest backups; there are others */
	bool capped;	   /* there is more than was looked at */
	bool wal_capped;   /* the same of WAL */
	bool quick;		   /* the newest folders of WAL will do */
	bool has_list;	   /* what the target has is known */
	bool is_open;	   /* so says the file of the list */
	bool complete;	   /* the last step left nothing missing */
	bool has_backup;   /* the target has one of those that are wanted */
	int64_t began;	   /* when the source was looked at last */
	int64_t looked_at; /* at all WAL of the source */
	int64_t saved_at;
	uint64_t saved; /* objects in the file */
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
 * mirrorwal.c: list the WAL that is missing at the target, oldest first, with
 * quick that in the newest folders.
 */
extern omb_status omb_mirror_list_wal(omb_mirror_run *run, omb_error *err);

/*
 * mirrororder.c: look at the source and send, or count, what is missing, in
 * the order of mirror.h.
 */
extern omb_status omb_mirror_round(omb_mirror_run *run, omb_error *err);

#endif
