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
#include <stdio.h>
#include <string.h>

/* Less is done before two sides could help. */
#define WORTH (UINT64_C(16) * 1024 * 1024)
/* A byte from the network takes the time of so many to the disk. */
#define NETWORK 3
/* What is told of a side before anything is placed, and how much at a time. */
#define FIRST (UINT64_C(48) * 1024 * 1024)
#define FIRST_STEP (UINT64_C(8) * 1024 * 1024)

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
	struct half *other;
	bool ended;
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

/* Append for each entry what it and all before it cost. */
static omb_status
add_up(omb_repository *repo, const char *backup, omb_buf *sums, omb_error *err)
{
	omb_manifest *manifest;
	uint64_t sum = 0;
	bool end = false;

	if (omb_manifest_open(repo, backup, &manifest, err) != OMB_OK)
		return err->status;
	for (;;)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) != OMB_OK || end)
			break;
		sum += cost(&entry);
		omb_entry_clear(&entry);
		omb_buf_put(sums, &sum, sizeof(sum));
	}
	omb_manifest_close(manifest);
	return err->status;
}

/*
 * How many entries the first half has: it ends at that end of a file which is
 * nearest to the middle. 0 when that would be no half.
 */
static uint64_t
divide(const uint64_t *sum, size_t count)
{
	uint64_t total = count > 0 ? sum[count - 1] : 0;
	uint64_t middle = total / 2;
	size_t last = 0;

	if (total < WORTH)
		return 0;
	while (sum[last] < middle)
		last++;
	if (last > 0 && middle - sum[last - 1] <= sum[last] - middle)
		last--;
	return sum[last] == 0 || sum[last] == total ? 0 : last + 1;
}

/* Find the middle of a backup, unless that is what is known. */
static omb_status
find_middle(omb_repository *repo, const char *backup, int jobs,
			omb_place_middle *middle, omb_error *err)
{
	omb_buf sums = OMB_BUF_INIT;

	if (strcmp(middle->backup, backup) == 0)
		return OMB_OK;
	middle->number = 0;
	if (omb_store_is_far(repo->store) && jobs > 1 &&
		add_up(repo, backup, &sums, err) == OMB_OK)
		middle->number =
			divide((const void *) sums.data, sums.len / sizeof(uint64_t));
	omb_buf_free(&sums);
	if (err->status == OMB_OK)
		(void) snprintf(middle->backup, sizeof(middle->backup), "%s", backup);
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

/* Who still works has the threads of who has ended too. */
static int
jobs_now(void *arg)
{
	half *h = arg;
	int jobs = h->config.jobs;

	(void) pthread_mutex_lock(&h->shared->lock);
	if (h->other->ended)
		jobs += h->other->config.jobs;
	(void) pthread_mutex_unlock(&h->shared->lock);
	return jobs;
}

/* ---- placing ---- */

static void *
run_half(void *arg)
{
	half *h = arg;

	(void) omb_place_files(&h->config, h->manifest, &h->result, &h->err);
	(void) pthread_mutex_lock(&h->shared->lock);
	h->ended = true;
	if (h->err.status != OMB_OK)
		h->shared->failed = true;
	(void) pthread_mutex_unlock(&h->shared->lock);
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
				 omb_place_middle *middle, omb_place_result *result,
				 omb_error *err)
{
	const char *backup = manifest->info.id;
	shared s = { .config = config };
	half h[2];
	int i;

	memset(result, 0, sizeof(*result));
	memset(h, 0, sizeof(h));
	if (find_middle(config->repo, backup, config->jobs, middle, err) != OMB_OK)
		return err->status;
	if (middle->number == 0)
		return omb_place_files(config, manifest, result, err);
	if (place_folders(config, backup, err) != OMB_OK ||
		omb_manifest_open(config->repo, backup, &h[1].manifest, err) != OMB_OK)
		return err->status;
	(void) pthread_mutex_init(&s.lock, NULL);
	for (i = 0; i < 2; i++)
	{
		h[i].shared = &s;
		h[i].other = &h[1 - i];
		h[i].config = *config;
		h[i].config.selection = OMB_PLACE_SOME_FILES;
		h[i].config.first = i == 0 ? 0 : middle->number;
		h[i].config.end = i == 0 ? middle->number : UINT64_MAX;
		h[i].config.jobs = (config->jobs + i) / 2;
		h[i].config.jobs_now = jobs_now;
		h[i].config.jobs_most = config->jobs;
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

/* The files of a side, in a manifest of its own. */
typedef struct side
{
	omb_manifest *manifest;
	uint64_t number; /* of the entry that was read last, from 1 */
	uint64_t first;	 /* it begins behind that one */
	omb_ahead *ahead;
} side;

static omb_status
next_file(omb_ahead_item *item, bool *end, void *arg, omb_error *err)
{
	side *s = arg;

	item->manifest = s->manifest;
	while (omb_manifest_next(s->manifest, &item->entry, end, err) == OMB_OK &&
		   !*end && ++s->number <= s->first)
		omb_entry_clear(&item->entry);
	return err->status;
}

static bool
is_file(const omb_entry *entry, void *arg)
{
	return entry->type == OMB_ENTRY_FILE && entry->root != OMB_ROOT_FILES;
}

/* Tell what comes first on each of some sides, a bit of each in turn. */
static void
tell_sides(omb_repository *repo, const char *backup, side *s, int count,
		   omb_error *err)
{
	omb_ahead_source source = { next_file, is_file, NULL };
	uint64_t bytes;
	int i;

	for (i = 0; i < count && err->status == OMB_OK; i++)
	{
		source.arg = &s[i];
		if (omb_manifest_open(repo, backup, &s[i].manifest, err) == OMB_OK)
			s[i].ahead = omb_ahead_new(repo, &source);
	}
	for (bytes = FIRST_STEP; bytes <= FIRST && err->status == OMB_OK;
		 bytes += FIRST_STEP)
	{
		for (i = 0; i < count; i++)
			omb_ahead_tell(s[i].ahead, bytes);
	}
	for (i = 0; i < count; i++)
	{
		if (s[i].ahead != NULL)
			omb_ahead_free(s[i].ahead);
		omb_manifest_close(s[i].manifest);
	}
}

void
omb_place_halves_expect(omb_repository *repo, const char *backup, int jobs,
						omb_place_middle *middle)
{
	omb_error ignored = OMB_ERROR_INIT;
	side s[2];

	memset(s, 0, sizeof(s));
	if (!omb_store_is_far(repo->store) ||
		find_middle(repo, backup, jobs, middle, &ignored) != OMB_OK)
		return;
	s[1].first = middle->number;
	tell_sides(repo, backup, s, middle->number > 0 ? 2 : 1, &ignored);
}
