/*
 * expiremarks.c: removing marks that nobody can restore to any more, and
 * thinning out watermarks.
 */
#include "task/retain/expiremarks.h"

#include "base/buffer.h"
#include "repo/watermark.h"
#include "task/retain/removal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct omb_expire_marks
{
	const omb_expire_config *config;
	const omb_retain_plan *plan;
	omb_buf drop; /* names of objects, each with its terminator */
};

static void
tell(const omb_expire_config *config, const char *object, const char *name,
	 const char *verdict, const char *reason)
{
	omb_expire_row row;

	row.object = object;
	row.name = name;
	row.verdict = verdict;
	row.reason = reason;
	config->row(&row, config->arg);
}

/* The segment that the restore point of a mark lies in. */
static void
wal_of(const omb_point *point, uint64_t segment_size, omb_wal_name *name)
{
	char text[OMB_WAL_NAME_TEXT];

	/* its LSN is that of the end */
	omb_wal_name_format(point->timeline,
						omb_wal_segno_before(point->lsn, segment_size),
						segment_size, text);
	(void) omb_wal_name_parse(text, name);
}

static void
judge(const omb_point *point, void *arg)
{
	omb_expire_marks *marks = arg;
	const omb_retain_plan *plan = marks->plan;
	omb_retain_wal verdict;
	omb_wal_name name;
	char *why = NULL;
	char *reason;
	bool drop;

	/* where the size is not known all WAL is kept */
	memset(&verdict, 0, sizeof(verdict));
	verdict.why = OMB_RETAIN_ALL;
	if (plan->segment_size != 0)
	{
		wal_of(point, plan->segment_size, &name);
		verdict = omb_retain_wal_decide(plan, &name);
	}
	drop = verdict.why == OMB_RETAIN_UNUSED;
	if (!drop)
		why = omb_retain_wal_reason(plan, &verdict);
	reason = omb_format("\"%s\": %s", point->name,
						drop ? "no kept backup leads to it" : why);
	tell(marks->config, "mark", point->id, drop ? "drop" : "keep", reason);
	if (drop)
	{
		omb_buf_printf(&marks->drop, OMB_POINT_FOLDER "/%s", point->id);
		omb_buf_put(&marks->drop, "", 1);
	}
	free(reason);
	free(why);
}

static void
tell_watermarks(const char *name, uint64_t kept, uint64_t dropped, void *arg)
{
	const omb_expire_marks *marks = arg;
	char *reason;

	if (dropped == 0)
		return;
	reason = omb_format("%" PRIu64 " old values that are thinned out, %" PRIu64
						" stay",
						dropped, kept);
	tell(marks->config, "watermark", name, "drop", reason);
	free(reason);
}

omb_status
omb_expire_marks_tell(const omb_expire_config *config,
					  const omb_retain_plan *plan, omb_expire_marks **out,
					  omb_error *err)
{
	omb_expire_marks *marks = omb_calloc(1, sizeof(*marks));
	uint64_t unreadable = 0;

	marks->config = config;
	marks->plan = plan;
	*out = marks;
	if (omb_point_list(config->repo, judge, marks, &unreadable, err) == OMB_OK)
		(void) omb_watermark_expire(config->repo, false, tell_watermarks,
									marks, err);
	return err->status;
}

static void
mark_done(const char *name, uint64_t size, const omb_error *refused, void *arg)
{
	uint64_t *locked = arg;

	if (refused != NULL)
		(*locked)++;
}

/* Does the repository that this one is a copy of still have it? */
static omb_status
is_in_origin(const omb_expire_config *config, const char *name, bool *found,
			 omb_error *err)
{
	omb_object *object;

	*found = false;
	if (config->copy_of == NULL)
		return OMB_OK;
	if (omb_store_open(config->copy_of, name, &object, err) == OMB_OK)
	{
		omb_object_close(object);
		*found = true;
	}
	else if (err->status == OMB_NOT_FOUND)
		omb_error_clear(err);
	return err->status;
}

omb_status
omb_expire_marks_remove(const omb_expire_config *config,
						const omb_expire_marks *marks, uint64_t *locked,
						omb_error *err)
{
	omb_removal *removal =
		omb_removal_new(config->repo->store, mark_done, locked);
	size_t at = 0;

	while (at < marks->drop.len && err->status == OMB_OK)
	{
		const char *name = (const char *) marks->drop.data + at;
		bool found;

		/* it would be copied again at once */
		if (is_in_origin(config, name, &found, err) == OMB_OK && !found)
			(void) omb_removal_add(removal, name, 0, err);
		at += strlen(name) + 1;
	}
	if (err->status == OMB_OK && omb_removal_flush(removal, err) == OMB_OK)
		(void) omb_watermark_expire(config->repo, true, NULL, NULL, err);
	omb_removal_free(removal);
	return err->status;
}

void
omb_expire_marks_free(omb_expire_marks *marks)
{
	if (marks == NULL)
		return;
	omb_buf_free(&marks->drop);
	free(marks);
}
