/*
 * watermark.c: values of a database that are worth knowing after it was lost.
 */
#include "repo/watermark.h"

#include "base/text.h"
#include "pgfmt/lsn.h"
#include "repo/backupinfo.h"
#include "repo/markobject.h"
#include "repo/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_MAX (4 * OMB_WATERMARK_VALUE_MAX)

#define MICROSECONDS INT64_C(1000000)
#define HOUR (3600 * MICROSECONDS)
#define DAY (24 * HOUR)

/* Values of journals have this in their names. */
#define JOURNAL "journal"
#define SECRET "secret"

static bool
is_name(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return len > 0 && len <= OMB_WATERMARK_NAME_MAX && text[len] == '\0';
}

bool
omb_watermark_take(const omb_fields *fields, omb_watermark *mark)
{
	const char *stamp = omb_fields_get(fields, "stamp");
	const char *lsn = omb_fields_get(fields, "lsn");

	memset(mark, 0, sizeof(*mark));
	mark->name = omb_fields_get(fields, "name");
	mark->value = omb_fields_get(fields, "value");
	mark->database = omb_fields_get(fields, "database");
	if (mark->database == NULL)
		mark->database = "";
	if (stamp == NULL || !omb_stamp_valid(stamp) || lsn == NULL ||
		mark->name == NULL || !is_name(mark->name) || mark->value == NULL ||
		strlen(mark->value) > OMB_WATERMARK_VALUE_MAX ||
		!omb_lsn_parse(lsn, &mark->lsn) ||
		!omb_fields_get_i64(fields, "time", &mark->time) ||
		!omb_fields_get_u32(fields, "timeline", &mark->timeline))
		return false;
	memcpy(mark->stamp, stamp, OMB_STAMP_TEXT);
	return true;
}

bool
omb_watermark_is_secret(const omb_watermark *mark)
{
	return strstr(mark->name, SECRET) != NULL;
}

omb_status
omb_watermark_put(omb_repository *repo, const omb_watermark *mark,
				  omb_error *err)
{
	char *name =
		omb_format(OMB_WATERMARK_FOLDER "/%s/%s", mark->name, mark->stamp);
	omb_buf content = OMB_BUF_INIT;
	char lsn[OMB_LSN_TEXT];

	omb_text_put(&content, "name", mark->name);
	omb_text_put(&content, "stamp", mark->stamp);
	omb_buf_printf(&content,
				   "time=%" PRId64 "\nlsn=%s\ntimeline=%" PRIu32 "\n",
				   mark->time, omb_lsn_format(mark->lsn, lsn), mark->timeline);
	omb_text_put(&content, "database", mark->database);
	omb_text_put(&content, "value", mark->value);
	(void) omb_mark_object_put(repo, name, &content, err);
	omb_buf_free(&content);
	free(name);
	return err->status;
}

/* ---- listing ---- */

typedef struct list_state
{
	omb_repository *repo;
	char from[OMB_STAMP_TEXT]; /* stamps outside need not be read */
	char to[OMB_STAMP_TEXT];
	int64_t from_time;
	int64_t to_time;
	omb_watermark_visit visit;
	void *arg;
} list_state;

static omb_status
visit_value(const omb_store_entry *entry, void *arg, omb_error *err)
{
	list_state *state = arg;
	const char *stamp = strrchr(entry->name, '/') + 1;
	omb_buf content = OMB_BUF_INIT;
	omb_mark_found found;
	omb_fields fields;
	omb_watermark mark;

	if (entry->is_folder || !omb_stamp_valid(stamp) ||
		strncmp(stamp, state->from, 16) < 0 ||
		(state->to[0] != '\0' && strncmp(stamp, state->to, 16) > 0))
		return OMB_OK;
	if (omb_mark_object_get(state->repo, entry->name, OBJECT_MAX, &content,
							&fields, &found, err) == OMB_OK &&
		found == OMB_MARK_FOUND && omb_watermark_take(&fields, &mark) &&
		strcmp(mark.stamp, stamp) == 0 && mark.time >= state->from_time &&
		mark.time < state->to_time)
		(void) state->visit(&mark, state->arg, err);
	omb_buf_free(&content);
	return err->status;
}

/* Stamps tell whole seconds; those of unusual years tell nothing. */
static void
stamp_of(int64_t time, char *out)
{
	out[0] = '\0';
	if (time >= 0 && time < INT64_C(200) * 365 * DAY)
		(void) omb_time_compact(time, out);
}

omb_status
omb_watermark_list(omb_repository *repo, const char *name, int64_t from,
				   int64_t to, omb_watermark_visit visit, void *arg,
				   omb_error *err)
{
	list_state state;
	char *folder;

	if (name != NULL && !is_name(name))
		return OMB_OK;
	memset(&state, 0, sizeof(state));
	state.repo = repo;
	state.from_time = from;
	state.to_time = to;
	state.visit = visit;
	state.arg = arg;
	stamp_of(from, state.from);
	stamp_of(to, state.to);
	folder = omb_format(OMB_WATERMARK_FOLDER "%s%s", name ? "/" : "",
						name ? name : "");
	(void) omb_store_list(repo->store, folder, true, visit_value, &state, err);
	free(folder);
	return err->status;
}

