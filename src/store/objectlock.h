/*
 * objectlock.h: until when objects of a store are locked against removal. Pure.
 *
 * An object is locked for so many days when it is stored. What is there longer
 * than that is still needed, or it would have been removed: so now and then
 * all that is there is looked at (omb_lock_rule_is_due), and locked anew when
 * less is left than a half and what passes until the next look. A lock is never
 * made shorter. So what is needed is locked for at least half of the days from
 * the last look on, whatever happens then.
 */
#ifndef OMB_STORE_OBJECTLOCK_H
#define OMB_STORE_OBJECTLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* How new objects of a store are locked; days 0: not at all. */
typedef struct omb_lock_rule
{
	uint32_t days;
	bool compliance; /* nobody ends it early; else who has a special right */
} omb_lock_rule;

/* The lock of one object. */
typedef struct omb_object_lock
{
	bool is_set; /* it may have ended */
	bool compliance;
	int64_t until; /* microseconds since 1970, by the server's clock */
} omb_object_lock;

/* What can be locked at a place. */
typedef struct omb_lock_place
{
	bool is_known; /* whether it can lock */
	bool can_lock;
	bool
		is_versioned; /* removed objects can be had back; false: or not known */
} omb_lock_place;

/*
 * Is an object of that name locked? What is taken away in normal work, soon
 * after it came, is not: objects of a probe, and pins, which no restore needs.
 */
extern bool omb_lock_rule_covers(const omb_lock_rule *rule, const char *name);

/* The lock of an object that is stored now. */
extern void omb_lock_rule_begin(const omb_lock_rule *rule, int64_t now,
								omb_object_lock *lock);

/* Is it time to look at all objects, when that was begun last at a time, or 0? */
extern bool omb_lock_rule_is_due(const omb_lock_rule *rule, int64_t last,
								 int64_t now);

/*
 * Must the lock of an object be set anew, and to what? Where it is locked still
 * it stays of its kind: that is not ours to change.
 */
extern bool omb_lock_rule_extend(const omb_lock_rule *rule, int64_t now,
								 const omb_object_lock *lock,
								 omb_object_lock *next);

/* "2026-11-20T23:15:02Z" */
#define OMB_LOCK_TIME_TEXT 32
extern char *omb_lock_time_format(int64_t time, char *out);

#endif
