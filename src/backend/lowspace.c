/*
 * lowspace.c: removing old backups early when the repository lacks space.
 *
 * The survey tells how much is free. When that is less than
 * omsupply_backup.min_free the launcher wakes the scheduler, which knows the
 * rules and asks for the job "expire"; the agent does the rest
 * (task/retain/early.h). Where that does not help it is tried again after pauses
 * that grow, for backups leave the protection of keep_wal_days with time.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "backend/lowspace.h"
#include "backend/settings.h"
#include "backend/shared.h"

/* Seconds until it is tried again; doubled each time. */
#define FIRST_PAUSE 600
#define LONGEST_PAUSE SECS_PER_DAY

int64
omb_lowspace_limit(void)
{
	return (int64) omb_min_free * 1024 * 1024;
}

bool
omb_lowspace(const OmbSurvey *survey)
{
	return omb_min_free > 0 && survey->at != 0 &&
		   survey->problem_status[0] == '\0' && survey->repository_total > 0 &&
		   survey->repository_free < omb_lowspace_limit();
}

/* The caller holds the lock. */
static bool
pause_is_over(const OmbLowspace *state, TimestampTz now)
{
	int seconds = FIRST_PAUSE;
	int i;

	/* the clock was set back */
	if (state->attempts == 0 || state->asked_at > now)
		return true;
	for (i = 1; i < state->attempts && seconds < LONGEST_PAUSE; i++)
		seconds *= 2;
	return TimestampDifferenceExceeds(state->asked_at, now,
									  Min(seconds, LONGEST_PAUSE) * 1000);
}

bool
omb_lowspace_due(TimestampTz now)
{
	OmbStatus *status = &omb_shared->status;
	OmbLowspace *state = &status->lowspace;
	OmbSurvey *survey;
	bool due;

	if (omb_min_free == 0 || omb_status_unconfigured() != NULL)
		return false;
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	survey = &status->survey;
	if (survey->at != 0 && survey->problem_status[0] == '\0' &&
		!omb_lowspace(survey))
		state->attempts = 0;
	/* what is known from before the last job tells nothing of now */
	due = omb_lowspace(survey) && !status->survey_wanted &&
		  omb_shared->job.state == OMB_JOB_NONE &&
		  strcmp(survey->repository, omb_repository) == 0 &&
		  strcmp(survey->fence, "other") != 0 &&
		  strcmp(survey->fence, "not_known") != 0 && pause_is_over(state, now);
	LWLockRelease(omb_shared->lock);
	return due;
}

void
omb_lowspace_asked(TimestampTz now)
{
	OmbLowspace *state = &omb_shared->status.lowspace;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	state->asked_at = now;
	if (state->attempts < INT_MAX)
		state->attempts++;
	LWLockRelease(omb_shared->lock);
}

int
omb_lowspace_attempts(void)
{
	int attempts;

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	attempts = omb_shared->status.lowspace.attempts;
	LWLockRelease(omb_shared->lock);
	return attempts;
}
