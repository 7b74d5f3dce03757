/*
 * retainwal.c: which WAL is kept, and why: what the kept backups need.
 */
#include "task/retain/retain.h"

#include "base/buffer.h"

bool
omb_retain_range(const omb_retain_backup *backup, uint64_t *first,
				 uint64_t *last)
{
	uint64_t size = backup->wal_segment_size;

	if (!omb_wal_segment_size_valid(size))
		return false;
	*first = omb_wal_segno_at(backup->start_lsn, size);
	*last = omb_wal_segno_before(backup->stop_lsn, size);
	return true;
}

/*
 * A number that orders the segments of a timeline whatever their size. When
 * sizes differ only the 4 GiB of WAL that a byte is in can be compared.
 */
static uint64_t
first_key(const omb_retain_plan *plan, uint64_t lsn)
{
	uint64_t log = lsn >> 32;

	return log << 32 |
		   (plan->segment_size == 0 ? 0 :
									  (lsn & UINT32_MAX) / plan->segment_size);
}

static uint64_t
last_key(const omb_retain_plan *plan, uint64_t lsn)
{
	uint64_t last = lsn == 0 ? 0 : lsn - 1;

	return (last >> 32) << 32 | (plan->segment_size == 0 ?
									 UINT32_MAX :
									 (last & UINT32_MAX) / plan->segment_size);
}

static uint64_t
name_key(const omb_wal_name *name)
{
	return (uint64_t) name->log << 32 | name->seg;
}

/* Does everything from this backup on lead over the segment? */
static bool
is_behind(const omb_retain_plan *plan, const omb_retain_backup *backup,
		  const omb_wal_name *name)
{
	return backup->window && name->timeline >= backup->timeline &&
		   name_key(name) >= first_key(plan, backup->start_lsn);
}

/* Was the segment written during the backup? */
static bool
is_within(const omb_retain_plan *plan, const omb_retain_backup *backup,
		  const omb_wal_name *name)
{
	return backup->keep && name->timeline == backup->timeline &&
		   name_key(name) >= first_key(plan, backup->start_lsn) &&
		   name_key(name) <= last_key(plan, backup->stop_lsn);
}

omb_retain_wal
omb_retain_wal_decide(const omb_retain_plan *plan, const omb_wal_name *name)
{
	omb_retain_wal verdict = { OMB_RETAIN_UNUSED, NULL };
	size_t i;

	if (name->kind == OMB_WAL_HISTORY)
		verdict.why = OMB_RETAIN_HISTORY;
	else if (plan->keeps_all || name->kind == OMB_WAL_OTHER)
		verdict.why = OMB_RETAIN_ALL;
	else if (name->timeline > plan->whole_behind)
		verdict.why = OMB_RETAIN_TIMELINE;
	for (i = 0; i < plan->count && verdict.why == OMB_RETAIN_UNUSED; i++)
	{
		if (is_behind(plan, &plan->backup[i], name))
		{
			verdict.why = OMB_RETAIN_WINDOW;
			verdict.because = &plan->backup[i];
		}
	}
	for (i = 0; i < plan->count && verdict.why == OMB_RETAIN_UNUSED; i++)
	{
		if (is_within(plan, &plan->backup[i], name))
		{
			verdict.why = OMB_RETAIN_RANGE;
			verdict.because = &plan->backup[i];
		}
	}
	return verdict;
}

char *
omb_retain_wal_reason(const omb_retain_plan *plan,
					  const omb_retain_wal *verdict)
{
	uint32_t days = plan->rules.keep_wal_days;

	switch (verdict->why)
	{
		case OMB_RETAIN_UNUSED:
			return omb_strdup("no kept backup needs it");
		case OMB_RETAIN_ALL:
			return omb_strdup(plan->count == 0 ? "there is no backup" :
												 "no rule is set");
		case OMB_RETAIN_HISTORY:
			return omb_strdup("timeline histories are always kept");
		case OMB_RETAIN_TIMELINE:
			return omb_format("timelines behind timeline %u are kept whole",
							  plan->whole_behind);
		case OMB_RETAIN_WINDOW:
			if (days == 0)
				return omb_format("follows backup \"%s\", which is kept",
								  verdict->because->id);
			return omb_format("follows backup \"%s\", which leads to the last "
							  "%u day%s (keep_wal_days)",
							  verdict->because->id, days,
							  days == 1 ? "" : "s");
		case OMB_RETAIN_RANGE:
			return omb_format("written during backup \"%s\", which is kept",
							  verdict->because->id);
	}
	return omb_strdup("");
}

uint32_t
omb_retain_wal_turn(const omb_retain_plan *plan, const omb_wal_name *name)
{
	omb_retain_wal verdict = omb_retain_wal_decide(plan, name);
	uint32_t turn = 0;
	size_t i;

	if (verdict.why != OMB_RETAIN_UNUSED && verdict.because == NULL)
		return OMB_RETAIN_NEVER;
	for (i = 0; i < plan->count; i++)
	{
		const omb_retain_backup *backup = &plan->backup[i];

		if (backup->turn > turn &&
			(is_behind(plan, backup, name) || is_within(plan, backup, name)))
			turn = backup->turn;
	}
	return turn;
}
