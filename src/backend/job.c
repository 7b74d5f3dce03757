/*
 * job.c: the worker that does one job, most of all a base backup.
 *
 * For a backup it starts and stops the server's backup mode and lets the agent copy in
 * between. It has no database, no transaction and no snapshot. However it
 * ends, the server leaves backup mode (PG_ENSURE_ERROR_CLEANUP), the agent
 * dies (a callback of agent.c), and the result is noted for who waits.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"

#include "backend/agent.h"
#include "backend/compat.h"
#include "backend/epoch.h"
#include "backend/fileset.h"
#include "backend/lowspace.h"
#include "backend/scheduler.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/text.h"

/* How long to wait for a line before looking at interrupts again. */
#define RECEIVE_MS 1000L

/* Configuration files to name at most; a line has room for more fields. */
#define CONFIG_FILES_MAX 48

static uint64 my_serial = 0;
static bool reported = false;

/* FATAL and proc_exit() run no PG_CATCH: note the end here. */
static void
finish_at_exit(int code, Datum arg)
{
	if (!reported)
		omb_shared_fail(my_serial, ERRCODE_ADMIN_SHUTDOWN,
						"the job was terminated",
						"Its worker was told to end.", NULL);
	omb_wake(omb_shared->launcher_pid);
}

static int64
unix_time(TimestampTz time)
{
	return time + OMB_EPOCH_DIFFERENCE;
}

static void
set_phase(const char *phase)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	strlcpy(omb_shared->job.phase, phase, sizeof(omb_shared->job.phase));
	LWLockRelease(omb_shared->lock);
	pgstat_report_activity(STATE_RUNNING, phase);
}

static void
note_progress(const omb_fields *fields)
{
	OmbJob *job = &omb_shared->job;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	strlcpy(job->phase, omb_agent_text(fields, "phase"), sizeof(job->phase));
	strlcpy(job->waiting_for, omb_agent_text(fields, "wal_file"),
			sizeof(job->waiting_for));
	job->bytes_done = omb_agent_u64(fields, "bytes_done");
	job->bytes_total = omb_agent_u64(fields, "bytes_total");
	job->bytes_stored = omb_agent_u64(fields, "bytes_stored");
	job->files_done = omb_agent_u64(fields, "files_done");
	job->files_total = omb_agent_u64(fields, "files_total");
	LWLockRelease(omb_shared->lock);
}

static void
note_warning(const omb_fields *fields)
{
	OmbJob *job = &omb_shared->job;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (job->warning_count < OMB_WARNINGS)
		omb_shared_text(job->warning[job->warning_count],
						sizeof(job->warning[0]),
						omb_agent_text(fields, "message"));
	job->warning_count++;
	LWLockRelease(omb_shared->lock);
	omb_agent_report(fields, WARNING, NULL, NULL);
}

/* Why WAL does not arrive, as far as the server knows. */
static void
add_archiver_detail(StringInfo detail)
{
	PgStat_ArchiverStats *stats;

	pgstat_clear_snapshot();
	stats = pgstat_fetch_stat_archiver();
	if (stats->failed_count > 0 &&
		stats->last_failed_timestamp > stats->last_archived_timestamp)
		appendStringInfo(detail,
						 "Archiving of WAL file \"%s\" failed last, at %s.",
						 stats->last_failed_wal,
						 timestamptz_to_str(stats->last_failed_timestamp));
}

/* Raise the error that ended the job, with what the server can add. */
static void
raise_error(const omb_fields *fields)
{
	bool in_wal;
	StringInfoData more;

	initStringInfo(&more);
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	in_wal = strcmp(omb_shared->job.phase, "wal") == 0;
	LWLockRelease(omb_shared->lock);
	if (in_wal && omb_agent_text(fields, "detail")[0] == '\0')
		add_archiver_detail(&more);
	omb_agent_report(fields, ERROR, NULL, more.data);
}

static void
check_cancel(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot take a backup during recovery")));
}

