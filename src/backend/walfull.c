/*
 * walfull.c: what to do when archiving fails and pg_wal grows.
 *
 * By default there are warnings. Only when the administrator chose so, and
 * more WAL waits than the limit, files are given up: without them a full file
 * system would stop the server. The note of that is durable before the server
 * hears that it may recycle the file:
 *
 *   omsupply_backup.gap          written by the archiver, text of
 *                                base/fields.h: first, last, files, since,
 *                                until, history (repeated)
 *   omsupply_backup.gap.report   the same file while it is being reported to
 *                                the repository; the archiver begins anew
 */
#include "postgres.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogarchive.h"
#include "access/xlogrecovery.h"
#include "lib/stringinfo.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include "base/fields.h"

#include "backend/epoch.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/walfull.h"

#define NOTE "omsupply_backup.gap"
#define REPORT NOTE ".report"
#define NOTE_MAX 8192

/* Pauses between warnings. */
#define WARN_PAUSE_MS (60 * 1000)
#define WARN_PAUSE_MAX_MS (60 * 60 * 1000)
/* One file that waits is nothing to speak of. */
#define WARN_FILES 2

/* The failure in hand; the archiver's. */
static struct
{
	TimestampTz since; /* 0 while archiving works */
	XLogRecPtr since_lsn;
	TimestampTz warned_at;
	int pause_ms;
} failing;

/* ---- the note ---- */

/* False when there is none, or it makes no sense. */
static bool
read_note(const char *path, OmbWalGap *gap)
{
	char *text;
	omb_fields fields;
	uint64_t value[3] = { 0, 0, 0 };
	const char *first, *last;
	ssize_t len;
	int fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	int i;

	memset(gap, 0, sizeof(*gap));
	if (fd < 0)
		return false;
	text = palloc(NOTE_MAX + 1);
	len = read(fd, text, NOTE_MAX);
	CloseTransientFile(fd);
	if (len <= 0 || !omb_fields_parse_text(text, len, &fields) ||
		(first = omb_fields_get(&fields, "first")) == NULL ||
		(last = omb_fields_get(&fields, "last")) == NULL ||
		!omb_fields_get_u64(&fields, "files", &value[0]) ||
		!omb_fields_get_u64(&fields, "since", &value[1]) ||
		!omb_fields_get_u64(&fields, "until", &value[2]))
	{
		ereport(WARNING, (errmsg("file \"%s\" makes no sense", path)));
		return false;
	}
	strlcpy(gap->first, first, sizeof(gap->first));
	strlcpy(gap->last, last, sizeof(gap->last));
	gap->files = value[0];
	gap->since = value[1];
	gap->until = value[2];
	for (i = 0; i < fields.count; i++)
	{
		if (strcmp(fields.item[i].name, "history") == 0)
			gap->histories =
				lappend(gap->histories, pstrdup(fields.item[i].value));
	}
	return true;
}

