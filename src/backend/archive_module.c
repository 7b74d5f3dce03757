/*
 * archive_module.c: the archive module (archive_library).
 *
 * It runs in the archiver, a process without database and transactions, and
 * asks the agent, which it keeps alive, for one file after the other. An
 * error never leaves this file: in versions 15 and 16 it would end the
 * archiver. What is allocated belongs to a context that is reset for each
 * file.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/procsignal.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "backend/agent.h"
#include "backend/compat.h"
#include "backend/settings.h"
#include "backend/status.h"
#include "backend/walfull.h"

/* How long to wait for a line before looking at signals again. */
#define RECEIVE_MS 1000L

/*
 * A shutdown waits for the archiver, so a file may not take for ever; the
 * server asks again. Besides this a file has a second for each megabyte, as
 * segments may be large and compression slow.
 */
#define FILE_SECONDS 120
/* The same when the server is told to end. */
#define SHUTDOWN_SECONDS 10

#if PG_VERSION_NUM < 160000
extern PGDLLEXPORT void _PG_archive_module_init(ArchiveModuleCallbacks *cb);
#endif

static MemoryContext archive_context = NULL;

/* The settings the agent was started with. */
static char *agent_settings = NULL;

/* All settings that matter to the agent, as one text. */
static char *
current_settings(void)
{
	return psprintf("%s\n%s\n%s\n%d", omb_repository, omb_key_file,
					omb_compression, omb_settings_jobs());
}

static bool
check_configured(OMB_ARCHIVE_STATE)
{
	if (omb_repository[0] != '\0')
		return true;
#ifdef arch_module_check_errdetail
	arch_module_check_errdetail("\"%s\" is not set.",
								"omsupply_backup.repository");
#else
	ereport(LOG, (errmsg("\"%s\" is not set", "omsupply_backup.repository")));
#endif
	return false;
}

/* What the archiver has to do between waits, even in the middle of a file. */
static void
handle_signals(void)
{
	/* otherwise DROP DATABASE and DROP TABLESPACE would wait for us */
	if (ProcSignalBarrierPending)
		ProcessProcSignalBarrier();
}

/* Wait for a line; false, with a WARNING, when there will be none. */
static bool
await_line(const char *file, omb_fields *fields)
{
	TimestampTz start = GetCurrentTimestamp();
	int seconds = FILE_SECONDS + wal_segment_size / (1024 * 1024);

	for (;;)
	{
		switch (omb_agent_receive(fields, RECEIVE_MS))
		{
			case OMB_AGENT_LINE:
				if (strcmp(fields->verb, "warning") != 0)
					return true;
				omb_agent_report(fields, WARNING, NULL, NULL);
				break;
			case OMB_AGENT_DEAD:
				omb_status_failed(file, "failed",
								  psprintf("backup agent ended "
										   "unexpectedly: %s",
										   omb_agent_death()),
								  "See the server log for its messages.");
				ereport(WARNING,
						(errmsg("could not archive WAL file \"%s\": backup "
								"agent ended unexpectedly: %s",
								file, omb_agent_death()),
						 errhint("See the server log for its messages.")));
				return false;
			case OMB_AGENT_TIMEOUT:
				break;
		}
		handle_signals();
		if (ShutdownRequestPending)
			seconds = Min(seconds, SHUTDOWN_SECONDS);
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(),
									   seconds * 1000))
		{
			omb_agent_stop();
			omb_status_failed(
				file, "failed",
				psprintf("no answer from the backup agent for %d seconds",
						 seconds),
				"Check that the repository's file system responds.");
			ereport(WARNING,
					(errmsg("could not archive WAL file \"%s\": no answer "
							"from the backup agent for %d seconds",
							file, seconds),
					 errhint("Check that the repository's file system "
							 "responds.")));
			return false;
		}
	}
}

/* Tell in the log and to the status what the agent could not do. */
static void
report_failure(const char *file, const omb_fields *fields)
{
	omb_status_failed(file, omb_agent_text(fields, "status"),
					  omb_agent_text(fields, "message"),
					  omb_agent_text(fields, "hint"));
	omb_agent_report(fields, WARNING,
					 psprintf("could not archive WAL file \"%s\"", file),
					 NULL);
}

