/*
 * walget.h: fetching one WAL file for recovery.
 */
#ifndef OMB_TASK_WALGET_H
#define OMB_TASK_WALGET_H

#include "repo/walobject.h"

/*
 * Write an archived file to path. OMB_NOT_FOUND only when it is proven that
 * the file is absent and that nothing behind it is there either: then
 * recovery is at the end of the archive. A gap is OMB_DAMAGED.
 */
extern omb_status omb_wal_get(omb_repository *repo, const char *file,
							  const char *path, int jobs, omb_error *err);

#endif
