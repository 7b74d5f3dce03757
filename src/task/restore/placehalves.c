/*
 * placehalves.c: placing a backup from two sides at once.
 *
 * What compresses well is bound by the disk, and what does not by the network.
 * Such files lie together (a table's segments do), so one after the other the
 * disk waits for the network and then the network for the disk. Two placers,
 * one from the beginning and one from the middle, mostly need different things.
 */
#include "task/restore/placehalves.h"

#include "task/restore/ahead.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Less is done before two sides could help. */
#define WORTH (UINT64_C(256) * 1024 * 1024)
/* A byte from the network takes the time of so many to the disk. */
#define NETWORK 3

/* What both halves share. */
typedef struct shared
{
	const omb_place_config *config;
	pthread_mutex_t lock;
	bool failed;
} shared;

typedef struct half
{
	shared *shared;
	omb_place_config config;
	omb_manifest *manifest;
	omb_place_result result;
	omb_error err;
	uint64_t bytes; /* progress */
	uint64_t files;
	const struct half *other;
} half;

/* ---- where the middle is ---- */

/* The time that an entry takes, in bytes to the disk. */
static uint64_t
cost(const omb_entry *entry)
{
	uint64_t bytes = 0;
	size_t i;

	if (entry->type != OMB_ENTRY_FILE || entry->root == OMB_ROOT_FILES)
		return 0;
	for (i = 0; i < entry->extent_count; i++)
		if (!entry->extent[i].is_zero)
			bytes += entry->extent[i].length +
					 NETWORK * (uint64_t) entry->extent[i].blob.stored;
	return bytes;
}

/*
 * Add up entries until the costs are more than limit, or all. *number is that
 * of the last one that was added.
 */
static omb_status
add_up(omb_repository *repo, const char *backup, uint64_t limit,
	   uint64_t *total, uint64_t *number, omb_error *err)
{
	omb_manifest *manifest;
	bool end = false;

	*total = *number = 0;
	if (omb_manifest_open(repo, backup, &manifest, err) != OMB_OK)
		return err->status;
	while (*total <= limit)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) != OMB_OK || end)
			break;
		*total += cost(&entry);
		++*number;
		omb_entry_clear(&entry);
	}
	omb_manifest_close(manifest);
	return err->status;
}

/* The number of the entry after which the second half begins; 0 for none. */
static omb_status
find_middle(omb_repository *repo, const char *backup, uint64_t *middle,
			omb_error *err)
{
	uint64_t total, ignored;

	if (add_up(repo, backup, UINT64_MAX - 1, &total, middle, err) != OMB_OK)
		return err->status;
	if (total < WORTH)
		*middle = 0;
	else
		(void) add_up(repo, backup, total / 2, &ignored, middle, err);
	return err->status;
}

/* ---- the callbacks of a half ---- */

static char *
locate(const omb_entry *entry, void *arg)
{
	const omb_place_config *config = ((half *) arg)->shared->config;

	return config->locate(entry, config->arg);
}

static bool
leave_out(const omb_entry *entry, void *arg)
{
	const omb_place_config *config = ((half *) arg)->shared->config;

	return config->leave_out != NULL && config->leave_out(entry, config->arg);
}

static omb_status
placed(const omb_entry *entry, void *arg, omb_error *err)
{
	shared *s = ((half *) arg)->shared;

	(void) pthread_mutex_lock(&s->lock);
	if (s->failed)
		(void) omb_error_set(err, OMB_CANCELLED, "the other half failed");
	else
		(void) s->config->placed(entry, s->config->arg, err);
	(void) pthread_mutex_unlock(&s->lock);
	return err->status;
}

static void
progress(uint64_t bytes, uint64_t files, void *arg)
{
	half *h = arg;
	shared *s = h->shared;

	(void) pthread_mutex_lock(&s->lock);
	h->bytes = bytes;
	h->files = files;
	s->config->progress(bytes + h->other->bytes, files + h->other->files,
						s->config->arg);
	(void) pthread_mutex_unlock(&s->lock);
}

/* ---- placing ---- */

static void *
run_half(void *arg)
{
	half *h = arg;

	if (omb_place_files(&h->config, h->manifest, &h->result, &h->err) !=
		OMB_OK)
	{
		(void) pthread_mutex_lock(&h->shared->lock);
		h->shared->failed = true;
		(void) pthread_mutex_unlock(&h->shared->lock);
	}
	return NULL;
}

