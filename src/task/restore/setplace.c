/*
 * setplace.c: putting entries of file sets in place, by several threads.
 *
 * The calling thread makes directories, in order, and hands files and links to
 * workers: small ones in batches, large ones in pieces. Units come back in
 * order: so when one comes back that says so, all that is in a directory is in
 * place, and it gets its mode and time.
 *
 * A directory that the set's manifest lacks is never made: without it opening
 * fails. Whether a file is in the way of a directory is known from the entries
 * alone, for the file may still wait for a worker.
 */
#include "task/restore/setplace.h"

#include "base/file.h"
#include "base/pipeline.h"
#include "codec/crc32c.h"
#include "task/restore/setfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files in a unit at most, bytes of them, and directories to finish. */
#define BATCH_MAX 64
#define BATCH_BYTES (2 * 1024 * 1024)
/* A new file above this size is written in pieces of at most this. */
#define PIECE_BYTES (4 * 1024 * 1024)
#define PIECE_EXTENTS 256

/* A directory whose contents are being placed. */
typedef struct pending
{
	char *path; /* below the set's directory */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t mtime;
} pending;

typedef struct item
{
	omb_entry entry;
	const omb_manifest *manifest;
} item;

/* A file in pieces. The unit of the last piece owns it. */
typedef struct large_file
{
	item what;
	char *name;
	int parent_fd;
	int fd;
	uint32_t crc;
} large_file;

typedef struct unit
{
	item item[BATCH_MAX];
	int count;
	uint64_t bytes;
	pending finish[BATCH_MAX]; /* when all before is in place */
	int finish_count;

	large_file *large; /* a piece of it, extents first..end - 1 */
	size_t first;
	size_t end;
	uint64_t offset;
	uint64_t length;
	uint32_t crc;
	bool last;

	uint64_t bytes_written;
	uint64_t files_same;
	omb_error error;
} unit;

struct omb_set_place
{
	omb_set_place_config config;
	omb_set_place_result result;
	omb_pipeline *pipe;
	size_t depth;
	omb_set_hand *hand; /* of each worker, then ours */
	unit *batch;		/* being filled, or NULL */

	char *set;	/* at hand, or NULL */
	char *root; /* its directory */
	int root_fd;
	char *blocked;		/* path of the last file or link, or NULL */
	pending *directory; /* whose contents are being placed, outermost first */
	size_t depth_now;
	size_t depth_cap;
};

/* ---- workers ---- */

static void
process(void *arg, int worker, void *place_arg)
{
	omb_set_place *place = place_arg;
	omb_set_hand *hand = &place->hand[worker];
	unit *u = arg;
	int i;

	omb_error_clear(&u->error);
	hand->root = place->root;
	hand->root_fd = place->root_fd;
	if (u->large != NULL)
		(void) omb_set_write(hand, u->large->what.manifest,
							 &u->large->what.entry, u->first, u->end,
							 u->offset, u->large->fd, &u->crc, &u->error);
	for (i = 0; i < u->count && u->error.status == OMB_OK; i++)
	{
		const item *it = &u->item[i];

		if (it->entry.type == OMB_ENTRY_LINK)
			(void) omb_set_place_link(hand, &it->entry, &u->error);
		else
			(void) omb_set_place_file(hand, it->manifest, &it->entry,
									  &u->error);
	}
	/* it must not be open when the set is left */
	omb_set_hand_leave(hand);
	u->bytes_written = hand->bytes_written;
	u->files_same = hand->files_same;
	hand->bytes_written = hand->files_same = 0;
}

/* ---- collecting ---- */

static void
abandon(large_file *large)
{
	if (large == NULL)
		return;
	if (large->fd >= 0)
	{
		(void) close(large->fd);
		(void) unlinkat(large->parent_fd, large->name, 0);
	}
	(void) close(large->parent_fd);
	omb_entry_clear(&large->what.entry);
	free(large->name);
	free(large);
}

static void
clear_unit(unit *u)
{
	int i;

	for (i = 0; i < u->count; i++)
		omb_entry_clear(&u->item[i].entry);
	for (i = 0; i < u->finish_count; i++)
		free(u->finish[i].path);
	if (u->last)
		abandon(u->large);
	u->large = NULL;
	u->last = false;
	u->count = u->finish_count = 0;
	u->bytes = 0;
}

