/*
 * notes.c: notes for the repository.
 *
 * A mark must not wait for the repository, and must not be lost. So it goes
 * into a file of the data directory first, durable; a worker that the
 * launcher starts has the agent take it into the repository and tries again
 * until that has worked. The files are described in task/notes.h.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/timestamp.h"

#include "base/fields.h"

#include "backend/agent.h"
#include "backend/epoch.h"
#include "backend/notes.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/target.h"
#include "backend/worker.h"

#define DIRECTORY "omsupply_backup.notes"

#define RECEIVE_MS 1000L
/* A disk that does not answer for so long is not there. */
#define TIMEOUT_MS (10 * 60 * 1000)

/* Pauses after a failure, doubled each time. */
#define PAUSE_MS 5000
#define PAUSE_MAX_MS (5 * 60 * 1000)

/* ---- writing a note ---- */

void
omb_note_stamp(TimestampTz at, char stamp[OMB_STAMP_SIZE])
{
	pg_time_t seconds = timestamptz_to_time_t(at);
	struct pg_tm *tm = pg_gmtime(&seconds);
	uint32 id;

	/* microseconds in front, so that stamps sort by time */
	if (tm == NULL || !pg_strong_random(&id, sizeof(id)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate random values")));
	snprintf(
		stamp, OMB_STAMP_SIZE, "%04d%02d%02dT%02d%02d%02dZ-%05x%03x",
		(tm->tm_year + 1900) % 10000, tm->tm_mon + 1, tm->tm_mday, tm->tm_hour,
		tm->tm_min, tm->tm_sec,
		(unsigned int) ((at % USECS_PER_SEC + USECS_PER_SEC) % USECS_PER_SEC),
		id & 0xfff);
}

void
omb_note_begin(StringInfo note, const char *type)
{
	initStringInfo(note);
	appendStringInfo(note, "type=%s\n", type);
}

void
omb_note_put(StringInfo note, const char *name, const char *value)
{
	appendStringInfo(note, "%s=", name);
	enlargeStringInfo(note, omb_fields_escaped_size(value) + 1);
	note->len = omb_fields_escape(value, note->data + note->len) - note->data;
	appendStringInfoChar(note, '\n');
}

void
omb_note_put_place(StringInfo note, TimestampTz at, XLogRecPtr lsn,
				   TimeLineID timeline)
{
	appendStringInfo(note, "time=" INT64_FORMAT "\nlsn=%X/%X\ntimeline=%u\n",
					 at + OMB_EPOCH_DIFFERENCE, LSN_FORMAT_ARGS(lsn),
					 timeline);
}

void
omb_note_write(const StringInfo note, const char *stamp)
{
	char path[MAXPGPATH];
	char temporary[MAXPGPATH];
	int fd;

	snprintf(path, sizeof(path), DIRECTORY "/%s", stamp);
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	if (MakePGDirectory(DIRECTORY) == 0)
		fsync_fname(".", true);
	else if (errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", DIRECTORY)));
	fd = OpenTransientFile(temporary, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", temporary)));
	errno = 0;
	if (write(fd, note->data, note->len) != note->len)
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not write file \"%s\": %m", temporary)));
	}
	CloseTransientFile(fd);
	/* this syncs the file, too */
	(void) durable_rename(temporary, path, ERROR);
}

void
omb_notes_wake(bool is_mark)
{
	if (omb_shared == NULL)
		return;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->notes_wanted++;
	if (is_mark)
		omb_shared->mark_noted = true;
	LWLockRelease(omb_shared->lock);
	omb_wake(omb_shared->launcher_pid);
}

/* ---- the worker ---- */

static bool
directory_has_notes(void)
{
	DIR *dir = AllocateDir(DIRECTORY);
	struct dirent *entry;
	bool found = false;

	if (dir == NULL)
		return false;
	while (!found && (entry = ReadDirExtended(dir, DIRECTORY, LOG)) != NULL)
		found = entry->d_name[0] != '.' &&
				strstr(entry->d_name, ".tmp") == NULL &&
				strstr(entry->d_name, ".bad") == NULL;
	FreeDir(dir);
	return found;
}

/* The agent at work; errors are raised. */
static void
take_notes(void)
{
	TimestampTz start = GetCurrentTimestamp();
	omb_fields fields;

	omb_agent_start();
	omb_agent_begin_job("notes");
	(void) omb_agent_send();
	for (;;)
	{
		switch (omb_agent_receive(&fields, RECEIVE_MS))
		{
			case OMB_AGENT_TIMEOUT:
				break;
			case OMB_AGENT_DEAD:
				CHECK_FOR_INTERRUPTS();
				omb_agent_report_death(ERROR);
				break;
			case OMB_AGENT_LINE:
				if (strcmp(fields.verb, "done") == 0)
				{
					omb_agent_stop();
					return;
				}
				if (strcmp(fields.verb, "error") == 0)
					omb_agent_report(&fields, ERROR,
									 "could not note marks in the repository",
									 NULL);
				if (strcmp(fields.verb, "warning") == 0)
					omb_agent_report(&fields, WARNING, NULL, NULL);
				break;
		}
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(),
									   TIMEOUT_MS))
			ereport(ERROR, (errmsg("could not note marks in the repository: "
								   "its file system does not respond")));
	}
}

void
omb_notes_main(Datum arg)
{
	uint64 number = (uint64) DatumGetInt64(arg);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	while (directory_has_notes())
		take_notes();
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->notes_done = number;
	if (omb_shared->mark_noted)
		omb_target_work();
	/* a mark that came since is the next worker's to tell of */
	if (omb_shared->notes_wanted == number)
		omb_shared->mark_noted = false;
	LWLockRelease(omb_shared->lock);
	omb_target_wake();
}

/* ---- the launcher's part ---- */

static struct
{
	BackgroundWorkerHandle *worker;
	uint64 number;
	TimestampTz not_before;
	long pause_ms;
} launcher;

long
omb_notes_step(void)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64 wanted, done;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	wanted = omb_shared->notes_wanted;
	done = omb_shared->notes_done;
	LWLockRelease(omb_shared->lock);
	switch (omb_look_at_worker(&launcher.worker))
	{
		case OMB_WORKER_NONE:
			break;
		case OMB_WORKER_RUNS:
			return PAUSE_MAX_MS;
		case OMB_WORKER_ENDED:
			if (done == launcher.number)
				launcher.pause_ms = 0;
			else
				launcher.pause_ms =
					launcher.pause_ms == 0 ?
						PAUSE_MS :
						Min(launcher.pause_ms * 2, PAUSE_MAX_MS);
			launcher.not_before =
				TimestampTzPlusMilliseconds(now, launcher.pause_ms);
			break;
	}
	if (wanted == done || omb_repository[0] == '\0')
		return PAUSE_MAX_MS;
	/* the clock may have been set back */
	launcher.not_before = Min(launcher.not_before,
							  TimestampTzPlusMilliseconds(now, PAUSE_MAX_MS));
	if (launcher.not_before > now)
		return TimestampDifferenceMilliseconds(now, launcher.not_before) + 1;
	launcher.number = wanted;
	return omb_start_worker("omb_notes_main", "notes", launcher.number,
							&launcher.worker) ?
			   PAUSE_MAX_MS :
			   PAUSE_MS;
}
