/*
 * check.c: backup_check(), which tries the whole set-up, a row a check.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker_internals.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "backend/checks.h"
#include "backend/lowspace.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/status.h"
#include "backend/survey.h"
#include "backend/text.h"

PG_FUNCTION_INFO_V1(omb_backup_check);

/* The launcher, a job, a survey and the scheduler; and one for each target. */
#define WORKERS_NEEDED 4
#define DAYS_LOW 14
#define PERCENT_LOW 10
#define CLOCK_SECONDS 300
#define POLL_MS 50

typedef struct OmbCheck
{
	ReturnSetInfo *rsinfo;
	OmbSurvey *survey;
	OmbArchiver *archiver;
	char *schema; /* of the extension */
} OmbCheck;

static const char *const OK = "ok";
static const char *const WARN = "warning";
static const char *const BAD = "error";

/* A row; hint may be NULL. */
static void
add(OmbCheck *check, const char *name, const char *result, const char *found,
	const char *hint)
{
	Datum values[4];
	bool nulls[4] = { 0 };

	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(result);
	values[2] = CStringGetTextDatum(omb_text_to_server(found));
	nulls[3] = result == OK || hint == NULL || hint[0] == '\0';
	values[3] =
		nulls[3] ? (Datum) 0 : CStringGetTextDatum(omb_text_to_server(hint));
	tuplestore_putvalues(check->rsinfo->setResult, check->rsinfo->setDesc,
						 values, nulls);
}

static char *
time_text(TimestampTz time)
{
	return pstrdup(timestamptz_to_str(time));
}

/* ---- settings ---- */

static void
check_settings(OmbCheck *check)
{
	const char *library = GetConfigOption("archive_library", true, false);
	const char *name = library ? strrchr(library, '/') : NULL;
	OmbTarget *targets = palloc(OMB_TARGETS * sizeof(OmbTarget));
	int workers = WORKERS_NEEDED + omb_target_get(targets);

	name = name ? name + 1 : library ? library : "";
	add(check, "shared_preload_libraries", omb_shared ? OK : BAD,
		omb_shared ? "\"omsupply_backup\" is loaded at server start" :
					 "\"omsupply_backup\" is not loaded at server start",
		"Add \"omsupply_backup\" to \"shared_preload_libraries\" and restart "
		"the server.");
	add(check, "wal_level", XLogIsNeeded() ? OK : BAD,
		psprintf("\"wal_level\" is \"%s\"",
				 GetConfigOption("wal_level", false, false)),
		"Set \"wal_level\" to \"replica\" and restart the server.");
	add(check, "archive_mode", XLogArchivingActive() ? OK : BAD,
		psprintf("\"archive_mode\" is \"%s\"",
				 GetConfigOption("archive_mode", false, false)),
		"Set \"archive_mode\" to \"on\" and restart the server.");
	add(check, "archive_library",
		strcmp(name, "omsupply_backup") == 0 ? OK : BAD,
		psprintf("\"archive_library\" is \"%s\"", library ? library : ""),
		"Set \"archive_library\" to \"omsupply_backup\" and reload the "
		"server.");
	add(check, "max_worker_processes",
		max_worker_processes >= workers ? OK : WARN,
		psprintf("\"max_worker_processes\" is %d; backups need up to %d",
				 max_worker_processes, workers),
		"Increase \"max_worker_processes\" and restart the server.");
	add(check, "repository_setting", omb_repository[0] ? OK : BAD,
		omb_repository[0] ?
			psprintf("the repository is \"%s\"", omb_repository) :
			"\"omsupply_backup.repository\" is not set",
		"Make a repository with \"omsupply_backup init\", set "
		"\"omsupply_backup.repository\" and \"omsupply_backup.key_file\", and "
		"reload the server.");
}

/* Library and SQL objects are installed apart. */
static void
check_versions(OmbCheck *check)
{
	char *version = NULL;

	if (SPI_execute("SELECT extversion FROM pg_catalog.pg_extension WHERE "
					"extname OPERATOR(pg_catalog.=) 'omsupply_backup'",
					true, 1) == SPI_OK_SELECT &&
		SPI_processed == 1)
		version =
			SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	add(check, "versions",
		version != NULL && strcmp(version, OMB_SQL_VERSION) == 0 ? OK : BAD,
		psprintf("the SQL objects have version %s, the library is for %s",
				 version ? version : "none", OMB_SQL_VERSION),
		"Execute \"ALTER EXTENSION omsupply_backup UPDATE\", and restart the "
		"server after the software was updated.");
}

