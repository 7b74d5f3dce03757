/*
 * objectlock.c: until when objects of a store are locked against removal.
 */
#include "store/objectlock.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY (INT64_C(24) * 3600 * 1000000)

/* All objects are looked at four times in the days of a lock. */
static int64_t
period(const omb_lock_rule *rule)
{
	int64_t quarter = (int64_t) rule->days * DAY / 4;

	return quarter < DAY ? DAY : quarter;
}

bool
omb_lock_rule_covers(const omb_lock_rule *rule, const char *name)
{
	static const char *const passing[] = { "probe/", "marks/pins/" };
	size_t i;

	for (i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		if (strncmp(name, passing[i], strlen(passing[i])) == 0)
			return false;
	return rule->days > 0;
}

void
omb_lock_rule_begin(const omb_lock_rule *rule, int64_t now,
					omb_object_lock *lock)
{
	lock->is_set = true;
	lock->compliance = rule->compliance;
	lock->until = now + (int64_t) rule->days * DAY;
}

bool
omb_lock_rule_is_due(const omb_lock_rule *rule, int64_t last, int64_t now)
{
	/* a time that has not come yet is none */
	return rule->days > 0 && (now - last >= period(rule) || last > now);
}

bool
omb_lock_rule_extend(const omb_lock_rule *rule, int64_t now,
					 const omb_object_lock *lock, omb_object_lock *next)
{
	int64_t left = lock->is_set ? lock->until - now : 0;

	omb_lock_rule_begin(rule, now, next);
	if (left > 0)
		next->compliance = lock->compliance;
	return rule->days > 0 && (!lock->is_set || lock->until < next->until) &&
		   left < (int64_t) rule->days * DAY / 2 + period(rule);
}

char *
omb_lock_time_format(int64_t time, char *out)
{
	time_t seconds = (time_t) (time / 1000000);
	struct tm tm;

	(void) gmtime_r(&seconds, &tm);
	(void) strftime(out, OMB_LOCK_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}