/* Have an agent that runs with the present settings. */
static bool
ready_agent(const char *file)
{
	char *settings = current_settings();
	omb_fields fields;

	if (omb_agent_running() && agent_settings != NULL &&
		strcmp(agent_settings, settings) == 0)
		return true;
	omb_agent_stop();
	if (agent_settings)
		pfree(agent_settings);
	agent_settings = MemoryContextStrdup(TopMemoryContext, settings);
	omb_agent_start();
	omb_agent_begin_job("archive");
	(void) omb_agent_send();
	if (!await_line(file, &fields))
		return false;
	if (strcmp(fields.verb, "ready") == 0)
		return true;
	report_failure(file, &fields);
	omb_agent_stop();
	return false;
}

static bool
ask_agent(const char *file)
{
	omb_fields fields;

	if (!ready_agent(file))
		return false;
	omb_agent_begin("archive");
	omb_agent_put("file", file);
	/* when it has died meanwhile, waiting for the answer says so */
	(void) omb_agent_send();
	if (!await_line(file, &fields))
		return false;
	if (strcmp(omb_agent_text(&fields, "file"), file) == 0 &&
		strcmp(fields.verb, "archived") == 0)
	{
		ereport(DEBUG1, (errmsg("archived WAL file \"%s\"", file)));
		return true;
	}
	report_failure(file, &fields);
	/* a new agent looks at a repository that was mounted or made anew */
	omb_agent_stop();
	return false;
}

/* After an attempt: may the server recycle the file? */
static bool
conclude(const char *file, bool archived)
{
	PG_TRY();
	{
		if (archived)
		{
			omb_walfull_archived();
			omb_status_archived(file);
		}
		/* what fails while the server ends is asked for again */
		else if (!ShutdownRequestPending)
			archived = omb_walfull_failed(file);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		MemoryContextSwitchTo(archive_context);
		FlushErrorState();
		LWLockReleaseAll();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return archived;
}

static bool
archive_file(OMB_ARCHIVE_STATE_AND const char *file, const char *path)
{
	MemoryContext old;
	bool archived = false;

	if (archive_context == NULL)
		archive_context =
			AllocSetContextCreate(TopMemoryContext, "omsupply_backup archive",
								  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(archive_context);
	PG_TRY();
	{
		archived = ask_agent(file);
	}
	PG_CATCH();
	{
		ErrorData *error;

		HOLD_INTERRUPTS();
		EmitErrorReport();
		MemoryContextSwitchTo(archive_context);
		error = CopyErrorData();
		FlushErrorState();
		LWLockReleaseAll();
		omb_agent_stop();
		omb_status_failed(file, "failed", error->message, error->hint);
		RESUME_INTERRUPTS();
		archived = false;
	}
	PG_END_TRY();
	archived = conclude(file, archived);
	MemoryContextSwitchTo(old);
	MemoryContextReset(archive_context);
	/*
	 * Hand back a wakeup that may have been the archiver's, such as the order
	 * to end. Without one its latch stays alone: it would not pause after a
	 * failure.
	 */
	if (omb_agent_took_wakeup())
		SetLatch(MyLatch);
	return archived;
}

static void
shut_down(OMB_ARCHIVE_STATE)
{
	omb_agent_stop();
}

#if PG_VERSION_NUM >= 160000
const ArchiveModuleCallbacks *
_PG_archive_module_init(void)
{
	static const ArchiveModuleCallbacks callbacks = {
		.check_configured_cb = check_configured,
		.archive_file_cb = archive_file,
		.shutdown_cb = shut_down
	};

	return &callbacks;
}
#else
void
_PG_archive_module_init(ArchiveModuleCallbacks *cb)
{
	cb->check_configured_cb = check_configured;
	cb->archive_file_cb = archive_file;
	cb->shutdown_cb = shut_down;
}
#endif
