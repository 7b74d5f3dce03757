/*
 * survey.h: how a repository is: what can be restored from it, how large it
 * is and how much space is left. Reads it once and changes nothing but a list
 * of sizes in its cache.
 */
#ifndef OMB_TASK_SURVEY_H
#define OMB_TASK_SURVEY_H

#include "repo/manifest.h"
#include "repo/walobject.h"

typedef struct omb_survey_config
{
	const char *repository;
	const char *key_file; /* or NULL */
	const char *pgdata;
	uint64_t system_identifier;
	uint64_t wal_segment_size;
	const char *wal_file; /* also tell whether this one is archived; or NULL */
	int64_t now;		  /* microseconds since 1970 */
} omb_survey_config;

typedef enum omb_survey_fence
{
	OMB_SURVEY_UNCLAIMED, /* the first to write gets the claim */
	OMB_SURVEY_OWN,
	OMB_SURVEY_OTHER,
	OMB_SURVEY_NOT_KNOWN
} omb_survey_fence;

typedef struct omb_survey
{
	/* the key file, as far as a look at it alone tells; OMB_OK without one */
	omb_error key;

	/* why the repository could not be read; what follows is zero then */
	omb_error problem;
	bool encrypted;
	bool code_confirmed;
	omb_survey_fence fence;
	omb_error fence_problem;

	uint64_t backups; /* that can be read */
	uint64_t backups_unreadable;
	char unreadable[OMB_BACKUP_ID_MAX]; /* the newest of those */

	/* the newest that can be read; id is empty when there is none */
	char last_id[OMB_BACKUP_ID_MAX];
	char last_kind[16];
	int64_t last_start_time;
	int64_t last_stop_time;
	uint64_t last_start_lsn;
	uint64_t last_bytes;
	uint64_t last_damaged_pages;

	/*
	 * Every instant between can be restored: from the end of the oldest backup
	 * with all WAL up to the end of the archive, to the last commit in it.
	 * 0 when there is none. Along the newest timeline.
	 */
	int64_t window_from;
	int64_t window_to;
	char window_backup[OMB_BACKUP_ID_MAX];
	char last_wal[OMB_WAL_FILE_MAX + 1];
	bool wal_file_found;

	/* stretches of WAL that are missing behind the oldest backup */
	uint64_t gaps;
	char gap_first[OMB_WAL_FILE_MAX + 1]; /* of the newest stretch */
	char gap_last[OMB_WAL_FILE_MAX + 1];

	/* the newest stretch that was given up with no backup since */
	bool given_up;
	char given_up_first[OMB_WAL_FILE_MAX + 1];
	char given_up_last[OMB_WAL_FILE_MAX + 1];
	int64_t given_up_at;

	uint64_t pack_bytes;
	uint64_t wal_bytes;
	uint64_t manifest_bytes;

	/*
	 * How much it grew in a day, over the last week at most; known only after
	 * an hour.
	 */
	bool growth_known;
	int64_t growth_per_day;

	/* file systems; 0 when not known */
	uint64_t repository_free;
	uint64_t repository_total;
	uint64_t pgdata_free;
	uint64_t pgdata_total;
	bool same_device;
} omb_survey;

/* Never fails: what went wrong is in the result. */
extern void omb_survey_run(const omb_survey_config *config, omb_survey *out);

#endif
