/*
 * verify.h: reading everything back and telling what is wrong.
 */
#ifndef OMB_TASK_VERIFY_H
#define OMB_TASK_VERIFY_H

#include "repo/walobject.h"

typedef struct omb_verify_config
{
	omb_repository *repo;
	const char *backup; /* NULL for all of the repository */
	int jobs;
	/* One for each thing wrong; object may be "". */
	void (*problem)(const char *object, const omb_error *err, void *arg);
	/* A gap in the WAL that no backup needs. */
	void (*note)(const char *text, void *arg);
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	void *arg;
} omb_verify_config;

typedef struct omb_verify_result
{
	uint64_t backups;
	uint64_t packs;
	uint64_t wal_files;
	uint64_t bytes; /* stored bytes read */
	uint64_t problems;
} omb_verify_result;

/*
 * Check packs (bytes against their names, all seals), manifests (every extent
 * against the trailer of its pack), WAL files (seals, ids) and that each
 * backup has all WAL from its start to its stop. Problems are reported and
 * counted; the status is OMB_OK unless verifying itself could not go on.
 */
extern omb_status omb_verify(const omb_verify_config *config,
							 omb_verify_result *result, omb_error *err);

#endif
