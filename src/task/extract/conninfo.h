/*
 * conninfo.h: what we need to know of connection strings of libpq, which is
 * not linked: programs of PostgreSQL connect for us.
 */
#ifndef OMB_TASK_CONNINFO_H
#define OMB_TASK_CONNINFO_H

#include "base/error.h"

#include <stdbool.h>

/*
 * Is the text a connection string ("postgresql://..", or with a "=") and not
 * the name of a file? What begins with "/" or "." is a file.
 */
extern bool omb_conninfo_is(const char *text);

/*
 * The database that a connection string names, in new memory: OMB_USAGE when it
 * names none, makes no sense, or has a password, which everybody could read
 * in the list of processes.
 */
extern omb_status omb_conninfo_database(const char *text, char **database,
										omb_error *err);

/* The same with another database, in new memory. */
extern char *omb_conninfo_with(const char *text, const char *database);

#endif