static void
check_launcher(OmbCheck *check)
{
	bool runs = omb_shared != NULL && omb_shared->launcher_pid != 0;

	add(check, "launcher", runs ? OK : BAD,
		runs ? "the backup launcher is running" :
			   "the backup launcher is not running",
		RecoveryInProgress() ?
			"It starts when this server is promoted." :
			"It starts again within seconds after it ended. If it does not, "
			"see the server log and \"max_worker_processes\".");
}

/* ---- archiving ---- */

/* Is the file of no interest to the archiver any more? */
static bool
was_archived(const char *file)
{
	char path[MAXPGPATH];
	struct stat st;

	snprintf(path, sizeof(path), XLOGDIR "/archive_status/%s.ready", file);
	if (stat(path, &st) == 0)
		return false;
	snprintf(path, sizeof(path), XLOGDIR "/archive_status/%s.done", file);
	if (stat(path, &st) == 0)
		return true;
	/* neither: not yet marked, or recycled already */
	snprintf(path, sizeof(path), XLOGDIR "/%s", file);
	return stat(path, &st) != 0;
}

/*
 * Write a restore point, end the segment, and wait until the archiver is done
 * with it. Returns its name; *archived tells how that ended.
 */
static char *
archive_segment(int64 timeout_ms, bool *archived)
{
	TimestampTz start = GetCurrentTimestamp();
	char *file = palloc(MAXFNAMELEN);
	XLogRecPtr lsn;
	XLogSegNo segno;
	TimeLineID timeline;

	(void) XLogRestorePoint("backup_check");
	lsn = RequestXLogSwitch(false);
	(void) GetFlushRecPtr(&timeline);
	XLByteToPrevSeg(lsn, segno, wal_segment_size);
	XLogFileName(file, timeline, segno, wal_segment_size);
	while (!(*archived = was_archived(file)) &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(),
									   (int) timeout_ms))
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return file;
}

static void
check_archiving(OmbCheck *check, const char *file, bool archived,
				int64 timeout_ms)
{
	const OmbArchiver *archiver = check->archiver;

	if (file == NULL)
		return;
	if (archived && check->survey->wal_file_found)
		add(check, "archiving", OK,
			psprintf("WAL file \"%s\" was switched and is in the repository",
					 file),
			NULL);
	else if (archived)
		add(check, "archiving", BAD,
			psprintf("WAL file \"%s\" counts as archived but is not in the "
					 "repository",
					 file),
			"See the other checks, \"omsupply_backup.wal_full_action\" and "
			"the server log.");
	else if (archiver->failing_since != 0)
		add(check, "archiving", BAD,
			psprintf("WAL file \"%s\" was not archived within %d seconds: %s",
					 file, (int) (timeout_ms / 1000), archiver->message),
			archiver->hint);
	else
		add(check, "archiving", BAD,
			psprintf("WAL file \"%s\" was not archived within %d seconds",
					 file, (int) (timeout_ms / 1000)),
			"Older files may come first: see \"backup_wal_status\". Execute "
			"the check again, and see the server log.");
}

/* ---- repository and keys ---- */

static void
check_repository(OmbCheck *check)
{
	const OmbSurvey *survey = check->survey;

	if (survey->problem_status[0] == '\0')
		add(check, "repository", OK,
			psprintf("it can be read and has " INT64_FORMAT " backups",
					 survey->backups),
			NULL);
	else
		add(check, "repository", BAD, survey->problem, survey->problem_hint);
}

static void
check_key(OmbCheck *check)
{
	const OmbSurvey *survey = check->survey;
	bool opened = survey->problem_status[0] == '\0';

	if (omb_key_file[0] == '\0' && (!opened || survey->encrypted))
		add(check, "key_file", BAD, "\"omsupply_backup.key_file\" is not set",
			"Set it to the key file that \"omsupply_backup init\" made, and "
			"reload the server.");
	else if (opened && !survey->encrypted)
		add(check, "key_file", WARN,
			"the repository is not encrypted: whoever can read the files can "
			"read the backups",
			"Make a new repository without \"--no-encryption\".");
	else if (survey->key_status[0] != '\0')
		add(check, "key_file", BAD, survey->key_problem, survey->key_hint);
	else if (path_is_prefix_of_path(DataDir, omb_key_file))
		add(check, "key_file", BAD,
			psprintf("key file \"%s\" is inside the data directory",
					 omb_key_file),
			"It would be lost with the data, and be inside the backups that "
			"it opens. Move it to another place.");
	else if (strcmp(survey->problem_status, "wrong_key") == 0)
		add(check, "key_file", BAD, survey->problem, survey->problem_hint);
	else
		add(check, "key_file", OK,
			psprintf("key file \"%s\" is private%s", omb_key_file,
					 opened ? " and opens the repository" : ""),
			NULL);
	if (opened && survey->encrypted)
		add(check, "recovery_code", survey->code_confirmed ? OK : WARN,
			survey->code_confirmed ?
				"somebody proved to have the recovery code" :
				"nobody has confirmed to have the recovery code",
			"Type it once: execute \"omsupply_backup key --confirm\" as the "
			"user that runs the server. Without the key file it is the only "
			"way to read the backups.");
}