/* Put the note in place of the one before; durable on return. */
static bool
write_note(const OmbWalGap *gap)
{
	StringInfoData text;
	ListCell *cell;
	int fd;
	bool good;

	initStringInfo(&text);
	appendStringInfo(&text,
					 "first=%s\nlast=%s\nfiles=" UINT64_FORMAT
					 "\nsince=" UINT64_FORMAT "\nuntil=" UINT64_FORMAT "\n",
					 gap->first, gap->last, gap->files, gap->since,
					 gap->until);
	foreach (cell, gap->histories)
		appendStringInfo(&text, "history=%s\n", (char *) lfirst(cell));
	fd = OpenTransientFile(NOTE ".tmp",
						   O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
	good = fd >= 0 && write(fd, text.data, text.len) == text.len &&
		   pg_fsync(fd) == 0;
	if (fd >= 0)
		CloseTransientFile(fd);
	if (good)
		return durable_rename(NOTE ".tmp", NOTE, WARNING) == 0;
	ereport(WARNING, (errcode_for_file_access(),
					  errmsg("could not write file \"%s\": %m", NOTE ".tmp")));
	return false;
}

/* Tell the status too, also of a note from before the server started. */
static void
show_note(const OmbWalGap *gap)
{
	OmbArchiver *archiver;

	if (omb_shared == NULL)
		return;
	archiver = &omb_shared->status.archiver;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	archiver->given_up = (int64) gap->files;
	strlcpy(archiver->given_up_first, gap->first,
			sizeof(archiver->given_up_first));
	strlcpy(archiver->given_up_last, gap->last,
			sizeof(archiver->given_up_last));
	LWLockRelease(omb_shared->lock);
}

bool
omb_walgap_take(OmbWalGap *gap)
{
	struct stat st;

	if (stat(REPORT, &st) != 0 &&
		(stat(NOTE, &st) != 0 || durable_rename(NOTE, REPORT, LOG) != 0))
		return false;
	if (!read_note(REPORT, gap))
		return false;
	show_note(gap);
	return true;
}

void
omb_walgap_reported(const OmbWalGap *gap)
{
	struct stat st;
	ListCell *cell;
	bool more;

	/* these are small and are still there: they are archived after all */
	foreach (cell, gap->histories)
		XLogArchiveNotify(lfirst(cell));
	if (durable_unlink(REPORT, LOG) != 0)
		return;
	if (omb_shared == NULL)
		return;
	more = stat(NOTE, &st) == 0;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	if (!more)
		omb_shared->status.archiver.given_up = 0;
	LWLockRelease(omb_shared->lock);
	ereport(LOG,
			(errmsg("noted in the repository that WAL from %s to %s was given "
					"up",
					gap->first, gap->last)));
}

/* ---- giving up ---- */

static bool
give_up(const char *file, int64 waiting_bytes)
{
	OmbWalGap gap;
	uint64 now = GetCurrentTimestamp() + OMB_EPOCH_DIFFERENCE;
	bool noted = read_note(NOTE, &gap);

	if (!IsXLogFileName(file) && !IsTLHistoryFileName(file))
	{
		/* the history of a backup: nothing needs it */
		return true;
	}
	if (IsTLHistoryFileName(file))
	{
		/* without a range of segments there is no note to add it to */
		if (!noted || list_length(gap.histories) > 32)
			return false;
		gap.histories = lappend(gap.histories, pstrdup(file));
		return write_note(&gap);
	}
	if (!noted)
	{
		strlcpy(gap.first, file, sizeof(gap.first));
		gap.since = now;
	}
	strlcpy(gap.last, file, sizeof(gap.last));
	gap.files++;
	gap.until = now;
	if (!write_note(&gap))
		return false;
	show_note(&gap);
	ereport(WARNING,
			(errmsg("WAL file \"%s\" was given up: it is not archived", file),
			 errdetail("More WAL waits to be archived (%d MB) than "
					   "\"omsupply_backup.wal_limit\" allows. Nothing "
					   "behind it can be restored until a new backup is "
					   "complete.",
					   (int) (waiting_bytes / (1024 * 1024))),
			 errhint("Make archiving work again: a backup is then started "
					 "at once.")));
	return true;
}

/* ---- warning ---- */

/* How far WAL has come, written or received. */
static XLogRecPtr
current_lsn(void)
{
	return RecoveryInProgress() ? GetXLogReplayRecPtr(NULL) :
								  GetFlushRecPtr(NULL);
}

/* Seconds until the file system of pg_wal is full; -1 when not known. */
static double
seconds_until_full(int64 *available)
{
	struct statvfs fs;
	XLogRecPtr lsn = current_lsn();
	double seconds =
		(double) (GetCurrentTimestamp() - failing.since) / USECS_PER_SEC;

	*available = -1;
	if (statvfs(XLOGDIR, &fs) != 0)
		return -1;
	*available = (int64) fs.f_bavail * fs.f_frsize;
	if (lsn <= failing.since_lsn || seconds <= 0)
		return -1;
	return (double) *available / ((lsn - failing.since_lsn) / seconds);
}

static void
warn(const OmbWaiting *waiting)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 available;
	double seconds;
	StringInfoData detail;

	if (waiting->files < WARN_FILES ||
		(failing.warned_at != 0 &&
		 !TimestampDifferenceExceeds(failing.warned_at, now,
									 failing.pause_ms)))
		return;
	failing.pause_ms = failing.warned_at == 0 ?
						   WARN_PAUSE_MS :
						   Min(failing.pause_ms * 2, WARN_PAUSE_MAX_MS);
	failing.warned_at = now;
	seconds = seconds_until_full(&available);
	initStringInfo(&detail);
	appendStringInfo(
		&detail, INT64_FORMAT " files wait in pg_wal (" INT64_FORMAT " MB)",
		waiting->files, waiting->bytes / (1024 * 1024));
	if (available >= 0)
		appendStringInfo(&detail,
						 ", whose file system has " INT64_FORMAT " MB left",
						 available / (1024 * 1024));
	if (seconds >= 0 && seconds < 365.0 * 86400)
		appendStringInfo(
			&detail,
			", enough for about %.1f hours as WAL is being written now",
			seconds / 3600);
	ereport(
		WARNING,
		(errmsg("WAL cannot be archived since %s and fills pg_wal",
				timestamptz_to_str(failing.since)),
		 errdetail("%s. A full file system stops the server.", detail.data),
		 errhint("Make the repository work again. Never delete files in "
				 "pg_wal.")));
}

bool
omb_walfull_failed(const char *file)
{
	OmbWaiting waiting;

	if (failing.since == 0)
	{
		failing.since = GetCurrentTimestamp();
		failing.since_lsn = current_lsn();
		failing.warned_at = 0;
	}
	omb_status_waiting(&waiting);
	/* without the launcher nobody would report it and take the new backup */
	if (omb_wal_full_action == OMB_WAL_FULL_DROP && omb_wal_limit > 0 &&
		omb_shared != NULL &&
		waiting.bytes > (int64) omb_wal_limit * 1024 * 1024)
		return give_up(file, waiting.bytes);
	warn(&waiting);
	return false;
}

void
omb_walfull_archived(void)
{
	failing.since = 0;
}
