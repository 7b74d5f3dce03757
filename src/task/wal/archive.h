/*
 * archive.h: storing WAL files in the repository, ahead of being asked.
 */
#ifndef OMB_TASK_ARCHIVE_H
#define OMB_TASK_ARCHIVE_H

#include "codec/compress.h"
#include "repo/walobject.h"

typedef struct omb_archive_config
{
	const char *repository;
	const char *key_file;
	const char *pgdata;
	uint64_t system_identifier;
	uint64_t wal_segment_size;
	omb_compression compression;
	int jobs;
} omb_archive_config;

typedef struct omb_archive omb_archive;

/*
 * Texts of config must stay. Starts threads; nothing is opened yet, so that a
 * repository that is missing now may come back later.
 */
extern omb_archive *omb_archive_start(const omb_archive_config *config);

/*
 * Store pgdata/pg_wal/<file> and return when it is durable. The same file
 * again succeeds; other bytes under the name of an archived file are
 * OMB_EXISTS and name both. Between calls the files that have a .ready mark
 * are stored ahead.
 */
extern omb_status omb_archive_file(omb_archive *archive, const char *file,
								   omb_error *err);

extern void omb_archive_free(omb_archive *archive);

#endif
