/*
 * repair.c: replacing damaged and missing objects by good copies.
 *
 * A copy is written whole beside the damaged object, then the damaged one is
 * removed and the copy committed under its name. A crash between the two
 * leaves a missing object, which is found and repaired as well.
 */
#include "task/verify/repair.h"

#include "base/file.h"
#include "base/text.h"
#include "repo/revision.h"
#include "task/verify/verifymarks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

omb_status
omb_repair_check(const omb_repository *repo, const omb_repository *from,
				 omb_error *err)
{
	struct stat st, other;

	if (strcmp(repo->id, from->id) != 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "\"%s\" is not a copy of repository \"%s\"",
							 from->store->location, repo->store->location);
		omb_error_detail(err, "They have different ids.");
	}
	else if (stat(repo->store->location, &st) == 0 &&
			 stat(from->store->location, &other) == 0 &&
			 st.st_dev == other.st_dev && st.st_ino == other.st_ino)
		(void) omb_error_set(err, OMB_REFUSED,
							 "\"%s\" is the repository itself",
							 from->store->location);
	return err->status;
}

/* ---- objects of another copy ---- */

/*
 * Read an object of the copy; its bytes go to the upload unless that is NULL,
 * their SHA-256 to digest.
 */
static omb_status
read_object(omb_store *store, const char *name, omb_upload *upload,
			uint8_t digest[OMB_SHA256_SIZE], omb_error *err)
{
	uint8_t *buffer = omb_malloc(OMB_BLOB_MAX);
	omb_hash *hash = omb_hash_new();
	omb_object *object;
	uint64_t offset = 0;

	omb_hash_begin(hash, NULL, 0);
	if (omb_store_open(store, name, &object, err) == OMB_OK)
	{
		while (offset < object->size && err->status == OMB_OK)
		{
			uint64_t left = object->size - offset;
			size_t part = left < OMB_BLOB_MAX ? (size_t) left : OMB_BLOB_MAX;

			if (omb_object_read(object, offset, buffer, part, err) == OMB_OK)
			{
				omb_hash_update(hash, buffer, part);
				if (upload != NULL)
					(void) omb_upload_write(upload, buffer, part, err);
			}
			offset += part;
		}
		omb_object_close(object);
	}
	omb_hash_final(hash, digest);
	omb_hash_free(hash);
	free(buffer);
	return err->status;
}

/* Is the object of the copy what it should be? */
static omb_status
check_copy(omb_repository *from, const omb_problem *problem, const char *name,
		   const omb_wal_object *wal, omb_error *err)
{
	uint8_t digest[OMB_SHA256_SIZE];
	omb_wal_facts facts;
	omb_manifest *manifest;
	bool end = false;

	if (problem->kind == OMB_PROBLEM_PACK)
	{
		if (read_object(from->store, name, NULL, digest, err) == OMB_OK &&
			memcmp(digest, problem->sha256, sizeof(digest)) != 0)
			(void) omb_error_set(err, OMB_DAMAGED,
								 "object \"%s\" is damaged in the copy too",
								 name);
		return err->status;
	}
	if (problem->kind == OMB_PROBLEM_WAL)
		return omb_wal_verify(from, wal, &facts, err);
	if (problem->kind == OMB_PROBLEM_MARK)
		return omb_verify_mark(from, name, err);
	if (omb_manifest_open(from, strrchr(problem->object, '/') + 1, &manifest,
						  err) != OMB_OK)
		return err->status;
	while (!end && err->status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) == OMB_OK && !end)
			omb_entry_clear(&entry);
	}
	omb_manifest_close(manifest);
	return err->status;
}

/* Put an upload in the place of a damaged object. Ends the upload. */
static omb_status
replace(omb_store *store, const char *name, omb_upload *upload, omb_error *err)
{
	if (omb_store_remove(store, name, err) == OMB_NOT_FOUND)
		omb_error_clear(err);
	if (err->status != OMB_OK)
	{
		omb_upload_abort(upload);
		return err->status;
	}
	return omb_upload_commit(upload, name, err);
}

static omb_status
copy_object(const omb_repair_config *config, const char *name,
			const omb_problem *problem, omb_error *err)
{
	omb_store *store = config->repo->store;
	uint8_t digest[OMB_SHA256_SIZE];
	omb_upload *upload;

	if (omb_store_create(store, &upload, err) != OMB_OK)
		return err->status;
	if (read_object(config->from->store, name, upload, digest, err) ==
			OMB_OK &&
		problem->kind == OMB_PROBLEM_PACK &&
		memcmp(digest, problem->sha256, sizeof(digest)) != 0)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" changed while it was copied",
							 name);
	if (err->status != OMB_OK)
	{
		omb_upload_abort(upload);
		return err->status;
	}
	return replace(store, name, upload, err);
}

/*
 * The object of a manifest, when it is the one that counts in the copy too:
 * another revision needs other packs. NULL when it is not.
 */
static char *
manifest_object(const omb_repair_config *config, const char *id)
{
	omb_error ignored = OMB_ERROR_INIT;
	uint32_t number, other;

	if (omb_revision_latest(config->repo, id, true, &number, &ignored) !=
			OMB_OK ||
		omb_revision_latest(config->from, id, true, &other, &ignored) !=
			OMB_OK ||
		number != other)
		return NULL;
	return omb_revision_name(id, number);
}

