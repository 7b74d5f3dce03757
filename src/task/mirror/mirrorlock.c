/*
 * mirrorlock.c: keeping what a target holds locked.
 *
 * Of each object its lock is asked for, and set anew where it has to be: what
 * somebody has locked for longer stays so, and no request ever asks for less.
 * Objects are done in the order of their names, so that the name of the last
 * one says how far it got.
 *
 * The file is one of named values (base/fields.h): began, when the look that is
 * under way began, or 0; after, the name that is done; last, when the last look
 * that came to its end had begun. What cannot be read is none: all is looked at.
 */
#include "task/mirror/mirrorlock.h"

#include "base/fields.h"
#include "base/file.h"
#include "base/pipeline.h"
#include "base/text.h"
#include "task/mirror/mirrorcopy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAMES 20000
#define FILE_MAX 4096
/* Two small requests, as the limit of a target counts. */
#define REQUEST_BYTES 2000

typedef struct unit
{
	const char *name;
	bool extended;
	omb_error err;
} unit;

struct omb_mirror_locker
{
	omb_mirror_lock_config config;
	omb_lock_rule rule;
	char *path;
	omb_pipeline *pipe;
	int64_t began;
	char *after;
	int64_t last;
	char **name; /* to be done next */
	size_t count;
	size_t done;
	bool more; /* there are names behind these */
};

static int64_t
server_now(omb_store *store)
{
	int64_t offset;

	(void) omb_store_clock(store, &offset);
	return omb_time_now() + offset;
}

/* ---- how far it got ---- */

static void
set_after(omb_mirror_locker *l, const char *name)
{
	char *copy = omb_strdup(name);

	free(l->after);
	l->after = copy;
}

static void
load(omb_mirror_locker *l)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;
	omb_fields fields;
	const char *after;
	char *text;

	if (l->path != NULL &&
		omb_file_read(l->path, FILE_MAX, &content, &ignored) == OMB_OK)
	{
		text = omb_strdup(omb_buf_text(&content));
		if (omb_fields_parse_text(text, strlen(text), &fields) &&
			omb_fields_get_i64(&fields, "began", &l->began) &&
			omb_fields_get_i64(&fields, "last", &l->last) &&
			(after = omb_fields_get(&fields, "after")) != NULL)
			set_after(l, after);
		else
			l->began = l->last = 0;
		free(text);
	}
	omb_buf_free(&content);
}

/* Without the file all is looked at again, and that is all. */
static void
save(omb_mirror_locker *l)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;
	char *after;

	if (l->path == NULL)
		return;
	after = omb_malloc(omb_fields_escaped_size(l->after) + 1);
	(void) omb_fields_escape(l->after, after);
	omb_buf_printf(&content, "began=%" PRIi64 "\nafter=%s\nlast=%" PRIi64 "\n",
				   l->began, after, l->last);
	(void) omb_file_replace(l->path, content.data, content.len, 0600,
							&ignored);
	free(after);
	omb_buf_free(&content);
}

/* ---- one object ---- */

static void
work(void *item, int worker, void *arg)
{
	omb_mirror_locker *l = arg;
	omb_store *store = l->config.to;
	unit *u = item;
	omb_object_lock lock, next;

	u->extended = false;
	if (omb_store_object_lock(store, u->name, &lock, &u->err) == OMB_OK &&
		omb_lock_rule_extend(&l->rule, server_now(store), &lock, &next) &&
		omb_store_set_object_lock(store, u->name, &next, &u->err) == OMB_OK)
		u->extended = true;
	/* it was removed meanwhile */
	if (u->err.status == OMB_NOT_FOUND)
		omb_error_clear(&u->err);
}

/* ---- names ---- */

static void
forget_names(omb_mirror_locker *l)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		free(l->name[i]);
	l->count = l->done = 0;
}

