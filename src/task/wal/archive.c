/*
 * archive.c: storing WAL files in the repository, ahead of being asked.
 *
 * Three kinds of threads share a pipeline whose units are single chunks:
 *
 *   feeder      picks a file, checks it, reads and hashes it
 *   workers     compress and seal chunks, also of several files at once
 *   committer   writes the chunks in order, commits each file
 *
 * So one file is compressed by all cores, a backlog keeps them busy while the
 * disk syncs, and memory is bounded by the number of units.
 *
 * A file has a job while it is under way (archivejobs.h). The answer for a file
 * is given only after its object is durable, so the .ready mark and its order
 * stay the server's.
 */
#include "task/wal/archive.h"

#include "base/file.h"
#include "base/pipeline.h"
#include "base/text.h"
#include "pgfmt/walname.h"
#include "repo/claim.h"
#include "task/wal/archivejobs.h"
#include "task/wal/walfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Chunks under way besides those in the workers' hands: with 256 KiB each,
 * 24 MiB; more than a segment of 16 MB, so that work goes on while a segment
 * is synced.
 */
#define UNITS 96

typedef omb_archive_job job;

typedef enum unit_kind
{
	UNIT_BEGIN,
	UNIT_CHUNK,
	UNIT_END
} unit_kind;

typedef struct unit
{
	unit_kind kind;
	job *job;
	uint64_t index;
	bool last;
	size_t len;
	size_t out_len;
	uint8_t plain[OMB_BLOB_MAX];
	uint8_t out[OMB_CHUNK_MAX];
} unit;

struct omb_archive
{
	omb_archive_config config;
	char *wal_dir;
	omb_pipeline *pipe;
	omb_coder **coder; /* one for each worker */
	pthread_t feeder;
	pthread_t committer;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopping;
	omb_archive_jobs jobs;

	/* the feeder's; set once, then only read by others */
	omb_repository *repo;
	uint32_t claim;
};

static void
process_unit(void *arg, int worker, void *context)
{
	unit *u = arg;
	omb_archive *archive = context;

	if (u->kind == UNIT_CHUNK)
		u->out_len =
			omb_chunk_encode(archive->coder[worker], &u->job->key, u->index,
							 u->last, u->plain, u->len, u->out);
}

/* ---- committer ---- */

/*
 * A second server may have stored other bytes under the name between our
 * look and our commit. Then neither was acknowledged here: ours goes away.
 */
static void
check_alone(omb_archive *archive, job *j)
{
	omb_wal_object found;
	omb_error ignored = OMB_ERROR_INIT;
	char *name;

	if (omb_wal_find(archive->repo, j->file, &found, &j->error) != OMB_EXISTS)
		return;
	name = omb_wal_object_name(&j->object);
	(void) omb_store_remove(archive->repo->store, name, &ignored);
	free(name);
}

static void
commit_job(omb_archive *archive, job *j)
{
	char *name;

	if (j->error.status == OMB_OK)
	{
		name = omb_wal_object_name(&j->object);
		if (j->present)
			(void) omb_store_confirm(archive->repo->store, name, &j->error);
		else
		{
			omb_upload *upload = j->upload;

			j->upload = NULL;
			(void) omb_upload_commit(upload, name, &j->error);
			if (j->error.status == OMB_EXISTS)
			{
				omb_error_clear(&j->error);
				(void) omb_store_confirm(archive->repo->store, name,
										 &j->error);
			}
			if (j->error.status == OMB_OK)
				check_alone(archive, j);
		}
		free(name);
	}
	omb_upload_abort(j->upload);
	j->upload = NULL;
}

