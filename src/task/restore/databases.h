/*
 * databases.h: choosing databases of a backup by name.
 */
#ifndef OMB_TASK_DATABASES_H
#define OMB_TASK_DATABASES_H

#include "repo/manifest.h"

/* Which databases are restored; the files of the others become zeros. */
typedef struct omb_databases
{
	uint32_t *oid;
	size_t count;
} omb_databases;

/*
 * Find databases by what pg_database of the backup says, and template0,
 * template1 and postgres with them. A name that is not there is OMB_USAGE;
 * the error tells which there are.
 */
extern omb_status omb_databases_find(omb_repository *repo, const char *backup,
									 const char *const *name, size_t count,
									 omb_databases *out, omb_error *err);
extern void omb_databases_clear(omb_databases *databases);

/*
 * Whether a file belongs to a database that was not chosen. Two small files
 * of each do not: with them the server starts, and can drop the database.
 */
extern bool omb_databases_leave_out(const omb_databases *databases,
									const omb_entry *entry);

#endif
