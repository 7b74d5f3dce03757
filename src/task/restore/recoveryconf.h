/*
 * recoveryconf.h: the settings with which a restored server recovers.
 */
#ifndef OMB_TASK_RECOVERYCONF_H
#define OMB_TASK_RECOVERYCONF_H

#include "task/restore/plan.h"

typedef struct omb_recovery_settings
{
	const char *program;	   /* absolute path of this program */
	const char *repository;	   /* absolute directory, or a URL */
	const char *credentials;   /* absolute, or NULL */
	const char *key_file;	   /* absolute, or NULL */
	const char *target_action; /* promote, pause, shutdown */
	const omb_target *target;
	uint32_t timeline;
	/* the segment that the target is in, or "" for the end of the archive */
	const char *last_segment;
} omb_recovery_settings;

/*
 * Put the settings at the end of pgdata/postgresql.auto.conf, where they win
 * over all others, drop older settings of the same names there, and create
 * recovery.signal. All durable on return.
 */
extern omb_status omb_recovery_settings_write(
	const char *pgdata, const omb_recovery_settings *settings, omb_error *err);

#endif
