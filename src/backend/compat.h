/*
 * compat.h: what differs between PostgreSQL 15, 16, 17 and 18; nowhere else.
 */
#ifndef OMB_BACKEND_COMPAT_H
#define OMB_BACKEND_COMPAT_H

#include "access/xlog.h"
#if PG_VERSION_NUM >= 160000
#include "access/xlogbackup.h"
#include "archive/archive_module.h"
#include "miscadmin.h"
#else
#include "lib/stringinfo.h"
#include "postmaster/pgarch.h"
#endif

/*
 * A running backup of this process. From 16 on the server keeps the facts in
 * a BackupState; in 15 the label's text carries them.
 */
typedef struct OmbServerBackup
{
#if PG_VERSION_NUM >= 160000
	BackupState *state;
#else
	StringInfo label;
#endif
	StringInfo tablespace_map;
	XLogRecPtr start_lsn;
	TimeLineID start_timeline;
	XLogRecPtr stop_lsn;
	TimeLineID stop_timeline;
} OmbServerBackup;

/* Start; everything is allocated in the current memory context. */
static inline void
omb_backup_start(OmbServerBackup *backup, const char *label)
{
	backup->tablespace_map = makeStringInfo();
#if PG_VERSION_NUM >= 160000
	backup->state = palloc0(sizeof(BackupState));
	do_pg_backup_start(label, true, NULL, backup->state,
					   backup->tablespace_map);
	backup->start_lsn = backup->state->startpoint;
	backup->start_timeline = backup->state->starttli;
#else
	backup->label = makeStringInfo();
	backup->start_lsn =
		do_pg_backup_start(label, true, &backup->start_timeline, backup->label,
						   NULL, backup->tablespace_map);
#endif
}

/*
 * Stop without waiting for the archive; returns the text of backup_label.
 */
static inline char *
omb_backup_stop(OmbServerBackup *backup)
{
#if PG_VERSION_NUM >= 160000
	do_pg_backup_stop(backup->state, false);
	backup->stop_lsn = backup->state->stoppoint;
	backup->stop_timeline = backup->state->stoptli;
	return build_backup_content(backup->state, false);
#else
	backup->stop_lsn =
		do_pg_backup_stop(backup->label->data, false, &backup->stop_timeline);
	return backup->label->data;
#endif
}

/*
 * The argument of do_pg_abort_backup() means "warn" in 15 and "while
 * starting" from 16 on; false is right for both.
 */
#define OMB_ABORT_ARG BoolGetDatum(false)

/* Callbacks of an archive module have a state argument from 16 on. */
#if PG_VERSION_NUM >= 160000
#define OMB_ARCHIVE_STATE ArchiveModuleState *state
#define OMB_ARCHIVE_STATE_AND ArchiveModuleState *state,
#else
#define OMB_ARCHIVE_STATE void
#define OMB_ARCHIVE_STATE_AND
#endif

#endif
