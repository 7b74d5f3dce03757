/*
 * mirrorsend.c: sending objects to a target, several at once.
 */
#include "task/mirror/mirrorsend.h"

#include "base/pipeline.h"
#include "repo/revision.h"
#include "task/mirror/mirrorcopy.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* No manifest is rewritten that often. */
#define REVISIONS_MAX 10000

typedef struct unit
{
	omb_mirror_item *item;
	omb_mirror_copied copied;
	omb_error err;
} unit;

struct omb_mirror_sender
{
	const omb_mirror_config *config;
	omb_mirror_route route;
	uint8_t **piece; /* of each worker */
	omb_pipeline *pipe;
	omb_mirror_set *known;	 /* at the target */
	omb_mirror_set *failed;	 /* names */
	omb_mirror_set *counted; /* names */
	bool counting;
	bool again;
	struct timespec round;
	uint64_t round_objects; /* sent when the round began */
	unsigned in_a_row;		/* failures */
	omb_error stop;
	omb_error first;
	omb_mirror_result result;
	uint64_t total; /* bytes, for showing progress */
	uint64_t counted_objects;
	uint64_t flying; /* bytes of what is with the workers */
};

omb_mirror_item *
omb_mirror_items_add(omb_mirror_items *items, const char *name, uint64_t size)
{
	omb_mirror_item *item;

	if (items->count == items->cap)
	{
		items->cap = items->cap ? 2 * items->cap : 64;
		items->item =
			omb_realloc(items->item, items->cap * sizeof(*items->item));
	}
	item = &items->item[items->count++];
	memset(item, 0, sizeof(*item));
	item->name = omb_strdup(name);
	item->size = size;
	return item;
}

void
omb_mirror_items_clear(omb_mirror_items *items)
{
	size_t i;

	for (i = 0; i < items->count; i++)
		free(items->item[i].name);
	free(items->item);
	memset(items, 0, sizeof(*items));
}

static void
work(void *data, int worker, void *arg)
{
	omb_mirror_sender *sender = arg;
	unit *u = data;

	(void) omb_mirror_copy(&sender->route, u->item->name,
						   sender->piece[worker], &u->copied, &u->err);
}

omb_mirror_sender *
omb_mirror_sender_new(const omb_mirror_config *config,
					  const uint8_t repository_id[OMB_REPOSITORY_ID_SIZE])
{
	omb_mirror_sender *sender = omb_calloc(1, sizeof(*sender));
	int i;

	sender->config = config;
	sender->route.from = config->from;
	sender->route.to = config->to;
	memcpy(sender->route.repository_id, repository_id, OMB_REPOSITORY_ID_SIZE);
	sender->route.throttle =
		config->throttle ? config->throttle : omb_throttle_new(config->limit);
	sender->known = omb_mirror_set_new();
	sender->failed = omb_mirror_set_new();
	sender->counted = omb_mirror_set_new();
	sender->piece = omb_calloc((size_t) config->jobs, sizeof(*sender->piece));
	for (i = 0; i < config->jobs; i++)
		sender->piece[i] = omb_malloc(OMB_MIRROR_PIECE);
	sender->pipe = omb_pipeline_new(config->jobs, 2 * (size_t) config->jobs,
									sizeof(unit), work, sender);
	return sender;
}

void
omb_mirror_sender_free(omb_mirror_sender *sender)
{
	int i;

	if (sender == NULL)
		return;
	omb_pipeline_free(sender->pipe);
	for (i = 0; i < sender->config->jobs; i++)
		free(sender->piece[i]);
	free(sender->piece);
	if (sender->config->throttle == NULL)
		omb_throttle_free(sender->route.throttle);
	omb_mirror_set_free(sender->known);
	omb_mirror_set_free(sender->failed);
	omb_mirror_set_free(sender->counted);
	free(sender);
}

omb_mirror_set *
omb_mirror_sender_known(omb_mirror_sender *sender)
{
	return sender->known;
}

