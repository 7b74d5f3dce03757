/*
 * gather.h: from the walk over the data directory to the manifest.
 *
 * One thread visits what the walk finds, compares it with the parent's
 * manifest, fills units for the workers of copy.h, and collects processed
 * units in order into the new manifest.
 */
#ifndef OMB_TASK_GATHER_H
#define OMB_TASK_GATHER_H

#include "codec/compress.h"
#include "task/backup/parent.h"
#include "task/backup/walk.h"

typedef struct omb_gather_config
{
	omb_repository *repo;
	const omb_fingerprinter *fingerprinter;
	omb_compression compression;
	int jobs;
	bool verify_pages; /* the cluster has data checksums */
	uint64_t start_lsn;
	uint64_t max_read_rate; /* bytes per second, 0 = no limit */
	omb_parent *parent;		/* or NULL */
	omb_backup_info *info;	/* id is set; what was gathered is counted in */

	/* bytes and files that are done */
	void (*progress)(uint64_t bytes, uint64_t files, uint64_t stored,
					 void *arg);
	/* file and block are NULL and 0 unless a page is damaged */
	void (*warn)(const char *message, const char *file, uint32_t block,
				 void *arg);
	void *arg;
} omb_gather_config;

typedef struct omb_gather omb_gather;

extern omb_status omb_gather_new(const omb_gather_config *config,
								 omb_gather **out, omb_error *err);
/* A visit of omb_walk(); arg is the omb_gather. */
extern omb_status omb_gather_visit(const omb_walk_item *item, void *arg,
								   omb_error *err);

/*
 * For the application's files, in this order: another parent, which may be
 * NULL and has to stay like the first one; the visits; what the parent has at
 * the path and below it, instead of visiting it.
 */
extern omb_status omb_gather_set_parent(omb_gather *gather, omb_parent *parent,
										omb_error *err);
extern omb_status omb_gather_keep(omb_gather *gather, const char *path,
								  uint64_t *files, omb_error *err);
/*
 * Warn of one file of a set, whose path takes the place of the one %s; of
 * many, some.
 */
extern void omb_gather_warn_file(omb_gather *gather, const char *fmt,
								 const char *path);
#define OMB_GATHER_FILE_WARNINGS 20
/* How many there were, told or not. */
extern uint64_t omb_gather_file_warnings(const omb_gather *gather);

/* Wait until all that was visited is in the manifest. */
extern omb_status omb_gather_drain(omb_gather *gather, omb_error *err);

/* After the walk over the data directory: add a file from memory. */
extern omb_status omb_gather_add_last(omb_gather *gather, const char *path,
									  const omb_buf *content, omb_error *err);
/* Finish all packs. */
extern omb_status omb_gather_finish(omb_gather *gather, omb_error *err);
/*
 * Commit the manifest, with info as it is then, and forget what earlier
 * attempts have left. The cache of the backup keep_cache is left, if not NULL.
 */
extern omb_status omb_gather_commit(omb_gather *gather, const char *keep_cache,
									omb_error *err);
/* Without _commit the packs stay for the next attempt. */
extern void omb_gather_free(omb_gather *gather);

#endif