static void
commit_unit(omb_archive *archive, unit *u)
{
	job *j = u->job;

	switch (u->kind)
	{
		case UNIT_BEGIN:
			if (omb_store_create(archive->repo->store, &j->upload,
								 &j->error) == OMB_OK)
				(void) omb_upload_write(j->upload, j->header,
										sizeof(j->header), &j->error);
			break;
		case UNIT_CHUNK:
			if (j->error.status == OMB_OK)
				(void) omb_upload_write(j->upload, u->out, u->out_len,
										&j->error);
			break;
		case UNIT_END:
			if (j->feed_error.status != OMB_OK)
				j->error = j->feed_error;
			commit_job(archive, j);
			(void) pthread_mutex_lock(&archive->lock);
			j->state = OMB_JOB_DONE;
			if (j->error.status != OMB_OK && !j->asked)
			{
				j->state = OMB_JOB_FREE;
				archive->jobs.look_ahead = false;
			}
			(void) pthread_cond_broadcast(&archive->changed);
			(void) pthread_mutex_unlock(&archive->lock);
			break;
	}
}

static void *
committer_main(void *arg)
{
	omb_archive *archive = arg;
	unit *u;

	while ((u = omb_pipeline_next(archive->pipe, true)) != NULL)
	{
		commit_unit(archive, u);
		omb_pipeline_release(archive->pipe);
	}
	return NULL;
}

/* ---- feeder ---- */

/* Open the repository when it is not open yet, and check the fence. */
static omb_status
prepare(omb_archive *archive, omb_error *err)
{
	const omb_archive_config *config = &archive->config;
	omb_repository *repo = archive->repo;
	uint32_t number;

	if (repo == NULL &&
		omb_repository_open_at(config->repository, config->key_file, NULL,
							   &repo, err) != OMB_OK)
		return err->status;
	archive->repo = repo;
	if (omb_repository_check(repo, err) != OMB_OK)
		return err->status;
	/* the claim is read again only when there is a newer one */
	if (archive->claim != 0 &&
		(omb_claim_number(repo, &number, err) != OMB_OK ||
		 number == archive->claim))
		return err->status;
	archive->claim = 0;
	return omb_claim_check(repo, config->pgdata, config->system_identifier,
						   &archive->claim, err);
}

/* A unit for the job; NULL when the pipeline was stopped. */
static unit *
new_unit(omb_archive *archive, job *j, unit_kind kind)
{
	unit *u = omb_pipeline_slot(archive->pipe, true);

	if (u == NULL)
		return NULL;
	u->kind = kind;
	u->job = j;
	return u;
}

/* Hand header and facts to the committer. */
static bool
feed_head(omb_archive *archive, job *j, uint64_t size)
{
	omb_buf facts = OMB_BUF_INIT;
	omb_wal_facts values;
	unit *u;

	omb_object_begin(&archive->repo->keyring, OMB_KIND_WAL, j->header,
					 &j->key);
	u = new_unit(archive, j, UNIT_BEGIN);
	if (u == NULL)
		return false;
	omb_pipeline_submit(archive->pipe);

	memset(&values, 0, sizeof(values));
	memcpy(values.file, j->file, sizeof(values.file));
	values.size = size;
	values.archived_at = omb_time_now();
	omb_wal_facts_write(&values, &facts);
	u = new_unit(archive, j, UNIT_CHUNK);
	if (u != NULL)
	{
		memcpy(u->plain, facts.data, facts.len);
		u->len = facts.len;
		u->index = 0;
		u->last = size == 0;
		omb_pipeline_submit(archive->pipe);
	}
	omb_buf_free(&facts);
	return u != NULL;
}

/* Hash the whole file without storing it. */
static omb_status
hash_file(int fd, uint64_t size, omb_ghash *hash, const char *file,
		  omb_error *err)
{
	uint8_t *buffer = omb_malloc(OMB_BLOB_MAX);
	uint64_t offset = 0;

	while (offset < size && err->status == OMB_OK)
	{
		size_t part = size - offset < OMB_BLOB_MAX ? (size_t) (size - offset) :
													 OMB_BLOB_MAX;
		ssize_t n = omb_pread_full(fd, buffer, part, (off_t) offset);

		if (n < 0)
			(void) omb_error_set_errno(err, errno,
									   "could not read WAL file \"%s\"", file);
		else if ((size_t) n != part)
			(void) omb_error_set(err, OMB_FAILED,
								 "WAL file \"%s\" shrank while being read",
								 file);
		else
			omb_ghash_update(hash, buffer, part);
		offset += part;
	}
	free(buffer);
	return err->status;
}