void
omb_mirror_sender_note(omb_mirror_sender *sender, const char *name,
					   uint64_t size)
{
	omb_revision revision;
	uint32_t number;

	omb_mirror_set_add(sender->known, name, size);
	if (!omb_revision_parse(name, &revision) ||
		revision.number > REVISIONS_MAX)
		return;
	for (number = 1; number < revision.number; number++)
	{
		char *lower = omb_revision_name(revision.id, number);

		omb_mirror_set_add(sender->known, lower, 0);
		free(lower);
	}
}

void
omb_mirror_sender_forget_count(omb_mirror_sender *sender)
{
	omb_mirror_set_clear(sender->counted);
	sender->result.missing = 0;
	sender->result.bytes_missing = 0;
	sender->result.backups_missing = 0;
}

/* Sent while nobody had counted it is not missing less. */
static void
tell_waiting(omb_mirror_sender *sender)
{
	uint64_t sent = sender->result.objects, bytes = sender->result.bytes;
	uint64_t objects = sender->counted_objects;

	if (sender->config->waiting != NULL)
		sender->config->waiting(objects > sent ? objects - sent : 0,
								sender->total > bytes ? sender->total - bytes :
														0,
								sender->config->arg);
}

void
omb_mirror_sender_count(omb_mirror_sender *sender, bool counting)
{
	sender->counting = counting;
	if (counting)
		omb_mirror_sender_forget_count(sender);
	else
	{
		sender->total = sender->result.bytes + sender->result.bytes_missing;
		sender->counted_objects =
			sender->result.objects + sender->result.missing;
		tell_waiting(sender);
	}
}

bool
omb_mirror_sender_counting(const omb_mirror_sender *sender)
{
	return sender->counting;
}

void
omb_mirror_sender_begin_run(omb_mirror_sender *sender)
{
	omb_mirror_set_clear(sender->failed);
	omb_mirror_set_clear(sender->counted);
	omb_error_clear(&sender->stop);
	omb_error_clear(&sender->first);
	memset(&sender->result, 0, sizeof(sender->result));
	sender->total = 0;
	sender->counted_objects = 0;
	sender->in_a_row = 0;
	sender->again = false;
}

void
omb_mirror_sender_begin_round(omb_mirror_sender *sender)
{
	(void) clock_gettime(CLOCK_MONOTONIC, &sender->round);
	sender->round_objects = sender->result.objects;
	sender->again = false;
}

/* Each round sends something, however little time it has. */
static bool
round_is_over(const omb_mirror_sender *sender)
{
	struct timespec now;

	if (sender->result.objects == sender->round_objects)
		return false;
	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - sender->round.tv_sec >=
		   (time_t) sender->config->round_seconds;
}

static bool
is_manifest(const char *name)
{
	omb_revision revision;

	return omb_revision_parse(name, &revision);
}

static void
count_item(omb_mirror_sender *sender, const omb_mirror_item *item)
{
	if (omb_mirror_set_has(sender->counted, item->name))
		return;
	omb_mirror_set_add(sender->counted, item->name, 0);
	sender->result.missing++;
	sender->result.bytes_missing += item->size;
	if (is_manifest(item->name))
		sender->result.backups_missing++;
}

void
omb_mirror_sender_fail(omb_mirror_sender *sender, const char *name,
					   const omb_error *problem, bool damaged)
{
	if (sender->counting || omb_mirror_set_has(sender->failed, name))
		return;
	omb_mirror_set_add(sender->failed, name, 0);
	sender->result.failed++;
	if (damaged)
		sender->result.damaged++;
	if (sender->first.status == OMB_OK)
		sender->first = *problem;
	sender->config->problem(name, problem, sender->config->arg);
}

