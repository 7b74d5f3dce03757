/*
 * listmarks.c: showing the marks and watermarks of a repository.
 */
#include "program/listmarks.h"

#include "base/json.h"
#include "base/text.h"
#include "pgfmt/lsn.h"
#include "repo/watermark.h"

#include <inttypes.h>
#include <stdio.h>

/* A value is shown in one line. */
#define VALUE_SHOWN 100

typedef struct state
{
	omb_json json;
	bool as_json;
	uint64_t count;
} state;

static void
begin(state *s, bool as_json)
{
	s->as_json = as_json;
	s->count = 0;
	if (as_json)
	{
		omb_json_begin(&s->json, stdout);
		omb_json_open(&s->json, NULL, '[');
	}
}

static void
end(state *s, const char *nothing)
{
	if (s->as_json)
	{
		omb_json_close(&s->json, ']');
		omb_json_end(&s->json);
	}
	else if (s->count == 0)
		printf("%s\n", nothing);
}

/* What marks and watermarks have in common. */
static void
put_place(omb_json *json, int64_t time, uint64_t lsn, uint32_t timeline)
{
	char text[OMB_TIME_TEXT];

	omb_json_text(json, "time", omb_time_format(time, text));
	omb_json_text(json, "lsn", omb_lsn_format(lsn, text));
	omb_json_u64(json, "timeline", timeline);
}

static void
show_point(const omb_point *point, void *arg)
{
	state *s = arg;
	char time[OMB_TIME_TEXT];
	char lsn[OMB_LSN_TEXT];

	if (s->as_json)
	{
		omb_json_open(&s->json, NULL, '{');
		omb_json_text(&s->json, "id", point->id);
		omb_json_text(&s->json, "name", point->name);
		put_place(&s->json, point->time, point->lsn, point->timeline);
		if (point->detail[0] != '\0')
			omb_json_raw(&s->json, "detail", point->detail);
		omb_json_close(&s->json, '}');
	}
	else
	{
		if (s->count == 0)
			printf("%-26s %-23s %-13s %8s  %s\n", "mark", "time", "LSN",
				   "timeline", "name");
		/* whole seconds */
		printf("%-26s %-23s %-13s %8" PRIu32 "  %s%s%s\n", point->id,
			   omb_time_format(point->time / 1000000 * 1000000, time),
			   omb_lsn_format(point->lsn, lsn), point->timeline, point->name,
			   point->detail[0] != '\0' ? "  " : "", point->detail);
	}
	s->count++;
}

omb_status
omb_list_marks(omb_repository *repo, bool as_json, omb_error *err)
{
	uint64_t unreadable = 0;
	state s;

	begin(&s, as_json);
	(void) omb_point_list(repo, show_point, &s, &unreadable, err);
	end(&s, "The repository has no mark.");
	if (err->status == OMB_OK && unreadable > 0)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "%" PRIu64 " marks cannot be read", unreadable);
	return err->status;
}

static omb_status
show_watermark(const omb_watermark *mark, void *arg, omb_error *err)
{
	state *s = arg;
	bool is_secret = omb_watermark_is_secret(mark);
	char time[OMB_TIME_TEXT];
	char lsn[OMB_LSN_TEXT];

	if (s->as_json)
	{
		omb_json_open(&s->json, NULL, '{');
		omb_json_text(&s->json, "name", mark->name);
		put_place(&s->json, mark->time, mark->lsn, mark->timeline);
		omb_json_raw(&s->json, "value", is_secret ? "null" : mark->value);
		omb_json_close(&s->json, '}');
	}
	else
	{
		if (s->count == 0)
			printf("%-20s %-23s %-13s %8s  %s\n", "name", "time", "LSN",
				   "timeline", "value");
		printf("%-20s %-23s %-13s %8" PRIu32 "  %.*s\n", mark->name,
			   omb_time_format(mark->time / 1000000 * 1000000, time),
			   omb_lsn_format(mark->lsn, lsn), mark->timeline, VALUE_SHOWN,
			   is_secret ? "(not shown)" : mark->value);
	}
	s->count++;
	return OMB_OK;
}

omb_status
omb_list_watermarks(omb_repository *repo, bool as_json, omb_error *err)
{
	state s;

	begin(&s, as_json);
	(void) omb_watermark_list(repo, NULL, 0, INT64_MAX, show_watermark, &s,
							  err);
	end(&s, "The repository has no watermark.");
	return err->status;
}
