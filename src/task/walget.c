/*
 * walget.c: fetching one WAL file for recovery.
 *
 * The chunks of the object are opened by several threads and written in
 * order. The file appears under a temporary name until all was checked.
 */
#include "task/walget.h"

#include "base/file.h"
#include "base/pipeline.h"
#include "pgfmt/walname.h"
#include "repo/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNITS 16

typedef struct unit
{
	uint64_t index;
	size_t size; /* of the whole chunk */
	omb_chunk chunk;
	omb_error error;
	uint8_t bytes[OMB_CHUNK_MAX];
	uint8_t plain[OMB_BLOB_MAX];
} unit;

typedef struct fetch
{
	omb_object_key key;
	omb_coder **coder;
	omb_pipeline *pipe;
	omb_object *object;
	uint64_t offset;
	uint64_t next_index;
	bool fed_last;

	const omb_wal_object *wanted;
	omb_wal_facts facts;
	int fd;
	uint64_t written;
} fetch;

static void
process_unit(void *arg, int worker, void *context)
{
	unit *u = arg;
	const fetch *f = context;

	omb_error_clear(&u->error);
	(void) omb_coder_decode(f->coder[worker], &f->key, u->index, u->chunk.last,
							u->chunk.method, u->chunk.sealed,
							u->chunk.sealed_size, u->plain, u->chunk.raw_size,
							&u->error);
}

/* Read one chunk into a unit and submit it. */
static omb_status
feed(fetch *f, unit *u, omb_error *err)
{
	uint64_t left = f->object->size - f->offset;

	u->size = OMB_CHUNK_HEADER_SIZE;
	if (left >= u->size)
	{
		if (omb_object_read(f->object, f->offset, u->bytes, u->size, err) !=
			OMB_OK)
			return err->status;
		u->size += omb_get_u32(u->bytes);
	}
	if (u->size > sizeof(u->bytes) || u->size > left)
		return omb_error_set(err, OMB_DAMAGED, "the object is cut short");
	if (omb_object_read(f->object, f->offset + OMB_CHUNK_HEADER_SIZE,
						u->bytes + OMB_CHUNK_HEADER_SIZE,
						u->size - OMB_CHUNK_HEADER_SIZE, err) != OMB_OK ||
		omb_chunk_parse(u->bytes, u->size, &u->chunk, err) != OMB_OK)
		return err->status;
	f->offset += u->size;
	u->index = f->next_index++;
	f->fed_last = u->chunk.last;
	if (f->fed_last && f->offset != f->object->size)
		return omb_error_set(err, OMB_DAMAGED, "bytes follow the last chunk");
	omb_pipeline_submit(f->pipe);
	return OMB_OK;
}

/* Take one unit's plain bytes, in order. */
static omb_status
take(fetch *f, unit *u, omb_error *err)
{
	if (u->error.status != OMB_OK)
	{
		*err = u->error;
		return err->status;
	}
	if (u->index == 0)
	{
		if (omb_wal_facts_read(u->plain, u->chunk.raw_size, &f->facts, err) ==
				OMB_OK &&
			strcmp(f->facts.file, f->wanted->file) != 0)
			(void) omb_error_set(err, OMB_DAMAGED, "it holds file \"%s\"",
								 f->facts.file);
		return err->status;
	}
	if (omb_write_full(f->fd, u->plain, u->chunk.raw_size) != 0)
		return omb_error_set_errno(err, errno, "could not write");
	f->written += u->chunk.raw_size;
	return OMB_OK;
}

static omb_status
run(fetch *f, omb_error *err)
{
	while (err->status == OMB_OK &&
		   (!f->fed_last || omb_pipeline_busy(f->pipe)))
	{
		unit *u = f->fed_last ? NULL : omb_pipeline_slot(f->pipe, false);

		if (u != NULL)
		{
			(void) feed(f, u, err);
			continue;
		}
		u = omb_pipeline_next(f->pipe, true);
		(void) take(f, u, err);
		omb_pipeline_release(f->pipe);
	}
	if (err->status != OMB_OK)
		return err->status;
	/* the seals prove the bytes; only their number is left to check */
	if (f->written != f->facts.size)
		return omb_error_set(err, OMB_DAMAGED, "it is not what its name says");
	return OMB_OK;
}