/* A piece of a file was written. */
static omb_status
collect_piece(omb_set_place *place, unit *u, omb_error *err)
{
	large_file *large = u->large;
	int fd = large->fd;

	large->crc = u->offset == 0 ?
					 u->crc :
					 omb_crc32c_combine(large->crc, u->crc, u->length);
	if (!u->last)
		return OMB_OK;
	large->fd = -1;
	if (omb_set_finish(&place->hand[place->config.jobs], &large->what.entry,
					   large->crc, fd, err) != OMB_OK)
		(void) unlinkat(large->parent_fd, large->name, 0);
	return err->status;
}

static void
finish_directory(omb_set_place *place, const pending *p, omb_error *err)
{
	omb_error later = OMB_ERROR_INIT;

	/* after a failure, too, nothing shall keep a mode that we gave it */
	(void) omb_set_finish_directory(&place->hand[place->config.jobs], p->path,
									p->mode, p->uid, p->gid, p->mtime, &later);
	if (err->status == OMB_OK)
		*err = later;
	else
		omb_error_clear(&later);
}

static omb_status
collect_unit(omb_set_place *place, unit *u, omb_error *err)
{
	int i;

	place->result.bytes_written += u->bytes_written;
	place->result.files_same += u->files_same;
	if (u->error.status != OMB_OK)
		*err = u->error;
	else if (u->large != NULL)
		(void) collect_piece(place, u, err);
	for (i = 0; i < u->finish_count; i++)
		finish_directory(place, &u->finish[i], err);
	return err->status;
}

static omb_status
collect(omb_set_place *place, bool wait, bool *collected, omb_error *err)
{
	unit *u = omb_pipeline_next(place->pipe, wait);

	*collected = u != NULL;
	if (u == NULL)
		return OMB_OK;
	(void) collect_unit(place, u, err);
	clear_unit(u);
	omb_pipeline_release(place->pipe);
	place->config.progress("restoring files", place->result.bytes_written,
						   place->config.arg);
	return err->status;
}

/* ---- units ---- */

static void
submit_batch(omb_set_place *place)
{
	if (place->batch != NULL)
		omb_pipeline_submit(place->pipe);
	place->batch = NULL;
}

static unit *
free_unit(omb_set_place *place, omb_error *err)
{
	bool collected = true;
	unit *u;

	while (collected)
	{
		if (collect(place, false, &collected, err) != OMB_OK)
			return NULL;
	}
	while ((u = omb_pipeline_slot(place->pipe, false)) == NULL)
	{
		if (collect(place, true, &collected, err) != OMB_OK)
			return NULL;
	}
	return u;
}

/* Have a batch with room. */
static omb_status
need_batch(omb_set_place *place, omb_error *err)
{
	const unit *u = place->batch;

	if (u != NULL && (u->count == BATCH_MAX || u->finish_count == BATCH_MAX ||
					  u->bytes >= BATCH_BYTES))
		submit_batch(place);
	if (place->batch == NULL)
		place->batch = free_unit(place, err);
	return err->status;
}

/* Wait until all that was submitted is in place. */
static omb_status
drain(omb_set_place *place, omb_error *err)
{
	bool collected;

	submit_batch(place);
	while (err->status == OMB_OK && omb_pipeline_busy(place->pipe))
		(void) collect(place, true, &collected, err);
	return err->status;
}

/* ---- directories ---- */

static bool
is_in(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	return len == 0 ||
		   (strncmp(path, directory, len) == 0 && path[len] == '/');
}

/* Have directories finished that the path is not in; NULL for all. */
static omb_status
leave_directories(omb_set_place *place, const char *path, omb_error *err)
{
	while (place->depth_now > 0)
	{
		const pending *p = &place->directory[place->depth_now - 1];

		if ((path != NULL && is_in(path, p->path)) ||
			need_batch(place, err) != OMB_OK)
			break;
		place->batch->finish[place->batch->finish_count++] = *p;
		place->depth_now--;
	}
	return err->status;
}

static void
forget_set(omb_set_place *place)
{
	omb_set_hand_leave(&place->hand[place->config.jobs]);
	while (place->depth_now > 0)
		free(place->directory[--place->depth_now].path);
	if (place->root_fd >= 0)
		(void) close(place->root_fd);
	place->root_fd = -1;
	free(place->set);
	free(place->root);
	place->set = place->root = NULL;
	free(place->blocked);
	place->blocked = NULL;
}