/* The object of the copy that could replace one; NULL when there is none. */
static char *
find_copy(const omb_repair_config *config, const omb_problem *problem)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_wal_object wal = problem->wal;
	char *name;

	if (config->from == NULL || problem->kind == OMB_PROBLEM_OTHER)
		return NULL;
	/* of missing WAL only the file is known */
	if (problem->kind == OMB_PROBLEM_WAL && wal.id[0] == '\0' &&
		(!problem->missing || omb_wal_find(config->from, problem->wal.file,
										   &wal, &ignored) != OMB_OK))
		return NULL;
	if (problem->kind == OMB_PROBLEM_BACKUP)
		name = manifest_object(config, strrchr(problem->object, '/') + 1);
	else if (problem->kind == OMB_PROBLEM_WAL)
		name = omb_wal_object_name(&wal);
	else
		name = omb_strdup(problem->object);
	if (name != NULL &&
		check_copy(config->from, problem, name, &wal, &ignored) == OMB_OK)
		return name;
	free(name);
	return NULL;
}

/* ---- segments of a server ---- */

/* Is the file the one that the object held? Its bytes go to the stream. */
static omb_status
read_segment(omb_repository *repo, const char *path, const omb_wal_object *wal,
			 omb_stream_writer *writer, omb_error *err)
{
	uint8_t *buffer = omb_malloc(OMB_BLOB_MAX);
	omb_ghash *hash = omb_wal_id_begin(repo);
	char id[OMB_WAL_ID_TEXT];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : 1;

	while (got > 0 && err->status == OMB_OK)
	{
		got = omb_read_full(fd, buffer, OMB_BLOB_MAX);
		if (got > 0)
			omb_ghash_update(hash, buffer, (size_t) got);
		if (got > 0 && writer != NULL)
			(void) omb_stream_write(writer, buffer, (size_t) got, err);
	}
	if (got < 0)
		(void) omb_error_set_errno(err, errno, "could not read file \"%s\"",
								   path);
	if (fd >= 0)
		(void) close(fd);
	omb_wal_id_final(repo, hash, id);
	if (err->status == OMB_OK && strcmp(id, wal->id) != 0)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "file \"%s\" is not what was archived", path);
	free(buffer);
	return err->status;
}

static char *
find_segment(const omb_repair_config *config, const omb_problem *problem)
{
	omb_error ignored = OMB_ERROR_INIT;
	char *path;

	if (config->pg_wal == NULL || problem->kind != OMB_PROBLEM_WAL ||
		problem->wal.id[0] == '\0')
		return NULL;
	path = omb_format("%s/%s", config->pg_wal, problem->wal.file);
	if (read_segment(config->repo, path, &problem->wal, NULL, &ignored) ==
		OMB_OK)
		return path;
	free(path);
	return NULL;
}

static omb_status
store_segment(const omb_repair_config *config, const char *path,
			  const omb_problem *problem, omb_error *err)
{
	omb_compression compression;
	omb_stream_writer *writer;
	omb_wal_facts values;
	omb_buf facts = OMB_BUF_INIT;
	char *name = omb_wal_object_name(&problem->wal);
	uint64_t ignored;
	struct stat st;

	memset(&values, 0, sizeof(values));
	memcpy(values.file, problem->wal.file, sizeof(values.file));
	values.archived_at = omb_time_now();
	if (stat(path, &st) != 0)
		(void) omb_error_set_errno(err, errno, "could not stat file \"%s\"",
								   path);
	else if (omb_compression_parse("zstd:3", &compression, err) == OMB_OK &&
			 omb_stream_create(config->repo, OMB_KIND_WAL, &compression,
							   &writer, err) == OMB_OK)
	{
		values.size = (uint64_t) st.st_size;
		omb_wal_facts_write(&values, &facts);
		if (omb_stream_write(writer, facts.data, facts.len, err) == OMB_OK &&
			omb_stream_break(writer, &ignored, &ignored, err) == OMB_OK &&
			read_segment(config->repo, path, &problem->wal, writer, err) ==
				OMB_OK)
		{
			if (omb_store_remove(config->repo->store, name, err) ==
				OMB_NOT_FOUND)
				omb_error_clear(err);
		}
		if (err->status == OMB_OK)
			(void) omb_stream_commit(writer, NULL, 0, name, err);
		else
			omb_stream_abort(writer);
	}
	omb_buf_free(&facts);
	free(name);
	return err->status;
}

/* ---- the whole ---- */

static omb_status
repair_one(const omb_repair_config *config, omb_problem *problem,
		   omb_error *err)
{
	char *copy = find_copy(config, problem);
	char *segment = copy ? NULL : find_segment(config, problem);

	if (copy != NULL)
		problem->source =
			omb_format("%s/%s", config->from->store->location, copy);
	else if (segment != NULL)
		problem->source = omb_strdup(segment);
	if (config->apply && problem->source != NULL)
	{
		problem->repaired =
			(copy ? copy_object(config, copy, problem, err) :
					store_segment(config, segment, problem, err)) == OMB_OK;
		if (!problem->repaired)
			(void) omb_error_context(err, "while repairing \"%s\"",
									 problem->object);
	}
	free(copy);
	free(segment);
	return err->status;
}

omb_status
omb_repair(const omb_repair_config *config, omb_problems *problems,
		   omb_error *err)
{
	omb_lock *lock;
	size_t i;

	/* who removes holds it alone */
	if (omb_store_lock(config->repo->store, config->apply, &lock, err) !=
		OMB_OK)
		return err->status;
	for (i = 0; i < problems->count && err->status == OMB_OK; i++)
	{
		config->progress("looking for good copies", i, problems->count,
						 config->arg);
		(void) repair_one(config, &problems->item[i], err);
	}
	omb_store_unlock(lock);
	return err->status;
}
