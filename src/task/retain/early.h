/*
 * early.h: what lack of space costs: which backups go before their time so
 * that the file system of the repository has enough free.
 */
#ifndef OMB_TASK_EARLY_H
#define OMB_TASK_EARLY_H

#include "task/retain/retain.h"

#include "repo/repository.h"

/*
 * Bytes free in the file system of the repository; OMB_UNSUPPORTED when it is
 * no directory.
 */
extern omb_status omb_early_available(const omb_repository *repo,
									  uint64_t *bytes, omb_error *err);

/*
 * Change the verdicts of a plan that was decided so that at least wanted bytes
 * become available, as far as that can be (task/retain/retain.h). *dropped is the
 * number of backups that go early. Reads the names of all WAL files and the
 * packs that each backup names; what prune will save by rewriting packs is
 * not counted.
 */
extern omb_status omb_early_decide(omb_repository *repo, omb_retain_plan *plan,
								   uint64_t available, uint64_t wanted,
								   uint32_t *dropped, omb_error *err);

#endif