/* Wait for a line with the verb, dealing with all others meanwhile. */
static void
await(const char *verb, omb_fields *fields)
{
	for (;;)
	{
		switch (omb_agent_receive(fields, RECEIVE_MS))
		{
			case OMB_AGENT_TIMEOUT:
				check_cancel();
				continue;
			case OMB_AGENT_DEAD:
				check_cancel();
				omb_agent_report_death(ERROR);
				break;
			case OMB_AGENT_LINE:
				check_cancel();
				break;
		}
		if (strcmp(fields->verb, verb) == 0)
			return;
		if (strcmp(fields->verb, "progress") == 0)
			note_progress(fields);
		else if (strcmp(fields->verb, "warning") == 0)
			note_warning(fields);
		else if (strcmp(fields->verb, "error") == 0)
			raise_error(fields);
		else if (strcmp(fields->verb, "verdict") == 0)
			continue; /* of expire: for people who look */
		else
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("backup agent sent \"%.64s\" instead of \"%s\"",
							fields->verb, verb)));
	}
}

static void
send_line(void)
{
	if (!omb_agent_send())
		omb_agent_report_death(ERROR);
}

/* ---- configuration files outside the data directory ---- */

/* Name a file once, if it exists and is outside. */
static void
put_config_file(List **sent, const char *path)
{
	ListCell *cell;
	struct stat st;

	if (path == NULL || path[0] != '/' ||
		path_is_prefix_of_path(DataDir, path) ||
		list_length(*sent) >= CONFIG_FILES_MAX || stat(path, &st) != 0 ||
		!S_ISREG(st.st_mode))
		return;
	foreach (cell, *sent)
	{
		if (strcmp(lfirst(cell), path) == 0)
			return;
	}
	*sent = lappend(*sent, pstrdup(path));
	omb_agent_put("config_file", path);
}

/* What postgresql.conf includes, by reading it as the server does. */
static void
put_included_files(List **sent)
{
	ConfigVariable *head = NULL;
	ConfigVariable *tail = NULL;
	ConfigVariable *item;

	if (ConfigFileName == NULL)
		return;
	(void) ParseConfigFile(ConfigFileName, true, NULL, 0, 0, DEBUG2, &head,
						   &tail);
	for (item = head; item; item = item->next)
		put_config_file(sent, item->filename);
	FreeConfigVariables(head);
}

static void
put_config_files(void)
{
	/* Debian's tools keep these beside postgresql.conf */
	static const char *const beside[] = { "start.conf", "pg_ctl.conf",
										  "environment", "pg_hba.conf",
										  "pg_ident.conf" };
	List *sent = NIL;
	char directory[MAXPGPATH];
	int i;

	put_config_file(&sent, ConfigFileName);
	put_config_file(&sent, HbaFileName);
	put_config_file(&sent, IdentFileName);
	put_included_files(&sent);
	if (ConfigFileName != NULL)
	{
		strlcpy(directory, ConfigFileName, sizeof(directory));
		get_parent_directory(directory);
		for (i = 0; i < (int) lengthof(beside); i++)
			put_config_file(&sent, psprintf("%s/%s", directory, beside[i]));
	}
}

/* ---- the backup ---- */

/* Send the line of the job and the sets, and take the id. */
static void
send_job(OmbJob *job, const OmbFileSets *sets)
{
	omb_fields fields;

	omb_file_sets_announce(sets);
	send_line();
	omb_file_sets_send(sets, send_line);
	await("ready", &fields);
	strlcpy(job->backup_id, omb_agent_text(&fields, "id"),
			sizeof(job->backup_id));
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	strlcpy(omb_shared->job.backup_id, job->backup_id,
			sizeof(omb_shared->job.backup_id));
	LWLockRelease(omb_shared->lock);
	ConditionVariableBroadcast(&omb_shared->changed);
}

/* Hand the job over; returns, with the id, when the agent is ready to copy. */
static void
start_agent(OmbJob *job)
{
	OmbFileSets *sets = omb_file_sets_get();

	omb_agent_start();
	omb_agent_begin_job("backup");
	omb_agent_put("label", job->label);
	omb_agent_put("kind", job->kind);
	omb_agent_put_u64("max_read_rate", (uint64) omb_max_read_rate * 1024);
	omb_agent_put_u64("pg_version", PG_VERSION_NUM);
	omb_agent_put_u64("data_checksums", DataChecksumsEnabled() ? 1 : 0);
	omb_agent_put_u64("segment_blocks", RELSEG_SIZE);
	omb_agent_put_u64("archive_timeout", omb_archive_timeout);
	put_config_files();
	if (!sets->known)
		ereport(LOG, (errmsg("the application's files are not in the backup: "
							 "table \"backup_file_set\" could not be read "
							 "since the server started")));
	send_job(job, sets);
}

