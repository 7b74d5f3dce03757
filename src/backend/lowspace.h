/*
 * lowspace.h: removing old backups early when the repository lacks space.
 */
#ifndef OMB_BACKEND_LOWSPACE_H
#define OMB_BACKEND_LOWSPACE_H

#include "backend/status.h"

/* omsupply_backup.min_free in bytes; 0 for none. */
extern int64 omb_lowspace_limit(void);

/* Has the repository less free space than that? */
extern bool omb_lowspace(const OmbSurvey *survey);

/*
 * Is it time to ask for the removal of old backups? Asked by the clock of the
 * schedules; after each request the pause until the next is longer.
 */
extern bool omb_lowspace_due(TimestampTz now);

/* It was asked for, or there is nothing that may go. */
extern void omb_lowspace_asked(TimestampTz now);

/* How often it was asked for since there was enough space. */
extern int omb_lowspace_attempts(void);

#endif