/* Read, hash and hand on the file's bytes; false when stopped. */
static bool
feed_content(omb_archive *archive, job *j, int fd, uint64_t size,
			 omb_ghash *hash, omb_error *err)
{
	uint64_t offset = 0;
	uint64_t index = 1;

	while (offset < size)
	{
		unit *u = new_unit(archive, j, UNIT_CHUNK);
		size_t part = size - offset < OMB_BLOB_MAX ? (size_t) (size - offset) :
													 OMB_BLOB_MAX;
		ssize_t n;

		if (u == NULL)
			return false;
		n = omb_pread_full(fd, u->plain, part, (off_t) offset);
		if (n < 0 || (size_t) n != part)
		{
			if (n < 0)
				(void) omb_error_set_errno(
					err, errno, "could not read WAL file \"%s\"", j->file);
			else
				(void) omb_error_set(err, OMB_FAILED,
									 "WAL file \"%s\" shrank while being read",
									 j->file);
			/* the unit was not submitted and will be handed out again */
			return true;
		}
		u->len = part;
		u->index = index++;
		offset += part;
		u->last = offset == size;
		/* the workers may compress while we hash: both only read */
		omb_ghash_update(hash, u->plain, part);
		omb_pipeline_submit(archive->pipe);
	}
	return true;
}

/* Different bytes are archived under the name: name both. */
static omb_status
conflict(const job *j, const omb_wal_object *other, omb_error *err)
{
	(void) omb_error_set(err, OMB_EXISTS,
						 "WAL file \"%s\" is archived already with different "
						 "content",
						 j->file);
	omb_error_detail(err,
					 "The file in pg_wal has id %s, the one in the "
					 "repository has id %s.",
					 j->object.id, other->id);
	omb_error_hint(err, "Two servers may be archiving into the same "
						"repository, or this one was restored without a new "
						"timeline. Nothing was overwritten.");
	return err->status;
}

/*
 * Store one file: everything up to handing its last unit to the committer.
 * False when stopped.
 */
static bool
feed_job(omb_archive *archive, job *j)
{
	omb_error *err = &j->feed_error;
	omb_wal_object found;
	omb_ghash *hash = NULL;
	uint64_t size = 0;
	int fd = -1;
	bool running = true;

	memset(&j->object, 0, sizeof(j->object));
	memcpy(j->object.file, j->file, sizeof(j->file));
	j->present = false;
	if (prepare(archive, err) != OMB_OK ||
		omb_wal_file_open(
			archive->wal_dir, j->file, archive->config.wal_segment_size,
			archive->config.system_identifier, &fd, &size, err) != OMB_OK)
		goto end;
	hash = omb_wal_id_begin(archive->repo);
	switch (omb_wal_find(archive->repo, j->file, &found, err))
	{
		case OMB_NOT_FOUND:
			omb_error_clear(err);
			running = feed_head(archive, j, size) &&
					  feed_content(archive, j, fd, size, hash, err);
			break;
		case OMB_OK:
			j->present = true;
			(void) hash_file(fd, size, hash, j->file, err);
			break;
		default:
			break;
	}
	if (running && err->status == OMB_OK)
	{
		omb_wal_id_final(archive->repo, hash, j->object.id);
		hash = NULL;
		if (j->present && strcmp(j->object.id, found.id) != 0)
			(void) conflict(j, &found, err);
	}

end:
	omb_ghash_free(hash);
	if (fd >= 0)
		(void) close(fd);
	if (!running || new_unit(archive, j, UNIT_END) == NULL)
		return false;
	omb_pipeline_submit(archive->pipe);
	return true;
}