/* Everything between start and stop. */
static char *
copy_and_stop(OmbServerBackup *backup, TimestampTz started_at)
{
	omb_fields fields;

	set_phase("copy");
	omb_agent_begin("start");
	omb_agent_put_lsn("start_lsn", backup->start_lsn);
	omb_agent_put_u64("start_timeline", backup->start_timeline);
	omb_agent_put_u64("start_time", unix_time(started_at));
	send_line();
	await("copied", &fields);
	set_phase("stop");
	return omb_backup_stop(backup);
}

/* What the finished job has done. */
static void
note_numbers(const omb_fields *fields)
{
	OmbJob *job = &omb_shared->job;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	job->bytes_read = omb_agent_u64(fields, "bytes_read");
	job->bytes_stored = omb_agent_u64(fields, "bytes_stored");
	job->files_done = omb_agent_u64(fields, "files");
	job->damaged_pages = omb_agent_u64(fields, "damaged_pages");
	LWLockRelease(omb_shared->lock);
}

static void
take_backup(OmbJob *job)
{
	OmbServerBackup backup;
	TimestampTz started_at;
	char *label = NULL;
	omb_fields fields;

	StaticAssertStmt(BLCKSZ == 8192, "the program reads pages of 8 kB");

	start_agent(job);
	set_phase("checkpoint");
	started_at = GetCurrentTimestamp();
	omb_backup_start(&backup, job->label[0] ? job->label : job->backup_id);
	PG_ENSURE_ERROR_CLEANUP(do_pg_abort_backup, OMB_ABORT_ARG);
	{
		label = copy_and_stop(&backup, started_at);
	}
	PG_END_ENSURE_ERROR_CLEANUP(do_pg_abort_backup, OMB_ABORT_ARG);

	omb_agent_begin("stop");
	omb_agent_put_lsn("stop_lsn", backup.stop_lsn);
	omb_agent_put_u64("stop_timeline", backup.stop_timeline);
	omb_agent_put_u64("stop_time", unix_time(GetCurrentTimestamp()));
	omb_agent_put("backup_label", label);
	omb_agent_put("tablespace_map", backup.tablespace_map->data);
	send_line();
	set_phase("wal");
	await("done", &fields);
	note_numbers(&fields);
	omb_agent_stop();
	ereport(LOG, (errmsg("backup \"%s\" completed: " UINT64_FORMAT
						 " files, " UINT64_FORMAT " bytes, " UINT64_FORMAT
						 " bytes stored, " UINT64_FORMAT " damaged pages",
						 omb_agent_text(&fields, "id"),
						 omb_agent_u64(&fields, "files"),
						 omb_agent_u64(&fields, "bytes_read"),
						 omb_agent_u64(&fields, "bytes_stored"),
						 omb_agent_u64(&fields, "damaged_pages"))));
}

/* The application's files alone. */
static void
backup_files(OmbJob *job)
{
	OmbFileSets *sets = omb_file_sets_get();
	omb_fields fields;

	if (sets->count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no file set is enabled"),
				 sets->known ?
					 errhint("Insert a row into \"backup_file_set\".") :
					 errhint("Table \"backup_file_set\" could not be read; "
							 "see the server log.")));
	omb_agent_start();
	omb_agent_begin_job("files");
	omb_agent_put("label", job->label);
	omb_agent_put_u64("max_read_rate", (uint64) omb_max_read_rate * 1024);
	send_job(job, sets);
	set_phase("files");
	await("done", &fields);
	note_numbers(&fields);
	omb_agent_stop();
	ereport(LOG, (errmsg("backup \"%s\" of files completed: " UINT64_FORMAT
						 " files, " UINT64_FORMAT " bytes read, " UINT64_FORMAT
						 " bytes stored",
						 omb_agent_text(&fields, "id"),
						 omb_agent_u64(&fields, "files"),
						 omb_agent_u64(&fields, "bytes_read"),
						 omb_agent_u64(&fields, "bytes_stored"))));
}

/* ---- the other jobs ---- */

