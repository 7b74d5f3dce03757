/*
 * cloudremove.c: removing objects from a cloud store.
 *
 * Many go in one request where the provider has one. What its answer does not
 * name as gone is removed on its own, which tries again where that helps and
 * finds out why it cannot be; several at once.
 */
#include "store/cloud/cloudremove.h"

#include "base/text.h"
#include "store/cloud/cloudhead.h"
#include "store/removeall.h"

#include <string.h>

/*
 * A right that is missing and a lock are both forbidden: only asking for the
 * lock tells them apart. Where that is forbidden, too, it is left at the right.
 */
static void
tell_locked(omb_cloud_client *client, const char *name, omb_error *err)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_object_lock lock;
	char time[OMB_TIME_TEXT];

	if (client->provider->object_lock == NULL ||
		client->provider->object_lock(client, name, &lock, &ignored) !=
			OMB_OK ||
		!lock.is_set || lock.until <= omb_cloud_client_now(client))
		return;
	omb_error_clear(err);
	(void) omb_error_set(err, OMB_REFUSED,
						 "object \"%s\" in \"%s\" is locked until %s", name,
						 client->location, omb_time_format(lock.until, time));
}

static omb_status
delete_object(omb_cloud_client *client, const char *name, omb_error *err)
{
	omb_cloud_call call = { .action = "remove object",
							.method = "DELETE",
							.name = name };
	omb_cloud_answer answer = { 0 };

	if (omb_cloud_do(client, &call, &answer, err) != OMB_OK &&
		answer.http.status == 404 &&
		strcmp(answer.error.code, client->provider->absent) == 0)
		omb_error_clear(err);
	else if (answer.http.status == 403)
		tell_locked(client, name, err);
	omb_cloud_answer_free(&answer);
	return err->status;
}

/*
 * Some answer DELETE alike whether there was anything or not, and others do
 * not know it any more when the first answer was lost.
 */
omb_status
omb_cloud_remove(omb_cloud_client *client, const char *name, omb_error *err)
{
	omb_cloud_found found;

	if (omb_cloud_head(client, name, &found, err) != OMB_OK)
		return err->status;
	return delete_object(client, name, err);
}

static bool
knows_batches(omb_cloud_client *client)
{
	bool knows;

	(void) pthread_mutex_lock(&client->lock);
	knows = client->provider->remove_batch != NULL && !client->no_batches;
	(void) pthread_mutex_unlock(&client->lock);
	return knows;
}

static omb_status
remove_one(void *client, const char *name, omb_error *err)
{
	return delete_object(client, name, err);
}

/* What a batch has left, and where it is among all names. */
typedef struct rest
{
	const char *name[OMB_CLOUD_BATCH];
	size_t place[OMB_CLOUD_BATCH];
	size_t count;
	omb_store_removed removed;
	void *arg;
} rest;

static void
tell_rest(size_t i, const omb_error *refused, void *arg)
{
	const rest *r = arg;

	r->removed(r->place[i], refused, r->arg);
}

static omb_status
remove_batch(omb_cloud_client *client, const char *const *name, size_t first,
			 size_t count, omb_store_removed removed, void *arg,
			 omb_error *err)
{
	bool gone[OMB_CLOUD_BATCH];
	rest r = { .removed = removed, .arg = arg };
	size_t i;

	memset(gone, 0, sizeof(gone));
	if (knows_batches(client) &&
		client->provider->remove_batch(client, name + first, count, gone,
									   err) == OMB_UNSUPPORTED)
	{
		(void) pthread_mutex_lock(&client->lock);
		client->no_batches = true;
		(void) pthread_mutex_unlock(&client->lock);
		omb_error_clear(err);
	}
	if (err->status != OMB_OK)
		return err->status;
	for (i = first; i < first + count; i++)
	{
		if (gone[i - first])
			removed(i, NULL, arg);
		else
		{
			r.name[r.count] = name[i];
			r.place[r.count++] = i;
		}
	}
	return omb_remove_all(client, remove_one, OMB_REMOVE_THREADS, r.name,
						  r.count, tell_rest, &r, err);
}

omb_status
omb_cloud_remove_many(omb_cloud_client *client, const char *const *name,
					  size_t count, omb_store_removed removed, void *arg,
					  omb_error *err)
{
	size_t first;

	for (first = 0; first < count && err->status == OMB_OK;
		 first += OMB_CLOUD_BATCH)
	{
		size_t part =
			count - first < OMB_CLOUD_BATCH ? count - first : OMB_CLOUD_BATCH;

		(void) remove_batch(client, name, first, part, removed, arg, err);
	}
	return err->status;
}