static void *
feeder_main(void *arg)
{
	omb_archive *archive = arg;
	bool running = true;

	(void) pthread_mutex_lock(&archive->lock);
	while (running && !archive->stopping)
	{
		job *j = omb_archive_next(&archive->jobs);

		if (j == NULL && archive->jobs.look_ahead)
		{
			omb_archive_queue(&archive->jobs);
			j = omb_archive_next(&archive->jobs);
		}
		if (j == NULL)
		{
			(void) pthread_cond_wait(&archive->changed, &archive->lock);
			continue;
		}
		j->state = OMB_JOB_RUNNING;
		(void) pthread_mutex_unlock(&archive->lock);
		running = feed_job(archive, j);
		(void) pthread_mutex_lock(&archive->lock);
	}
	(void) pthread_mutex_unlock(&archive->lock);
	return NULL;
}

/* ---- interface ---- */

omb_archive *
omb_archive_start(const omb_archive_config *config)
{
	omb_archive *archive = omb_calloc(1, sizeof(*archive));
	int i;

	archive->config = *config;
	archive->wal_dir = omb_format("%s/pg_wal", config->pgdata);
	archive->jobs.ready = omb_ready_list_new(archive->wal_dir);
	(void) pthread_mutex_init(&archive->lock, NULL);
	(void) pthread_cond_init(&archive->changed, NULL);
	archive->coder =
		omb_calloc((size_t) config->jobs, sizeof(*archive->coder));
	for (i = 0; i < config->jobs; i++)
		archive->coder[i] = omb_coder_new(&config->compression);
	archive->pipe =
		omb_pipeline_new(config->jobs, (size_t) (UNITS + 8 * config->jobs),
						 sizeof(unit), process_unit, archive);
	if (pthread_create(&archive->feeder, NULL, feeder_main, archive) != 0 ||
		pthread_create(&archive->committer, NULL, committer_main, archive) !=
			0)
		abort();
	return archive;
}

omb_status
omb_archive_file(omb_archive *archive, const char *file, omb_error *err)
{
	omb_wal_name name;
	job *j;

	if (strlen(file) > OMB_WAL_FILE_MAX ||
		omb_wal_name_parse(file, &name) == OMB_WAL_OTHER)
		return omb_error_set(err, OMB_USAGE,
							 "\"%.64s\" is not the name of a WAL file", file);
	(void) pthread_mutex_lock(&archive->lock);
	j = omb_archive_find(&archive->jobs, file);
	if (j == NULL)
		j = omb_archive_add(&archive->jobs, file);
	if (j == NULL)
	{
		(void) pthread_mutex_unlock(&archive->lock);
		return omb_error_set(err, OMB_FAILED, "too many files under way");
	}
	j->asked = true;
	archive->jobs.look_ahead = true;
	(void) pthread_cond_broadcast(&archive->changed);
	while (j->state != OMB_JOB_DONE)
		(void) pthread_cond_wait(&archive->changed, &archive->lock);
	if (j->error.status == OMB_OK)
		memcpy(archive->jobs.answered, j->file,
			   sizeof(archive->jobs.answered));
	*err = j->error;
	j->state = OMB_JOB_FREE;
	(void) pthread_mutex_unlock(&archive->lock);
	return err->status;
}

void
omb_archive_free(omb_archive *archive)
{
	int i;

	if (archive == NULL)
		return;
	(void) pthread_mutex_lock(&archive->lock);
	archive->stopping = true;
	(void) pthread_cond_broadcast(&archive->changed);
	(void) pthread_mutex_unlock(&archive->lock);
	omb_pipeline_stop(archive->pipe);
	(void) pthread_join(archive->feeder, NULL);
	(void) pthread_join(archive->committer, NULL);
	for (i = 0; i < OMB_ARCHIVE_JOBS; i++)
		omb_upload_abort(archive->jobs.job[i].upload);
	for (i = 0; i < archive->config.jobs; i++)
		omb_coder_free(archive->coder[i]);
	omb_pipeline_free(archive->pipe);
	omb_ready_list_free(archive->jobs.ready);
	omb_repository_free(archive->repo);
	(void) pthread_mutex_destroy(&archive->lock);
	(void) pthread_cond_destroy(&archive->changed);
	free(archive->coder);
	free(archive->wal_dir);
	free(archive);
}
