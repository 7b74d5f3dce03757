/*
 * restore.h: making a data directory that recovers to a target.
 */
#ifndef OMB_TASK_RESTORE_H
#define OMB_TASK_RESTORE_H

#include "task/restore/databases.h"
#include "task/restore/delta.h"
#include "task/restore/place.h"
#include "task/restore/plan.h"
#include "task/restore/restorefiles.h"
#include "task/restore/spaces.h"

typedef struct omb_restore_config
{
	omb_repository *repo;
	/* the repository's URL, as the server is to find it; NULL: store's */
	const char *location;
	const char *credentials; /* file with the store's secrets, or NULL */
	const char *key_file;	 /* absolute, or NULL */
	const char *program;	 /* absolute */
	const char *pgdata;		 /* absolute */
	const char *backup;		 /* or NULL to choose */
	omb_target target;
	const char *target_action;
	const omb_tablespace_move *move;
	size_t move_count;
	const char *space_dir;		 /* all tablespaces go here, by oid; or NULL */
	const char *const *database; /* only these, unless database_count is 0 */
	size_t database_count;
	int jobs;
	bool take_over;
	/* in which the sync of omSupply is turned off at first, or NULL */
	const char *quarantine;
	bool write_manifest;
	bool delta;	  /* into a directory that may have something in it */
	bool dry_run; /* plan and check, copy nothing */
	/*
	 * The application's files, too; NULL for not. The instant is that of the
	 * target. repo, delta, progress and arg are ours.
	 */
	const omb_restore_files_config *files;

	/* step is a text for people; totals are 0 while not known */
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	/* in a dry run: what a delta restore would remove */
	void (*removal)(const char *path, uint64_t bytes, void *arg);
	void *arg;
} omb_restore_config;

typedef struct omb_restore_result
{
	omb_plan plan;
	omb_backup_info info; /* texts owned; omb_backup_info_clear */
	uint64_t total_bytes; /* of the backup, also when nothing was copied */
	uint64_t total_files;
	uint64_t left_out_bytes; /* of databases that were not chosen */
	uint64_t bytes;
	uint64_t files;
	bool is_delta; /* the directory had something in it */
	omb_delta_result delta;
	omb_place_result place;
	uint64_t wal_saved; /* segments moved to <pgdata>.wal */
	omb_restore_files_result files_result;
	bool config_files; /* some were put into <pgdata>.config */
} omb_restore_result;

/*
 * Plan, check, copy, sync. Until it has succeeded the directory has the sign
 * of an unfinished restore instead of pg_control (task/restore/restoremark.h), so no
 * server starts from it, and a delta restore may go on with it.
 */
extern omb_status omb_restore(const omb_restore_config *config,
							  omb_restore_result *result, omb_error *err);

#endif