static omb_status
place_both(half *h, omb_place_result *result, omb_error *err)
{
	pthread_t thread;
	bool started = pthread_create(&thread, NULL, run_half, &h[0]) == 0;

	if (!started)
		(void) run_half(&h[0]);
	(void) run_half(&h[1]);
	if (started)
		(void) pthread_join(thread, NULL);
	/* one was stopped because the other had failed */
	*err = h[0].err.status != OMB_OK && h[0].err.status != OMB_CANCELLED ?
			   h[0].err :
		   h[1].err.status != OMB_OK ? h[1].err :
									   h[0].err;
	result->files_same = h[0].result.files_same + h[1].result.files_same;
	result->bytes_written =
		h[0].result.bytes_written + h[1].result.bytes_written;
	return err->status;
}

/* Directories and links first: both halves need them. */
static omb_status
place_folders(const omb_place_config *config, const char *backup,
			  omb_error *err)
{
	omb_place_config folders = *config;
	omb_place_result ignored;
	omb_manifest *manifest;

	if (omb_manifest_open(config->repo, backup, &manifest, err) != OMB_OK)
		return err->status;
	folders.selection = OMB_PLACE_NO_FILES;
	folders.later = NULL;
	folders.jobs = 1;
	(void) omb_place_files(&folders, manifest, &ignored, err);
	omb_manifest_close(manifest);
	return err->status;
}

omb_status
omb_place_halves(const omb_place_config *config, omb_manifest *manifest,
				 omb_place_result *result, omb_error *err)
{
	const char *backup = manifest->info.id;
	uint64_t middle = 0;
	shared s = { .config = config };
	half h[2];
	int i;

	if (!omb_store_is_far(config->repo->store) || config->jobs < 2 ||
		(find_middle(config->repo, backup, &middle, err) == OMB_OK &&
		 middle == 0))
		return omb_place_files(config, manifest, result, err);
	memset(result, 0, sizeof(*result));
	memset(h, 0, sizeof(h));
	if (err->status != OMB_OK ||
		place_folders(config, backup, err) != OMB_OK ||
		omb_manifest_open(config->repo, backup, &h[1].manifest, err) != OMB_OK)
		return err->status;
	(void) pthread_mutex_init(&s.lock, NULL);
	for (i = 0; i < 2; i++)
	{
		h[i].shared = &s;
		h[i].other = &h[1 - i];
		h[i].config = *config;
		h[i].config.selection = OMB_PLACE_SOME_FILES;
		h[i].config.first = i == 0 ? 0 : middle;
		h[i].config.end = i == 0 ? middle : UINT64_MAX;
		h[i].config.jobs = (config->jobs + i) / 2;
		h[i].config.locate = locate;
		h[i].config.leave_out = leave_out;
		h[i].config.placed = placed;
		h[i].config.progress = progress;
		h[i].config.arg = &h[i];
	}
	h[0].manifest = manifest;
	h[0].config.later = NULL;
	(void) place_both(h, result, err);
	omb_manifest_close(h[1].manifest);
	(void) pthread_mutex_destroy(&s.lock);
	return err->status;
}

/* ---- telling the store ---- */

static omb_status
next_file(omb_ahead_item *item, bool *end, void *arg, omb_error *err)
{
	item->manifest = arg;
	return omb_manifest_next(arg, &item->entry, end, err);
}

static bool
is_file(const omb_entry *entry, void *arg)
{
	return entry->type == OMB_ENTRY_FILE && entry->root != OMB_ROOT_FILES;
}

void
omb_place_halves_expect(omb_repository *repo, const char *backup)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_ahead_source source = { next_file, is_file, NULL };
	omb_manifest *manifest;
	omb_ahead *ahead;

	if (!omb_store_is_far(repo->store) ||
		omb_manifest_open(repo, backup, &manifest, &ignored) != OMB_OK)
		return;
	source.arg = manifest;
	ahead = omb_ahead_new(repo, &source);
	omb_ahead_tell(ahead);
	omb_ahead_free(ahead);
	omb_manifest_close(manifest);
}
