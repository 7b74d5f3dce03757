/*
 * repair.h: replacing damaged and missing objects by good copies.
 */
#ifndef OMB_TASK_REPAIR_H
#define OMB_TASK_REPAIR_H

#include "codec/compress.h"
#include "task/verify/problems.h"

typedef struct omb_repair_config
{
	omb_repository *repo;
	omb_repository *from; /* a copy of the repository, or NULL */
	const char *pg_wal;	  /* a directory with WAL segments, or NULL */
	bool apply;			  /* else only look */
	void (*progress)(const char *step, uint64_t bytes, uint64_t bytes_total,
					 void *arg);
	void *arg;
} omb_repair_config;

/*
 * Look for a good copy of each object with a problem, and note it as source.
 * With apply the damaged object is removed and the copy stored in its place,
 * and the problem is noted as repaired. A copy is checked before: a pack by
 * its name, other objects by opening them, WAL of the server by its id. A
 * problem without a good copy stays as it is.
 */
extern omb_status omb_repair(const omb_repair_config *config,
							 omb_problems *problems, omb_error *err);

/* OMB_REFUSED unless both are copies of one repository, in two places. */
extern omb_status omb_repair_check(const omb_repository *repo,
								   const omb_repository *from, omb_error *err);

#endif