/* A unit has come back from the workers. */
static void
finish(omb_mirror_sender *sender, const char *step, unit *u)
{
	omb_mirror_item *item = u->item;

	sender->flying -= item->size;
	if (u->err.status == OMB_OK)
	{
		item->state = OMB_MIRROR_THERE;
		omb_mirror_sender_note(sender, item->name, u->copied.size);
		sender->in_a_row = 0;
		if (!u->copied.was_there)
		{
			sender->result.objects++;
			sender->result.bytes += u->copied.size;
			if (is_manifest(item->name))
				sender->result.backups++;
		}
	}
	else if (u->copied.vanished)
	{
		item->state = OMB_MIRROR_GONE;
		sender->again = true;
	}
	else
	{
		item->state = OMB_MIRROR_FAILED;
		omb_mirror_sender_fail(sender, item->name, &u->err,
							   u->copied.bad_source);
		/* damage says nothing about the next object */
		if (u->err.status != OMB_DAMAGED)
			sender->in_a_row++;
		if (u->err.status == OMB_NO_SPACE ||
			sender->in_a_row >= sender->config->max_failures)
			sender->stop = u->err;
	}
	memset(&u->copied, 0, sizeof(u->copied));
	omb_error_clear(&u->err);
	sender->config->progress(step, sender->result.bytes, sender->total,
							 sender->config->arg);
	tell_waiting(sender);
}

/* Take one result; false when there is none, or none yet. */
static bool
take(omb_mirror_sender *sender, const char *step, bool wait)
{
	unit *u = omb_pipeline_next(sender->pipe, wait);

	if (u == NULL)
		return false;
	finish(sender, step, u);
	omb_pipeline_release(sender->pipe);
	return true;
}

/* Whether an item is to be sent now; else it gets its state. */
static bool
is_wanted(omb_mirror_sender *sender, omb_mirror_item *item)
{
	if (item->state != OMB_MIRROR_WAITING)
		return false;
	if (omb_mirror_set_has(sender->known, item->name))
		item->state = OMB_MIRROR_THERE;
	else if (sender->counting)
	{
		count_item(sender, item);
		item->state = OMB_MIRROR_THERE;
	}
	else if (omb_mirror_set_has(sender->failed, item->name))
		item->state = OMB_MIRROR_FAILED;
	return item->state == OMB_MIRROR_WAITING;
}

/*
 * New WAL has to wait for what is under way. When that takes more than a round
 * by the limit, several at once would only make it wait longer.
 */
static bool
is_enough(const omb_mirror_sender *sender, const omb_mirror_item *item)
{
	uint64_t rate = omb_throttle_rate(sender->route.throttle);

	return rate != 0 && sender->flying > 0 &&
		   (sender->flying + item->size) / rate >
			   sender->config->round_seconds;
}

void
omb_mirror_send(omb_mirror_sender *sender, const char *step,
				omb_mirror_item *const *item, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
	{
		unit *u;

		if (!is_wanted(sender, item[i]))
			continue;
		while ((u = omb_pipeline_slot(sender->pipe, false)) == NULL ||
			   is_enough(sender, item[i]))
			(void) take(sender, step, true);
		if (sender->stop.status != OMB_OK)
			break;
		if (round_is_over(sender))
		{
			sender->again = true;
			break;
		}
		u->item = item[i];
		sender->flying += item[i]->size;
		omb_pipeline_submit(sender->pipe);
		while (take(sender, step, false))
			;
	}
	while (omb_pipeline_busy(sender->pipe))
		(void) take(sender, step, true);
}

void
omb_mirror_send_all(omb_mirror_sender *sender, const char *step,
					omb_mirror_items *items)
{
	omb_mirror_item **item = omb_calloc(items->count + 1, sizeof(*item));
	size_t i;

	for (i = 0; i < items->count; i++)
		item[i] = &items->item[i];
	omb_mirror_send(sender, step, item, items->count);
	free(item);
}

bool
omb_mirror_sender_again(const omb_mirror_sender *sender)
{
	return sender->again && sender->stop.status == OMB_OK;
}

void
omb_mirror_sender_set_again(omb_mirror_sender *sender)
{
	sender->again = true;
}

const omb_error *
omb_mirror_sender_stopped(const omb_mirror_sender *sender)
{
	return sender->stop.status != OMB_OK ? &sender->stop : NULL;
}

const omb_error *
omb_mirror_sender_problem(const omb_mirror_sender *sender)
{
	return sender->first.status != OMB_OK ? &sender->first : NULL;
}

void
omb_mirror_sender_result(const omb_mirror_sender *sender,
						 omb_mirror_result *result)
{
	*result = sender->result;
	result->there = omb_mirror_set_count(sender->known);
}