static omb_status
leave_set(omb_set_place *place, omb_error *err)
{
	if (place->set == NULL)
		return OMB_OK;
	if (leave_directories(place, NULL, err) == OMB_OK &&
		drain(place, err) == OMB_OK)
	{
		place->config.progress("syncing files to disk",
							   place->result.bytes_written, place->config.arg);
		if (syncfs(place->root_fd) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not sync directory \"%s\"", place->root);
	}
	if (err->status == OMB_OK)
		forget_set(place);
	return err->status;
}

/* Make the entry's set the one at hand. */
static omb_status
enter_set(omb_set_place *place, const omb_entry *entry, const char *root,
		  omb_error *err)
{
	omb_set_hand *ours = &place->hand[place->config.jobs];
	size_t len = strcspn(entry->path, "/");

	if (place->set != NULL && strlen(place->set) == len &&
		memcmp(place->set, entry->path, len) == 0)
		return OMB_OK;
	if (leave_set(place, err) != OMB_OK ||
		omb_directory_create(root, 0700, err) != OMB_OK)
		return err->status;
	place->set = omb_format("%.*s", (int) len, entry->path);
	place->root = omb_strdup(root);
	place->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (place->root_fd < 0)
		(void) omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", root);
	ours->root = place->root;
	ours->root_fd = place->root_fd;
	return err->status;
}

/* A directory that is there may forbid us to write, until all is in place. */
static omb_status
open_up(omb_set_place *place, const char *below, omb_error *err)
{
	omb_set_hand *ours = &place->hand[place->config.jobs];
	int fd = omb_open_below(place->root_fd, below, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return omb_set_no_directory(ours, below, err);
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0 &&
		fchmod(fd, 0700) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not set the mode of directory \"%s/%s\"",
			place->root, below);
	else if (place->config.delta)
		omb_set_remove_temporary(fd, place->config.jobs);
	(void) close(fd);
	return err->status;
}

static omb_status
add_directory(omb_set_place *place, const omb_entry *entry, omb_error *err)
{
	omb_set_hand *ours = &place->hand[place->config.jobs];
	const char *below = omb_set_below(entry);
	const char *slash = strrchr(below, '/');
	pending *p;

	/* the set's own directory is there */
	if (below[0] != '\0' && omb_set_enter(ours, entry, err) != OMB_OK)
		return err->status;
	if (below[0] == '\0')
		(void) open_up(place, below, err);
	else if (mkdirat(ours->parent_fd, slash ? slash + 1 : below, 0700) != 0)
	{
		if (errno == EEXIST)
			(void) open_up(place, below, err);
		else
			(void) omb_error_set_errno(err, errno,
									   "could not create directory \"%s/%s\"",
									   place->root, below);
	}
	if (err->status != OMB_OK)
		return err->status;
	if (place->depth_now == place->depth_cap)
	{
		place->depth_cap = place->depth_cap ? 2 * place->depth_cap : 16;
		place->directory =
			omb_realloc(place->directory, place->depth_cap * sizeof(pending));
	}
	p = &place->directory[place->depth_now++];
	p->path = omb_strdup(below);
	p->mode = entry->mode;
	p->uid = entry->uid;
	p->gid = entry->gid;
	p->mtime = entry->mtime;
	return OMB_OK;
}

/* ---- files ---- */

/* Give a unit the next extents of a file. */
static void
fill_piece(unit *u, const omb_entry *entry, size_t first, uint64_t offset)
{
	size_t i = first;

	u->first = first;
	u->offset = offset;
	u->length = 0;
	do
		u->length += entry->extent[i++].length;
	while (i < entry->extent_count && i - first < PIECE_EXTENTS &&
		   u->length < PIECE_BYTES);
	u->end = i;
	u->last = i == entry->extent_count;
}

/* A large file that is not there. Takes the entry over. */
static omb_status
add_large(omb_set_place *place, omb_entry *entry, const omb_manifest *manifest,
		  omb_error *err)
{
	omb_set_hand *ours = &place->hand[place->config.jobs];
	large_file *large;
	const char *slash;
	uint64_t offset = 0;
	size_t next = 0;
	bool last = false;

	submit_batch(place);
	if (omb_set_enter(ours, entry, err) != OMB_OK)
	{
		omb_entry_clear(entry);
		return err->status;
	}
	large = omb_calloc(1, sizeof(*large));
	large->what.entry = *entry;
	large->what.manifest = manifest;
	memset(entry, 0, sizeof(*entry));
	slash = strrchr(large->what.entry.path, '/');
	large->name = omb_strdup(slash + 1);
	large->fd = -1;
	large->parent_fd = fcntl(ours->parent_fd, F_DUPFD_CLOEXEC, 0);
	if (large->parent_fd < 0)
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   large->what.entry.path);
	else
		large->fd = omb_set_create(ours, &large->what.entry, large->name, err);
	while (!last && err->status == OMB_OK)
	{
		unit *u = free_unit(place, err);

		if (u == NULL)
			break;
		u->large = large;
		fill_piece(u, &large->what.entry, next, offset);
		place->config.reading(u->end - u->first, place->config.arg);
		next = u->end;
		offset += u->length;
		last = u->last;
		omb_pipeline_submit(place->pipe);
	}
	if (!last)
	{
		/* pieces of it may be under way */
		omb_pipeline_stop(place->pipe);
		abandon(large);
	}
	return err->status;
}

