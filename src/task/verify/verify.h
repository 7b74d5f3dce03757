/*
 * verify.h: checking a repository and telling what is wrong.
 */
#ifndef OMB_TASK_VERIFY_H
#define OMB_TASK_VERIFY_H

#include "task/verify/problems.h"

typedef struct omb_verify_config
{
	omb_repository *repo;
	const char *backup; /* NULL for all of the repository */
	int jobs;
	bool fast;			  /* names and sizes only; contents are not read */
	bool skip_contents;	  /* manifests are read, packs and WAL are not */
	double sample;		  /* percent of the objects to read; 0 is all */
	uint64_t seed;		  /* of the sample, and where a limited run begins */
	uint64_t max_seconds; /* begin no more objects after it; 0 is no limit */
	/* One for each thing wrong, as soon as it is found. */
	void (*problem)(const char *object, const omb_error *err, void *arg);
	/* A gap in the WAL that no backup needs. */
	void (*note)(const char *text, void *arg);
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	void *arg;
} omb_verify_config;

typedef struct omb_verify_result
{
	uint64_t backups; /* that were checked to the end */
	uint64_t backups_total;
	uint64_t packs; /* that were read */
	uint64_t packs_total;
	uint64_t wal_files;
	uint64_t wal_files_total;
	uint64_t marks; /* marks, watermarks, pins and notes of gaps */
	uint64_t marks_total;
	uint64_t bytes; /* stored bytes read */
	uint64_t bytes_total;
	omb_problems problems; /* omb_problems_clear */
} omb_verify_result;

/*
 * Check packs (bytes against their names, all seals), manifests (every extent
 * against the trailer of its pack), WAL files (seals, ids), marks and watermarks, and that each
 * backup has all packs, with their sizes, and all WAL from its start to its
 * stop. Problems are reported and collected; the status is OMB_OK unless
 * verifying itself could not go on.
 */
extern omb_status omb_verify(const omb_verify_config *config,
							 omb_verify_result *result, omb_error *err);

#endif
