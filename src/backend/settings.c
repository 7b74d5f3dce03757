/*
 * settings.c: the settings of the server part (postgresql.conf).
 */
#include "postgres.h"

#include <limits.h>
#include <unistd.h>

#include "utils/guc.h"

#include "backend/settings.h"
#include "backend/walfull.h"

#define JOBS_MAX 8

char *omb_repository = NULL;
char *omb_key_file = NULL;
char *omb_compression = NULL;
static int jobs = 0; /* one per core */
int omb_max_read_rate = 0;
int omb_archive_timeout = 300;
int omb_max_backup_age = 2 * 86400;
int omb_wal_full_action = OMB_WAL_FULL_WARN;
int omb_wal_limit = 0;
int omb_max_target_lag = 86400;
int omb_min_free = 0;

static const struct config_enum_entry wal_full_actions[] = {
	{ "warn", OMB_WAL_FULL_WARN, false },
	{ "drop", OMB_WAL_FULL_DROP, false },
	{ NULL, 0, false }
};
char *omb_database = NULL;
int omb_debug_clock_offset = 0;

/*
 * "zstd[:1..19]", "gzip[:1..9]" or "none". The program reads it again; this
 * is to tell the person who sets it.
 */
static bool
check_compression(char **newval, void **extra, GucSource source)
{
	static const struct
	{
		const char *name;
		int most;
	} methods[] = { { "none", 0 }, { "zstd", 19 }, { "gzip", 9 } };
	const char *value = *newval;
	int i;

	for (i = 0; i < (int) lengthof(methods); i++)
	{
		size_t len = strlen(methods[i].name);
		char *end;
		long level;

		if (strncmp(value, methods[i].name, len) != 0)
			continue;
		if (value[len] == '\0')
			return true;
		if (value[len] != ':' || value[len + 1] < '0' || value[len + 1] > '9')
			break;
		level = strtol(value + len + 1, &end, 10);
		if (*end == '\0' && level >= 1 && level <= methods[i].most)
			return true;
		break;
	}
	GUC_check_errhint("Use \"zstd:1\" to \"zstd:19\", \"gzip:1\" to "
					  "\"gzip:9\", or \"none\".");
	return false;
}

/*
 * Only the form: a directory that is missing now may be mounted later, and a
 * setting that refuses to load would stop archiving for good.
 */
static bool
check_absolute(char **newval, void **extra, GucSource source)
{
	if ((*newval)[0] == '\0' || (*newval)[0] == '/')
		return true;
	GUC_check_errdetail("It must be an absolute path.");
	return false;
}

void
omb_settings_define(void)
{
	DefineCustomStringVariable(
		"omsupply_backup.repository", "Directory of the backup repository.",
		"Best on another disk than the data directory.", &omb_repository, "",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_absolute, NULL, NULL);
	DefineCustomStringVariable(
		"omsupply_backup.key_file", "Key file of the backup repository.",
		"Outside the data directory, mode 0600.", &omb_key_file, "",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_absolute, NULL, NULL);
	DefineCustomStringVariable("omsupply_backup.compression",
							   "Compression of backups and archived WAL.",
							   "\"zstd:LEVEL\", \"gzip:LEVEL\" or \"none\".",
							   &omb_compression, "zstd:3", PGC_SIGHUP, 0,
							   check_compression, NULL, NULL);
	DefineCustomIntVariable("omsupply_backup.jobs",
							"Threads that a backup or archiving uses.",
							"0 means one per core, at most 8.", &jobs, 0, 0,
							JOBS_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("omsupply_backup.max_read_rate",
							"Most that a backup reads, in kilobytes a second.",
							"0 means no limit.", &omb_max_read_rate, 0, 0,
							INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL,
							NULL);
	DefineCustomIntVariable("omsupply_backup.archive_timeout",
							"Time that a backup waits for a WAL segment to be "
							"archived before it fails.",
							NULL, &omb_archive_timeout, 300, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("omsupply_backup.max_backup_age",
							"Age of the last backup from which on "
							"backup_status calls it old.",
							"0 means that any age is fine.",
							&omb_max_backup_age, 2 * 86400, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("omsupply_backup.max_target_lag",
							"Time that a target may be behind the repository "
							"before backup_status calls it so.",
							"0 means that any time is fine.",
							&omb_max_target_lag, 86400, 0, INT_MAX, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"omsupply_backup.wal_full_action",
		"What happens when archiving fails and pg_wal grows.",
		"\"warn\" warns; \"drop\" gives up WAL beyond "
		"\"omsupply_backup.wal_limit\", which leaves a gap until the next "
		"backup.",
		&omb_wal_full_action, OMB_WAL_FULL_WARN, wal_full_actions, PGC_SIGHUP,
		0, NULL, NULL, NULL);
	DefineCustomIntVariable("omsupply_backup.wal_limit",
							"Most WAL that may wait to be archived before "
							"some is given up.",
							"Only with \"omsupply_backup.wal_full_action\" "
							"set to \"drop\"; 0 means no limit.",
							&omb_wal_limit, 0, 0, INT_MAX, PGC_SIGHUP,
							GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"omsupply_backup.min_free",
		"Free space in the repository's file system below which old backups "
		"are removed early.",
		"Those that only keep_last and the calendar rules keep, down to the "
		"minimum; 0 means never.",
		&omb_min_free, 0, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL,
		NULL);
	DefineCustomStringVariable(
		"omsupply_backup.database",
		"Database in which the extension keeps schedules and history.", NULL,
		&omb_database, "postgres", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"omsupply_backup.debug_clock_offset",
		"Seconds by which schedules see the clock ahead.", "For tests only.",
		&omb_debug_clock_offset, 0, INT_MIN, INT_MAX, PGC_SIGHUP,
		GUC_UNIT_S | GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	MarkGUCPrefixReserved("omsupply_backup");
}

int
omb_settings_jobs(void)
{
	long cores;

	if (jobs > 0)
		return jobs;
	cores = sysconf(_SC_NPROCESSORS_ONLN);
	return cores < 1 ? 1 : Min(cores, JOBS_MAX);
}