/* Takes the entry over. */
static omb_status
add_file(omb_set_place *place, omb_entry *entry, const omb_manifest *manifest,
		 omb_error *err)
{
	item *it;

	free(place->blocked);
	place->blocked = omb_strdup(omb_set_below(entry));
	place->result.files++;
	if (!place->config.delta && entry->size > PIECE_BYTES &&
		entry->extent_count > 1)
		return add_large(place, entry, manifest, err);
	if (need_batch(place, err) != OMB_OK)
	{
		omb_entry_clear(entry);
		return err->status;
	}
	it = &place->batch->item[place->batch->count++];
	it->entry = *entry;
	it->manifest = manifest;
	place->batch->bytes += entry->size;
	memset(entry, 0, sizeof(*entry));
	return OMB_OK;
}

/* ---- all ---- */

omb_set_place *
omb_set_place_new(const omb_set_place_config *config)
{
	omb_set_place *place = omb_calloc(1, sizeof(*place));
	int i;

	place->config = *config;
	place->root_fd = -1;
	place->depth = (size_t) (4 + 3 * config->jobs);
	place->hand = omb_calloc((size_t) config->jobs + 1, sizeof(*place->hand));
	for (i = 0; i <= config->jobs; i++)
	{
		omb_set_hand_init(&place->hand[i], config->repo, i);
		place->hand[i].delta = config->delta;
	}
	place->pipe = omb_pipeline_new(config->jobs, place->depth, sizeof(unit),
								   process, place);
	return place;
}

omb_status
omb_set_place_add(omb_set_place *place, omb_entry *entry,
				  const omb_manifest *manifest, size_t number,
				  const char *root, omb_error *err)
{
	const char *below = omb_set_below(entry);
	bool skip = false;

	if (enter_set(place, entry, root, err) == OMB_OK)
		(void) leave_directories(place, below, err);
	if (err->status == OMB_OK && place->blocked != NULL &&
		is_in(below, place->blocked))
	{
		/* as a later manifest has it */
		skip = number > 0;
		errno = ENOTDIR;
		if (!skip)
			(void) omb_set_no_directory(&place->hand[place->config.jobs],
										place->blocked, err);
	}
	if (err->status != OMB_OK || skip)
		;
	else if (entry->type == OMB_ENTRY_DIRECTORY)
		(void) add_directory(place, entry, err);
	else if (below[0] != '\0')
		return add_file(place, entry, manifest, err);
	else
		(void) omb_error_set(err, OMB_DAMAGED,
							 "file set \"%s\" is no directory in the backup",
							 entry->path);
	omb_entry_clear(entry);
	return err->status;
}

omb_status
omb_set_place_end(omb_set_place *place, omb_error *err)
{
	return leave_set(place, err);
}

void
omb_set_place_result_of(const omb_set_place *place,
						omb_set_place_result *result)
{
	*result = place->result;
}

void
omb_set_place_free(omb_set_place *place)
{
	omb_error failed = OMB_ERROR_INIT;
	size_t i;
	int n;

	/* after a failure something is left */
	omb_pipeline_stop(place->pipe);
	for (i = 0; i < place->depth; i++)
	{
		unit *u = omb_pipeline_unit(place->pipe, i);

		for (n = 0; n < u->finish_count; n++)
			finish_directory(place, &u->finish[n], &failed);
		clear_unit(u);
	}
	omb_pipeline_free(place->pipe);
	for (i = place->depth_now; i > 0; i--)
		finish_directory(place, &place->directory[i - 1], &failed);
	omb_error_clear(&failed);
	forget_set(place);
	for (n = 0; n <= place->config.jobs; n++)
		omb_set_hand_free(&place->hand[n]);
	free(place->hand);
	free(place->directory);
	free(place);
}