static omb_status
add_name(const omb_store_entry *entry, void *arg, omb_error *err)
{
	omb_mirror_locker *l = arg;

	if (!omb_mirror_is_object(entry->name) ||
		!omb_lock_rule_covers(&l->rule, entry->name) ||
		strcmp(entry->name, l->after) <= 0)
		return OMB_OK;
	if (l->count == l->config.names)
	{
		l->more = true;
		return omb_error_set(err, OMB_CANCELLED, "enough names");
	}
	l->name[l->count++] = omb_strdup(entry->name);
	return OMB_OK;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static omb_status
fetch_names(omb_mirror_locker *l, omb_error *err)
{
	forget_names(l);
	l->more = false;
	if (omb_store_list(l->config.to, "", true, add_name, l, err) != OMB_OK &&
		l->more)
		omb_error_clear(err);
	if (err->status != OMB_OK)
	{
		/* which names were not told is not known */
		forget_names(l);
		l->more = true;
	}
	if (l->count > 1)
		qsort(l->name, l->count, sizeof(*l->name), compare_names);
	return err->status;
}

/* ---- steps ---- */

static bool
is_over(const struct timespec *begin, uint64_t seconds)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return seconds > 0 && now.tv_sec - begin->tv_sec >= (time_t) seconds;
}

/* Take the oldest result. Those behind a failure are done again. */
static void
take(omb_mirror_locker *l, omb_mirror_lock_result *result, omb_error *err)
{
	unit *u = omb_pipeline_next(l->pipe, true);

	if (err->status == OMB_OK && u->err.status == OMB_OK)
	{
		result->looked_at++;
		result->extended += u->extended;
		set_after(l, u->name);
		l->done++;
	}
	else if (err->status == OMB_OK)
		*err = u->err;
	omb_error_clear(&u->err);
	omb_pipeline_release(l->pipe);
}

/* Do names until all are done, or the time is over: then false. */
static bool
do_names(omb_mirror_locker *l, const struct timespec *begin, uint64_t seconds,
		 omb_mirror_lock_result *result, omb_error *err)
{
	size_t next = l->done;
	bool over = false;

	while (err->status == OMB_OK && next < l->count && !over)
	{
		unit *u = omb_pipeline_slot(l->pipe, false);

		if (u == NULL)
		{
			take(l, result, err);
			continue;
		}
		if (l->config.throttle != NULL)
			omb_throttle_wait(l->config.throttle, REQUEST_BYTES);
		u->name = l->name[next++];
		omb_pipeline_submit(l->pipe);
		/* each step does something, however little time it has */
		over = is_over(begin, seconds);
	}
	while (omb_pipeline_busy(l->pipe))
		take(l, result, err);
	return err->status == OMB_OK && l->done == l->count;
}

omb_status
omb_mirror_locker_step(omb_mirror_locker *l, uint64_t seconds,
					   omb_mirror_lock_result *result, omb_error *err)
{
	struct timespec begin;

	memset(result, 0, sizeof(*result));
	(void) clock_gettime(CLOCK_MONOTONIC, &begin);
	if (l->began == 0)
	{
		int64_t now = server_now(l->config.to);

		result->is_done = !omb_lock_rule_is_due(&l->rule, l->last, now);
		if (result->is_done)
			return OMB_OK;
		l->began = now;
		set_after(l, "");
		forget_names(l);
		l->more = true;
	}
	while (!result->is_done)
	{
		if (l->done == l->count && l->more && fetch_names(l, err) != OMB_OK)
			break;
		if (!do_names(l, &begin, seconds, result, err))
			break;
		result->is_done = !l->more;
	}
	if (result->is_done)
	{
		l->last = l->began;
		l->began = 0;
		set_after(l, "");
		forget_names(l);
	}
	save(l);
	return err->status;
}

omb_mirror_locker *
omb_mirror_locker_new(const omb_mirror_lock_config *config)
{
	omb_mirror_locker *l;
	omb_lock_rule rule;

	if (!omb_store_lock_rule(config->to, &rule) || rule.days == 0)
		return NULL;
	l = omb_calloc(1, sizeof(*l));
	l->config = *config;
	l->rule = rule;
	if (l->config.names == 0)
		l->config.names = NAMES;
	if (config->path != NULL)
		l->path = omb_strdup(config->path);
	l->name = omb_calloc(l->config.names, sizeof(*l->name));
	l->more = true;
	set_after(l, "");
	load(l);

	l->pipe = omb_pipeline_new(config->jobs, 2 * (size_t) config->jobs,
							   sizeof(unit), work, l);
	return l;
}

void
omb_mirror_locker_free(omb_mirror_locker *l)
{
	if (l == NULL)
		return;
	omb_pipeline_free(l->pipe);
	forget_names(l);
	free(l->name);
	free(l->after);
	free(l->path);
	free(l);
}