static omb_status
fetch_object(omb_repository *repo, const omb_wal_object *object, int fd,
			 int jobs, omb_error *err)
{
	char *name = omb_wal_object_name(object);
	uint8_t header[OMB_OBJECT_HEADER_SIZE];
	fetch f;
	int i;

	memset(&f, 0, sizeof(f));
	f.fd = fd;
	f.wanted = object;
	f.offset = OMB_OBJECT_HEADER_SIZE;
	if (omb_store_open(repo->store, name, &f.object, err) == OMB_OK &&
		omb_object_read(f.object, 0, header, sizeof(header), err) == OMB_OK &&
		omb_object_open(&repo->keyring, OMB_KIND_WAL, header, &f.key, err) ==
			OMB_OK)
	{
		f.coder = omb_calloc((size_t) jobs, sizeof(omb_coder *));
		for (i = 0; i < jobs; i++)
			f.coder[i] = omb_coder_new(NULL);
		f.pipe = omb_pipeline_new(jobs, UNITS, sizeof(unit), process_unit, &f);
		(void) run(&f, err);
		omb_pipeline_free(f.pipe);
		for (i = 0; i < jobs; i++)
			omb_coder_free(f.coder[i]);
		free(f.coder);
	}
	omb_object_close(f.object);
	if (err->status == OMB_NOT_FOUND)
		/* it was listed a moment ago */
		err->status = OMB_FAILED;
	if (err->status != OMB_OK)
		(void) omb_error_context(err, "object \"%s\"", name);
	free(name);
	return err->status;
}

/* What timeline are the objects of, and what segments? */
typedef struct neighbours
{
	uint64_t segno;
	uint64_t in_log;
	bool before;
	bool after;
} neighbours;

static omb_status
look(const omb_store_entry *entry, void *arg, omb_error *err)
{
	neighbours *n = arg;
	omb_wal_object object;
	omb_wal_name name;

	if (omb_wal_object_parse(entry->name, &object) &&
		omb_wal_name_parse(object.file, &name) == OMB_WAL_SEGMENT)
	{
		/* any number that orders segments will do */
		uint64_t segno = (uint64_t) name.log << 32 | name.seg;

		n->before = n->before || segno < n->segno;
		n->after = n->after || segno > n->segno;
	}
	return OMB_OK;
}

/*
 * A missing segment with others of its timeline before and behind it is a
 * gap: going on without it would end recovery early and lose what is behind.
 */
static omb_status
check_gap(omb_repository *repo, const char *file, omb_error *err)
{
	omb_wal_name name;
	neighbours n;
	char folder[32];

	if (omb_wal_name_parse(file, &name) != OMB_WAL_SEGMENT)
		return OMB_OK;
	memset(&n, 0, sizeof(n));
	n.segno = (uint64_t) name.log << 32 | name.seg;
	(void) snprintf(folder, sizeof(folder), OMB_WAL_FOLDER "/%08X",
					name.timeline);
	if (omb_store_list(repo->store, folder, true, look, &n, err) == OMB_OK &&
		n.before && n.after)
	{
		(void) omb_error_set(err, OMB_DAMAGED,
							 "WAL segment \"%s\" is missing although later "
							 "ones are in the repository",
							 file);
		omb_error_hint(err, "Recovery cannot go on behind the gap. Restore "
							"to an earlier target.");
	}
	return err->status;
}

omb_status
omb_wal_get(omb_repository *repo, const char *file, const char *path, int jobs,
			omb_error *err)
{
	omb_wal_object object;
	omb_error absent;
	char *temporary;
	int fd;

	if (omb_wal_find(repo, file, &object, err) != OMB_OK)
	{
		if (err->status != OMB_NOT_FOUND)
			return err->status;
		absent = *err;
		omb_error_clear(err);
		if (check_gap(repo, file, err) == OMB_OK)
			*err = absent;
		return err->status;
	}
	temporary = omb_format("%s.tmp", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   temporary);
	else
	{
		(void) fetch_object(repo, &object, fd, jobs, err);
		if (close(fd) != 0 && err->status == OMB_OK)
			(void) omb_error_set_errno(
				err, errno, "could not close file \"%s\"", temporary);
		if (err->status == OMB_OK && rename(temporary, path) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not rename file \"%s\"", temporary);
		if (err->status != OMB_OK)
			(void) unlink(temporary);
	}
	free(temporary);
	return err->status;
}