static omb_status
find_newest(const omb_store_entry *entry, void *arg, omb_error *err)
{
	char *newest = arg;
	const char *stamp = strrchr(entry->name, '/') + 1;

	if (!entry->is_folder && omb_stamp_valid(stamp) &&
		strcmp(stamp, newest) > 0)
		memcpy(newest, stamp, OMB_STAMP_TEXT);
	return OMB_OK;
}

omb_status
omb_watermark_database(omb_repository *repo, const char *name, char **database,
					   omb_error *err)
{
	char *folder = omb_format(OMB_WATERMARK_FOLDER "/%s", name);
	char newest[OMB_STAMP_TEXT] = "";
	omb_buf content = OMB_BUF_INIT;
	omb_fields fields;
	omb_watermark mark;
	char *object;

	*database = NULL;
	if (omb_store_list(repo->store, folder, false, find_newest, newest, err) ==
			OMB_OK &&
		newest[0] != '\0')
	{
		object = omb_format("%s/%s", folder, newest);
		if (omb_stream_get(repo, OMB_KIND_MARK, object, OBJECT_MAX, &content,
						   err) == OMB_OK &&
			omb_fields_parse_text(omb_buf_text(&content), content.len,
								  &fields) &&
			omb_watermark_take(&fields, &mark) && mark.database[0] != '\0')
			*database = omb_strdup(mark.database);
		free(object);
	}
	omb_buf_free(&content);
	free(folder);
	return err->status;
}

/* ---- thinning out ---- */

/*
 * Which of count values, taken at these times (ascending), are kept; the
 * verdict depends on nothing else.
 */
static void
thin(const int64_t *time, size_t count, bool is_journal, bool *keep)
{
	int64_t newest = count > 0 ? time[count - 1] : 0;
	size_t i;

	for (i = 0; i < count; i++)
	{
		int64_t age = newest - time[i];
		bool last = i + 1 == count;

		if (age <= DAY)
			keep[i] = true;
		else if (age <= 31 * DAY)
			keep[i] =
				is_journal || last || time[i] / HOUR != time[i + 1] / HOUR;
		else if (age <= 730 * DAY)
			keep[i] =
				!is_journal && (last || time[i] / DAY != time[i + 1] / DAY);
		else
			keep[i] = false;
	}
}

typedef struct thinning
{
	omb_repository *repo;
	bool remove;
	omb_watermark_tell tell;
	void *arg;
} thinning;

/* The values of one name. */
typedef struct series
{
	omb_buf names; /* full names, each with its terminator */
	int64_t *time;
	size_t count;
	size_t cap;
} series;

static omb_status
add_value(const omb_store_entry *entry, void *arg, omb_error *err)
{
	series *s = arg;
	const char *stamp = strrchr(entry->name, '/') + 1;
	char text[OMB_TIME_TEXT];

	if (entry->is_folder || !omb_stamp_valid(stamp))
		return OMB_OK;
	if (s->count == s->cap)
	{
		s->cap = s->cap ? 2 * s->cap : 1024;
		s->time = omb_realloc(s->time, s->cap * sizeof(*s->time));
	}
	(void) snprintf(text, sizeof(text), "%.4s-%.2s-%.2s %.2s:%.2s:%.2s+00",
					stamp, stamp + 4, stamp + 6, stamp + 9, stamp + 11,
					stamp + 13);
	/* one that makes no sense is taken for old */
	if (!omb_time_parse(text, &s->time[s->count]))
		s->time[s->count] = 0;
	s->count++;
	omb_buf_put(&s->names, entry->name, strlen(entry->name) + 1);
	return OMB_OK;
}

/* Tell how many go, and have them go. */
static omb_status
thin_values(const thinning *t, const char *folder, const series *s,
			omb_error *err)
{
	bool *keep = omb_calloc(s->count, sizeof(*keep));
	const char *name = (const char *) s->names.data;
	uint64_t kept = 0;
	size_t i;

	thin(s->time, s->count, strstr(folder, JOURNAL) != NULL, keep);
	for (i = 0; i < s->count && err->status == OMB_OK; i++)
	{
		if (keep[i])
			kept++;
		else if (t->remove &&
				 omb_store_remove(t->repo->store, name, err) == OMB_NOT_FOUND)
			omb_error_clear(err);
		name += strlen(name) + 1;
	}
	if (t->tell != NULL)
		t->tell(strrchr(folder, '/') + 1, kept, s->count - kept, t->arg);
	free(keep);
	return err->status;
}

static omb_status
thin_folder(const omb_store_entry *folder, void *arg, omb_error *err)
{
	const thinning *t = arg;
	series s;

	if (!folder->is_folder)
		return OMB_OK;
	memset(&s, 0, sizeof(s));
	if (omb_store_list(t->repo->store, folder->name, false, add_value, &s,
					   err) == OMB_OK &&
		s.count > 0)
		(void) thin_values(t, folder->name, &s, err);
	omb_buf_free(&s.names);
	free(s.time);
	return err->status;
}

omb_status
omb_watermark_expire(omb_repository *repo, bool remove,
					 omb_watermark_tell tell, void *arg, omb_error *err)
{
	thinning t = { repo, remove, tell, arg };

	return omb_store_list(repo->store, OMB_WATERMARK_FOLDER, false,
						  thin_folder, &t, err);
}