static void
check_fence(OmbCheck *check)
{
	const OmbSurvey *survey = check->survey;

	if (strcmp(survey->fence, "other") == 0)
		add(check, "owner", BAD,
			psprintf("%s. %s", survey->fence_problem, survey->fence_detail),
			survey->fence_hint);
	else
		add(check, "owner", OK,
			strcmp(survey->fence, "own") == 0 ?
				"the repository belongs to this server" :
				"nobody has claimed the repository yet",
			NULL);
}

static void
check_space(OmbCheck *check)
{
	const OmbSurvey *survey = check->survey;
	double days = omb_status_days_until_full(survey);
	double percent;

	add(check, "file_system", survey->same_device ? WARN : OK,
		survey->same_device ?
			"the repository is on the same file system as the data directory" :
			"the repository is on another file system than the data directory",
		"Move the repository to another disk: a broken disk takes both.");
	if (survey->repository_total == 0)
		return;
	percent = 100.0 * survey->repository_free / survey->repository_total;
	add(check, "free_space",
		percent < 1 ? BAD :
		percent < PERCENT_LOW || (days >= 0 && days < DAYS_LOW) ||
				omb_lowspace(survey) ?
					  WARN :
					  OK,
		psprintf(INT64_FORMAT " MB (%.0f %%) of the repository's file system "
							  "are free%s",
				 survey->repository_free / (1024 * 1024), percent,
				 days < 0 ?
					 "" :
					 psprintf(", enough for %.0f days at the rate of the "
							  "last week",
							  days)),
		"Keep less (\"backup_retention\", \"backup_expire()\") or move the "
		"repository to a larger disk. With \"omsupply_backup.min_free\" old "
		"backups go early by themselves.");
}

/* ---- backups ---- */

static void
check_backups(OmbCheck *check)
{
	const OmbSurvey *survey = check->survey;
	int64 age = (GetCurrentTimestamp() - survey->last_stop_at) / USECS_PER_SEC;
	bool old = omb_max_backup_age > 0 && age > omb_max_backup_age;

	if (survey->backups == 0)
	{
		add(check, "last_backup", BAD, "there is no backup yet",
			"Execute \"SELECT backup_now()\".");
		return;
	}
	add(check, "last_backup",
		old || survey->last_damaged_pages > 0 ? WARN : OK,
		psprintf("backup \"%s\" ended at %s%s", survey->last_id,
				 time_text(survey->last_stop_at),
				 survey->last_damaged_pages > 0 ?
					 psprintf(" and has " INT64_FORMAT " damaged pages",
							  survey->last_damaged_pages) :
					 ""),
		old ? "It is older than \"omsupply_backup.max_backup_age\". Execute "
			  "\"SELECT backup_now()\", and see why none was taken." :
			  "See \"omsupply_backup info\". Look for failing storage.");
	add(check, "clock", age < -CLOCK_SECONDS ? BAD : OK,
		age < -CLOCK_SECONDS ?
			psprintf("by the clock the last backup ended in the future; now "
					 "is %s",
					 time_text(GetCurrentTimestamp())) :
			"the clock is not behind the last backup",
		"Set the clock of this machine, and see that it stays right.");
}

static void
check_gaps(OmbCheck *check)
{
	const OmbSurvey *survey = check->survey;

	if (survey->backups == 0)
		return;
	if (survey->given_up_first[0] != '\0')
		add(check, "wal", BAD,
			psprintf("WAL from %s to %s was given up unarchived at %s",
					 survey->given_up_first, survey->given_up_last,
					 time_text(survey->given_up_at)),
			"Nothing behind it can be restored until a new backup is "
			"complete. It is started by itself; or execute \"SELECT "
			"backup_now()\".");
	else if (survey->window_from == 0)
		add(check, "wal", BAD, "WAL is missing behind the last backup",
			"Execute \"SELECT backup_now()\".");
	else if (survey->gaps > 0)
		add(check, "wal", WARN,
			psprintf("WAL from %s to %s is missing; any instant from %s to "
					 "%s can be restored",
					 survey->gap_first, survey->gap_last,
					 time_text(survey->window_from),
					 time_text(survey->window_to)),
			"Backups in front of the gap cannot be recovered beyond it.");
	else
		add(check, "wal", OK,
			psprintf("any instant from %s to %s can be restored",
					 time_text(survey->window_from),
					 time_text(survey->window_to)),
			NULL);
}

