/*
 * recoverytarget.h: the options that say how far recovery shall go.
 */
#ifndef OMB_PROGRAM_RECOVERYTARGET_H
#define OMB_PROGRAM_RECOVERYTARGET_H

#include "program/options.h"

#include "repo/point.h"
#include "task/restore/plan.h"

typedef struct omb_recovery_options
{
	const char *time;
	const char *lsn;
	const char *xid;
	const char *name;
	const char *mark;
	bool immediate;
	const char *timeline;
} omb_recovery_options;

/* Initializers for a table of omb_option. */
#define OMB_RECOVERY_OPTIONS(to)                                               \
	{                                                                          \
		"target-time", "TIME", "recover to this time", &(to).time, NULL, NULL  \
	},                                                                         \
		{ "target-lsn", "LSN", "recover to this LSN", &(to).lsn, NULL, NULL }, \
		{ "target-xid", "XID", "recover to the end of this transaction",       \
		  &(to).xid,	NULL,  NULL },                                         \
		{ "target-name", "NAME", "recover to this restore point",              \
		  &(to).name,	 NULL,	 NULL },                                       \
		{ "target-mark", "NAME", "recover to this mark (its name or id)",      \
		  &(to).mark,	 NULL,	 NULL },                                       \
		{ "target-immediate", NULL, "recover to the end of the backup", NULL,  \
		  &(to).immediate,	  NULL },                                          \
	{                                                                          \
		"target-timeline", "TLI",                                              \
			"\"latest\" (default), \"current\", number", &(to).timeline,       \
			NULL, NULL                                                         \
	}

/* At most one target; without one it is the end of the archived WAL. */
extern omb_status omb_recovery_options_read(
	const omb_recovery_options *options, omb_target *target, omb_error *err);

/*
 * When the target is a mark, find it: a mark is a restore point, of which it is
 * known where it is and on which timeline. name has room for that restore
 * point's name, which the target then points to.
 */
extern omb_status omb_recovery_options_find_mark(
	const omb_recovery_options *options, omb_repository *repo,
	omb_target *target, char name[OMB_POINT_RESTORE_POINT_MAX],
	omb_error *err);

/* Write on standard output where recovery goes. */
extern void omb_recovery_target_show(const omb_target *target);

#endif
