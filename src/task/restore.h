/*
 * restore.h: making a data directory that recovers to a target.
 */
#ifndef OMB_TASK_RESTORE_H
#define OMB_TASK_RESTORE_H

#include "task/plan.h"

typedef struct omb_tablespace_move
{
	const char *from;
	const char *to;
} omb_tablespace_move;

typedef struct omb_restore_config
{
	omb_repository *repo;
	const char *key_file; /* absolute, or NULL */
	const char *program;  /* absolute */
	const char *pgdata;	  /* absolute */
	const char *backup;	  /* or NULL to choose */
	omb_target target;
	const char *target_action;
	const omb_tablespace_move *move;
	size_t move_count;
	int jobs;
	bool take_over;
	bool write_manifest;
	bool dry_run; /* plan and check, copy nothing */

	/* step is a text for people; totals are 0 while not known */
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	void *arg;
} omb_restore_config;

typedef struct omb_restore_result
{
	omb_plan plan;
	omb_backup_info info; /* texts owned; omb_backup_info_clear */
	uint64_t bytes;
	uint64_t files;
	bool config_files; /* some were put into <pgdata>.config */
} omb_restore_result;

/*
 * Plan, check, copy, sync. Until it has succeeded the directory has no
 * global/pg_control, so no server starts from it.
 */
extern omb_status omb_restore(const omb_restore_config *config,
							  omb_restore_result *result, omb_error *err);

#endif
