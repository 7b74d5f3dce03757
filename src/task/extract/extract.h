/*
 * extract.h: one database, or tables of it, as of any instant, out of the
 * repository, beside servers that go on running.
 */
#ifndef OMB_TASK_EXTRACT_H
#define OMB_TASK_EXTRACT_H

#include "task/restore/restore.h"

typedef struct omb_extract_config
{
	/* where from: repository, target, backup, threads, progress, dry_run */
	omb_restore_config from;
	const char *database;
	const char *const *table; /* SCHEMA.NAME; all when table_count is 0 */
	size_t table_count;

	const char *scratch;   /* a directory for us alone, absolute */
	const char *bindir;	   /* PostgreSQL's programs */
	const char *superuser; /* of the restored cluster; NULL to find one */

	/* where to: one of them */
	const char *file;		/* absolute; must not exist */
	const char *connection; /* to a database that is empty or not there */
	bool no_owner;			/* leave out owners, rights, tablespaces */
} omb_extract_config;

typedef struct omb_extract_result
{
	omb_restore_result restored;
	char last_transaction[64]; /* when the last one ended, or "" */
	char *into;				   /* database that was loaded, or NULL */
	bool created;			   /* it was not there */
	uint64_t file_bytes;
	/*
	 * What the dump needs of the server that it is loaded into, lines such as
	 * "roles: a, b" (needs.h); also when loading failed. NULL when not known.
	 */
	char *needs;
} omb_extract_result;

/*
 * Restore what the database needs, recover it with a private server, dump.
 * Everything that can be checked before is; a database is loaded in one
 * transaction. With from.dry_run only the checks. The caller removes scratch.
 */
extern omb_status omb_extract(const omb_extract_config *config,
							  omb_extract_result *result, omb_error *err);
extern void omb_extract_result_clear(omb_extract_result *result);

#endif
