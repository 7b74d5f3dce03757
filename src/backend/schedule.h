/*
 * schedule.h: the clock and the calendar of the server part.
 */
#ifndef OMB_BACKEND_SCHEDULE_H
#define OMB_BACKEND_SCHEDULE_H

#include "datatype/timestamp.h"
#include "pgtime.h"

#include "base/cron.h"

/* The jobs that a schedule may name. */
extern bool omb_schedule_job_known(const char *job);

/* The time that schedules go by: the clock's, moved by a setting for tests. */
extern TimestampTz omb_schedule_now(void);

/* A time zone by its name; NULL when the server does not know it. */
extern pg_tz *omb_schedule_zone(const char *name);

/* When this transaction commits, the scheduler looks at its tables. */
extern void omb_schedule_note_change(void);

/* Have that done, too, when the extension or its database is dropped. */
extern void omb_drop_hook(void);

/* The first run after an instant; false when there is none. */
extern bool omb_schedule_next(const omb_cron *cron, pg_tz *zone,
							  TimestampTz after, TimestampTz *next);

#endif