/* ---- targets ---- */

static void
check_targets(OmbCheck *check)
{
	OmbTarget *targets = palloc(OMB_TARGETS * sizeof(OmbTarget));
	int count = omb_target_get(targets);
	TimestampTz now = GetCurrentTimestamp();
	int i;

	for (i = 0; i < count; i++)
	{
		const OmbTarget *t = &targets[i];
		char *name =
			psprintf("target \"%s\"", omb_text_to_server(t->config.name));
		int64 risk = omb_target_risk(t, now);

		if (t->failing_since != 0)
			add(check, name, BAD, t->last_error,
				t->hint[0] ? t->hint :
							 "See \"backup_target_check()\". It is tried "
							 "again by itself.");
		else if (t->last_success_at == 0)
			add(check, name, WARN, "it has never been complete yet",
				"See \"backup_target_status\".");
		else if (omb_max_target_lag > 0 &&
				 risk / USECS_PER_SEC > omb_max_target_lag)
			add(check, name, WARN,
				psprintf("it is behind; it was complete last at %s",
						 time_text(t->last_success_at)),
				"See \"backup_target_status\": the limit may be too low for "
				"what is written.");
		else
			add(check, name, OK,
				psprintf("it was complete at %s",
						 time_text(t->last_success_at)),
				NULL);
	}
	pfree(targets);
}

/* ---- schedules ---- */

static void
check_schedules(OmbCheck *check)
{
	char *table = quote_qualified_identifier(check->schema, "backup_schedule");
	char *count;
	Oid relid;

	relid = get_relname_relid("backup_schedule",
							  get_namespace_oid(check->schema, true));
	/* who may check need not be allowed to read the table */
	if (!OidIsValid(relid) ||
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return;
	if (SPI_execute(psprintf("SELECT pg_catalog.count(*) FROM %s WHERE "
							 "is_enabled AND job OPERATOR(pg_catalog.=) ANY "
							 "('{backup,full}'::pg_catalog.text[])",
							 table),
					true, 1) != SPI_OK_SELECT)
		return;
	count = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	add(check, "schedules", strcmp(count, "0") == 0 ? WARN : OK,
		psprintf("%s schedules that take backups are enabled", count),
		"Execute \"UPDATE backup_schedule SET is_enabled = true\".");
}

Datum
omb_backup_check(PG_FUNCTION_ARGS)
{
	Interval *timeout = PG_GETARG_INTERVAL_P(0);
	int64 timeout_ms =
		timeout->time / 1000 + (int64) timeout->day * SECS_PER_DAY * 1000;
	bool archived = false;
	char *file = NULL;
	OmbCheck check;

	if (timeout->month != 0 || timeout_ms < 0 || timeout_ms > 3600 * 1000)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the timeout must be between 0 and 1 hour")));
	InitMaterializedSRF(fcinfo, 0);
	check.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	check.survey = palloc0(sizeof(OmbSurvey));
	check.archiver = palloc0(sizeof(OmbArchiver));
	check.schema =
		get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	check_settings(&check);
	check_versions(&check);
	check_launcher(&check);
	if (omb_repository[0] != '\0')
	{
		OmbSurvey ignored;

		if (omb_status_unconfigured() == NULL && timeout_ms > 0)
			file = archive_segment(timeout_ms, &archived);
		omb_survey_now(file, check.survey);
		omb_status_get(&ignored, check.archiver);
		check_repository(&check);
		check_key(&check);
		if (check.survey->problem_status[0] == '\0')
		{
			check_fence(&check);
			check_archiving(&check, file, archived, timeout_ms);
			check_space(&check);
			check_backups(&check);
			check_gaps(&check);
		}
		else
			check_archiving(&check, file, archived, timeout_ms);
	}
	check_targets(&check);
	check_schedules(&check);
	SPI_finish();
	/* who listens hears of changes at the latest now */
	if (!RecoveryInProgress())
		omb_status_notify();
	return (Datum) 0;
}
