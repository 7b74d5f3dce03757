/*
 * basebackup.c: what a base backup leaves out.
 *
 * The rules are those of PostgreSQL's src/backend/backup/basebackup.c.
 */
#include "pgfmt/basebackup.h"

#include <stddef.h>
#include <string.h>

bool
omb_exclude_file(const char *name)
{
	static const char *const names[] = {
		/* written by the server while it runs, or by a backup */
		"postgresql.auto.conf.tmp", "current_logfiles.tmp", "backup_label",
		"backup_label.old", "tablespace_map", "tablespace_map.old",
		"backup_manifest", "backup_manifest.tmp", "postmaster.pid",
		"postmaster.opts", ".DS_Store",
		/* identifies this one copy of the cluster: repo/claim.h */
		"omsupply_backup.instance", "omsupply_backup.instance.tmp",
		/* WAL that this copy gave up, until the repository has the note */
		"omsupply_backup.gap", "omsupply_backup.gap.tmp",
		"omsupply_backup.gap.report",
		/* a restore was made with it: backend/quarantine.c */
		"omsupply_backup.quarantine"
	};
	/* files and directories for sorting, and caches of the catalog */
	static const char *const prefixes[] = { "pgsql_tmp", "pg_internal.init" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
	{
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

bool
omb_exclude_contents(const char *path)
{
	static const char *const names[] = { "pg_stat_tmp", "pg_replslot",
										 "pg_dynshmem", "pg_notify",
										 "pg_serial", "pg_snapshots",
										 "pg_subtrans", "pg_wal",
										 /* of this copy: task/notes.h */
										 "omsupply_backup.notes" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (strcmp(path, names[i]) == 0)
			return true;
	}
	return false;
}