/* By the rules that the scheduler found in backup_retention. */
static void
expire(const OmbJob *job)
{
	static const char *const rules[OMB_RULES] = {
		"keep_last",  "keep_days",	   "keep_weeks", "keep_months",
		"keep_years", "keep_wal_days", "minimum"
	};
	omb_fields fields;
	int i;

	omb_agent_start();
	omb_agent_begin_job("expire");
	omb_agent_put_u64("dry_run", 0);
	omb_agent_put_u64("min_free", (uint64) omb_lowspace_limit());
	for (i = 0; i < OMB_RULES; i++)
	{
		if (job->rules[i] >= 0)
			omb_agent_put_u64(rules[i], (uint64) job->rules[i]);
	}
	send_line();
	await("done", &fields);
	omb_agent_stop();
	ereport(LOG,
			(errmsg("removal of old backups completed: " UINT64_FORMAT
					" backups removed, " UINT64_FORMAT
					" of them early for lack of space, " UINT64_FORMAT " kept",
					omb_agent_u64(&fields, "backups_dropped"),
					omb_agent_u64(&fields, "backups_dropped_early"),
					omb_agent_u64(&fields, "backups_kept"))));
}

/* Damage is an error: it is the run that has to be looked at. */
static void
verify(const OmbJob *job)
{
	omb_fields fields;

	omb_agent_start();
	omb_agent_begin_job("verify");
	if (job->sample[0])
		omb_agent_put("sample", job->sample);
	if (job->max_time[0])
		omb_agent_put("max_time", job->max_time);
	send_line();
	await("done", &fields);
	note_numbers(&fields);
	omb_agent_stop();
	ereport(LOG,
			(errmsg("verification of the repository completed: " UINT64_FORMAT
					" bytes read",
					omb_agent_u64(&fields, "bytes_read"))));
}

static void
do_job(OmbJob *job)
{
	set_phase("start");
	if (strcmp(job->job, "expire") == 0)
		expire(job);
	else if (strcmp(job->job, "verify") == 0)
		verify(job);
	else if (strcmp(job->job, "files") == 0)
		backup_files(job);
	else if (strcmp(job->job, "check") == 0)
		omb_scheduler_check();
	else
		take_backup(job);
}

/* Note the error in hand and log it. */
static void
report_failure(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	HOLD_INTERRUPTS();
	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	omb_agent_stop();
	/* that of backup_check() */
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	/* "canceling statement" would puzzle who has not cancelled any */
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		omb_shared_fail(my_serial, ERRCODE_QUERY_CANCELED,
						omb_shared_canceled(), NULL, NULL);
	else
		omb_shared_fail(
			my_serial, error->sqlerrcode, omb_text_from_server(error->message),
			error->detail ? omb_text_from_server(error->detail) : NULL,
			error->hint ? omb_text_from_server(error->hint) : NULL);
	reported = true;
	EmitErrorReport();
	FlushErrorState();
	RESUME_INTERRUPTS();
}

/* Take the request over; false when there is none any more. */
static bool
take_job(OmbJob *job)
{
	bool mine;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	mine = omb_shared->job.state == OMB_JOB_REQUESTED &&
		   omb_shared->job.serial == my_serial;
	if (mine)
	{
		omb_shared->job.state = OMB_JOB_RUNNING;
		omb_shared->job.pid = MyProcPid;
		omb_shared->job.started_at = GetCurrentTimestamp();
		strlcpy(omb_shared->job.phase, "start", sizeof(omb_shared->job.phase));
		*job = omb_shared->job;
	}
	LWLockRelease(omb_shared->lock);
	return mine;
}

/* Only checks look into a database; it may be missing, which ends us. */
static bool
needs_database(void)
{
	bool needed;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	needed = omb_shared->job.serial == my_serial &&
			 strcmp(omb_shared->job.job, "check") == 0;
	LWLockRelease(omb_shared->lock);
	return needed;
}

void
omb_job_main(Datum arg)
{
	MemoryContext context;
	OmbJob job;

	my_serial = (uint64) DatumGetInt64(arg);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	before_shmem_exit(finish_at_exit, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(
		needs_database() ? omb_database : NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "omsupply_backup job",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	if (!take_job(&job))
	{
		reported = true;
		return;
	}
	PG_TRY();
	{
		OmbResult result;

		check_cancel();
		do_job(&job);
		memset(&result, 0, sizeof(result));
		result.ok = true;
		omb_shared_finish(my_serial, &result);
		reported = true;
	}
	PG_CATCH();
	{
		report_failure(context);
	}
	PG_END_TRY();
}
