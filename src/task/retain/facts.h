/*
 * facts.h: reading what task/retain/retain.h decides on from a repository.
 */
#ifndef OMB_TASK_FACTS_H
#define OMB_TASK_FACTS_H

#include "repo/repository.h"
#include "task/retain/retain.h"

/*
 * Add a backup, with its pin. What OMB_DAMAGED, OMB_UNSUPPORTED and
 * OMB_WRONG_KEY tell is that its manifest cannot be read.
 */
extern omb_status omb_facts_add_backup(omb_repository *repo, const char *id,
									   omb_retain_plan *plan, omb_error *err);

/* Read the ways to all timelines that have a history. */
extern omb_status omb_facts_timelines(omb_repository *repo,
									  omb_retain_plan *plan, omb_error *err);

#endif
