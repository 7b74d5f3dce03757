/*
 * impact.h: what the problems of a repository mean: which backups and files
 * are lost, what recovery cannot reach, what can still be restored.
 */
#ifndef OMB_TASK_IMPACT_H
#define OMB_TASK_IMPACT_H

#include "task/verify/problems.h"

/* How far recovery gets on a timeline. */
typedef struct omb_reach
{
	uint32_t timeline;
	char backup[OMB_BACKUP_ID_MAX]; /* from which */
	uint64_t lsn;
	int64_t time; /* when the last segment was archived; 0 when not known */
} omb_reach;

typedef struct omb_impact
{
	uint64_t backups;
	char (*intact)[OMB_BACKUP_ID_MAX]; /* that can be restored, oldest first */
	size_t intact_count;
	omb_reach *reach; /* by timeline */
	size_t reach_count;
} omb_impact;

/*
 * Fill in what the problems mean, and tell what is intact: what nobody found
 * a problem with. note is called for each gap in the WAL, with what it keeps
 * out of reach, unless it is a problem already.
 */
extern omb_status omb_impact_find(omb_repository *repo, omb_problems *problems,
								  omb_impact *impact,
								  void (*note)(const char *text, void *arg),
								  void *arg, omb_error *err);
extern void omb_impact_clear(omb_impact *impact);

#endif
