/*
 * prune.h: removing packs that no backup uses, and rewriting packs of which
 * backups use little.
 */
#ifndef OMB_TASK_PRUNE_H
#define OMB_TASK_PRUNE_H

#include "repo/pack.h"

/* Leftovers of unfinished backups are kept that long by default. */
#define OMB_PRUNE_GRACE (7 * 24 * 3600)
/* Packs with fewer live bytes than that many percent are rewritten. */
#define OMB_PRUNE_REWRITE_BELOW 30

/* The limits that the memory of prune keeps to. */
#define OMB_PRUNE_PACKS 500000
#define OMB_PRUNE_BYTES (64 * 1024 * 1024)

typedef enum omb_prune_verdict
{
	OMB_PRUNE_KEEP,	   /* in use */
	OMB_PRUNE_REMOVE,  /* used by no backup */
	OMB_PRUNE_SPARE,   /* for the next backup to take over */
	OMB_PRUNE_REWRITE, /* its live blobs go to other packs */
	OMB_PRUNE_MISSING, /* in use, and not there */
	OMB_PRUNE_SKIP	   /* was to be rewritten, and cannot be read */
} omb_prune_verdict;

typedef struct omb_prune_pack
{
	const char *name; /* of the object */
	uint64_t size;
	uint64_t live; /* bytes in use */
	omb_prune_verdict verdict;
	const char *reason; /* a clause, for people */
} omb_prune_pack;

typedef struct omb_prune_config
{
	omb_repository *repo;
	const omb_lock *lock; /* the store's exclusive lock, or NULL to take it */
	omb_compression compression; /* of packs that are written */
	int jobs;
	bool dry_run;
	uint64_t grace;			/* seconds */
	unsigned rewrite_below; /* percent; 0 to rewrite nothing */
	size_t max_packs;		/* OMB_PRUNE_PACKS; fewer in tests */
	size_t max_bytes;		/* OMB_PRUNE_BYTES */
	/* Smaller packs are not rewritten. */
	uint64_t rewrite_size; /* 1 MiB; less in tests */
	/* Once for each pack that is there or ought to be; twice when skipped. */
	void (*visit)(const omb_prune_pack *pack, void *arg);
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	void *arg;
} omb_prune_config;

/* What was done, or with dry_run what would be done. */
typedef struct omb_prune_result
{
	uint64_t backups;
	uint64_t packs; /* there when it began */
	uint64_t packs_removed;
	uint64_t packs_rewritten;
	uint64_t packs_spared;
	uint64_t packs_missing;
	uint64_t packs_skipped;
	uint64_t packs_locked;	/* not used, but locked by the store */
	uint64_t bytes_removed; /* of packs that were not used */
	uint64_t bytes_saved;	/* by rewriting */
	uint64_t revisions;		/* of manifests, left by a prune cut short */
	uint64_t leftovers;		/* of uploads cut short */
	uint64_t bytes_leftovers;
} omb_prune_result;

/* Fill in the defaults; repo, visit, progress and arg are the caller's. */
extern void omb_prune_config_init(omb_prune_config *config);

/*
 * Remove and rewrite. A manifest that cannot be read ends it before anything
 * is removed. Without any backup no pack is removed: there is no telling
 * whether the manifests were lost. Where new objects are locked nothing is
 * rewritten: what is replaced would stay beside it. Wherever it is cut short the repository is
 * valid, and running it again does the rest.
 */
extern omb_status omb_prune(const omb_prune_config *config,
							omb_prune_result *result, omb_error *err);

#endif
