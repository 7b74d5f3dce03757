/*
 * sqlitecopy.h: a consistent copy of a database of SQLite that is in use.
 */
#ifndef OMB_TASK_SQLITECOPY_H
#define OMB_TASK_SQLITECOPY_H

#include "base/error.h"

#include <stdbool.h>

/* Does an open file begin as databases of SQLite do? */
extern bool omb_sqlite_is(int fd);

/*
 * Copy the database at the path, in which no part may be a link and which is
 * only read, to a nameless file in
 * TMPDIR or /var/tmp, whose descriptor is for the caller to close. Writers are
 * not held up for longer than a fraction of a second; those that change it all
 * the time for as long as one uninterrupted copy takes, at the end.
 */
extern omb_status omb_sqlite_copy(const char *path, int *fd, omb_error *err);

#endif
