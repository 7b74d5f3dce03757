/*
 * place.h: putting the files of a backup into a directory.
 */
#ifndef OMB_TASK_PLACE_H
#define OMB_TASK_PLACE_H

#include "repo/manifest.h"

/* What placing files from a store far away needs, in bytes, about. */
#define OMB_PLACE_MEMORY ((size_t) 224 * 1024 * 1024)

typedef enum omb_place_selection
{
	OMB_PLACE_ALL,
	OMB_PLACE_NO_FILES,	 /* directories and links */
	OMB_PLACE_SOME_FILES /* those of a range of entries */
} omb_place_selection;

typedef struct omb_place_config
{
	omb_repository *repo;
	int jobs;
	/*
	 * Threads that may be used from now on, at most jobs_most and never less
	 * than before; NULL when it is jobs all the time.
	 */
	int (*jobs_now)(void *arg);
	int jobs_most;
	/*
	 * Files may be there already: one that is as the backup says is left
	 * alone, of others only the blocks that differ are written. Directories
	 * and links must have been cleared of what is not in the backup.
	 */
	bool patch;
	/*
	 * Where an entry goes, as an absolute path in new memory, or NULL to
	 * leave it out.
	 */
	char *(*locate)(const omb_entry *entry, void *arg);
	omb_place_selection selection;
	/* The range: entries after first, up to end, counted from 1. */
	uint64_t first;
	uint64_t end;
	/* Whether the content of a file is to be as many zeros; or NULL. */
	bool (*leave_out)(const omb_entry *entry, void *arg);
	/* Called in order after an entry is in place and proven. */
	omb_status (*placed)(const omb_entry *entry, void *arg, omb_error *err);
	/* A small file that somebody else will write, and its content; or NULL. */
	const omb_entry *later;
	omb_buf *later_content;
	/* Called now and then. */
	void (*progress)(uint64_t bytes, uint64_t files, void *arg);
	void *arg;
} omb_place_config;

typedef struct omb_place_result
{
	uint64_t files_same; /* left alone */
	uint64_t bytes_written;
} omb_place_result;

/*
 * Place all entries of the manifest that locate gives a path for. Existing
 * files are never overwritten unless patch is set. Contents are checked against the CRC-32C that
 * the backup took when it read them. Not durable: the caller syncs.
 */
extern omb_status omb_place_files(const omb_place_config *config,
								  omb_manifest *manifest,
								  omb_place_result *result, omb_error *err);

/* The whole content of a small file's entry. */
extern omb_status omb_place_read(omb_repository *repo,
								 const omb_manifest *manifest,
								 const omb_entry *entry, omb_buf *out,
								 omb_error *err);

#endif
