/*
 * restorecheck.h: whether a backup may be restored into a directory.
 *
 * All checks read only. Each fails with OMB_REFUSED, and a hint that says
 * what to do.
 */
#ifndef OMB_TASK_RESTORECHECK_H
#define OMB_TASK_RESTORECHECK_H

#include "task/restore/spaces.h"

/* Not root, no server running there. */
extern omb_status omb_restore_check_idle(const char *pgdata, omb_error *err);

/* Nothing in it; what says what kind of directory it is. */
extern omb_status omb_restore_check_empty(const char *path, const char *what,
										  omb_error *err);

/*
 * For a delta restore: a data directory, of this cluster. One whose restore
 * was cut short is fine.
 */
extern omb_status omb_restore_check_cluster(const char *pgdata,
											uint64_t system_identifier,
											omb_error *err);

/*
 * The places of the tablespaces are empty, or with delta linked from the data
 * directory already.
 */
extern omb_status omb_restore_check_spaces(const omb_spaces *spaces,
										   bool delta, omb_error *err);

/*
 * For a delta restore, which removes what is not in the backup: the file or
 * directory (NULL is none) is not in any of the places. version is the
 * tablespaces' folder of this cluster's version.
 */
extern omb_status omb_restore_check_apart(const omb_spaces *spaces,
										  const char *version,
										  const char *path, const char *what,
										  omb_error *err);

/*
 * For a delta restore: no server that runs in another directory uses a
 * tablespace of this one, as it does when this one is a copy of it.
 */
extern omb_status omb_restore_check_users(const omb_spaces *spaces,
										  omb_error *err);

#endif
