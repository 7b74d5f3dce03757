/*
 * standing.h: where each enabled schedule stands: the table
 * backup_schedule_state.
 *
 * All of it happens inside one transaction, with SPI connected; schema is
 * quoted.
 */
#ifndef OMB_BACKEND_STANDING_H
#define OMB_BACKEND_STANDING_H

#include "backend/schedule.h"

/* A schedule that is enabled, with where it stands. */
typedef struct OmbSchedule
{
	char *name;
	char *job;
	char *label;
	char *sample;
	char *max_time;
	char *definition;
	bool catch_up;
	omb_cron cron;
	pg_tz *zone;
	/* what the table backup_schedule_state holds */
	TimestampTz handled_until;
	bool is_running;
	TimestampTz started_at; /* 0: none */
	int failures;
	TimestampTz retry_at; /* 0: none */
	/* found now */
	TimestampTz next; /* 0: never */
	TimestampTz due_at;
	const char *due; /* cause of a run that is due, or NULL */
} OmbSchedule;

typedef struct OmbStanding
{
	TimestampTz now;
	OmbSchedule *schedules;
	int count;
} OmbStanding;

/* Read all that are enabled; only one process at a time comes past this. */
extern void omb_standing_read(OmbStanding *standing, const char *schema,
							  TimestampTz now);

/* A job that a schedule had asked for ended so; 0 is success. */
extern void omb_standing_end(OmbStanding *standing, const char *name,
							 int sqlstate);

/* Find out what is due, and when each runs next. */
extern void omb_standing_find_due(OmbStanding *standing,
								  TimestampTz server_start);

/* The schedule whose turn it is, or NULL. */
extern OmbSchedule *omb_standing_choose(OmbStanding *standing);

/* How many take backups. */
extern int omb_standing_backups(const OmbStanding *standing);

/* Its job was asked for. */
extern void omb_standing_start(OmbStanding *standing, OmbSchedule *s);

/* Write what changed, and forget schedules that are not enabled. */
extern void omb_standing_write(const OmbStanding *standing,
							   const char *schema);

/* The earliest instant at which something is due; 0 for never. */
extern TimestampTz omb_standing_wakeup(const OmbStanding *standing);

#endif
