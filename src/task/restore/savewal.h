/*
 * savewal.h: keeping WAL that is nowhere else before pg_wal is emptied.
 */
#ifndef OMB_TASK_SAVEWAL_H
#define OMB_TASK_SAVEWAL_H

#include "repo/manifest.h"

/*
 * Move the segments in pg_wal that belong to the backup's cluster and are not
 * in the repository to another directory, which is made when there are any;
 * durable. With apply false only count them. A file of the same name is never
 * replaced. A pg_wal that is a link is left alone.
 */
extern omb_status omb_save_wal(omb_repository *repo,
							   const omb_backup_info *info, const char *pgdata,
							   const char *directory, bool apply,
							   uint64_t *count, omb_error *err);

#endif
