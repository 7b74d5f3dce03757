/*
 * removal.c: removing many objects of a store.
 */
#include "task/retain/removal.h"

#include "base/buffer.h"

#include <stdlib.h>

/* As many as go into one request to a cloud. */
#define GATHERED 1000

struct omb_removal
{
	omb_store *store;
	omb_removal_done done;
	void *arg;
	size_t count;
	char *name[GATHERED];
	uint64_t size[GATHERED];
};

omb_removal *
omb_removal_new(omb_store *store, omb_removal_done done, void *arg)
{
	omb_removal *removal = omb_calloc(1, sizeof(*removal));

	removal->store = store;
	removal->done = done;
	removal->arg = arg;
	return removal;
}

static void
forget(omb_removal *removal)
{
	size_t i;

	for (i = 0; i < removal->count; i++)
		free(removal->name[i]);
	removal->count = 0;
}

void
omb_removal_free(omb_removal *removal)
{
	if (removal == NULL)
		return;
	forget(removal);
	free(removal);
}

static void
tell(size_t i, const omb_error *refused, void *arg)
{
	omb_removal *removal = arg;

	removal->done(removal->name[i], removal->size[i], refused, removal->arg);
}

omb_status
omb_removal_flush(omb_removal *removal, omb_error *err)
{
	if (removal->count > 0)
		(void) omb_store_remove_many(removal->store,
									 (const char *const *) removal->name,
									 removal->count, tell, removal, err);
	forget(removal);
	return err->status;
}

omb_status
omb_removal_add(omb_removal *removal, const char *name, uint64_t size,
				omb_error *err)
{
	removal->name[removal->count] = omb_strdup(name);
	removal->size[removal->count++] = size;
	return removal->count == GATHERED ? omb_removal_flush(removal, err) :
										OMB_OK;
}
