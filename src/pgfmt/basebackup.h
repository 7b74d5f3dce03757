/*
 * basebackup.h: what a base backup leaves out, as PostgreSQL's own does.
 */
#ifndef OMB_PGFMT_BASEBACKUP_H
#define OMB_PGFMT_BASEBACKUP_H

#include <stdbool.h>

/* A file or directory of that name is left out wherever it is. */
extern bool omb_exclude_file(const char *name);

/*
 * A directory (path relative to the data directory) that is kept empty: what
 * is in it is of the running server only, or WAL.
 */
extern bool omb_exclude_contents(const char *path);

#endif
