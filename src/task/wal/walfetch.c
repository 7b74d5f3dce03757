/*
 * walfetch.c: the plain bytes of one archived WAL file, into a file.
 *
 * The calling thread and its helpers all do the same: take the next few
 * chunks of the object, open them, write them to their place in the file. So
 * no chunk is handed from thread to thread, and while one writes, which only
 * one can do to a file, the others open chunks. A megabyte is written at a
 * time: the page cache then takes large pages for it, which is what most of
 * the time goes into.
 */
#include "task/wal/walfetch.h"

#include "base/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Chunks in one go: 1 MiB. */
#define BATCH 8
#define SEALED_MAX ((size_t) BATCH * OMB_CHUNK_MAX)
#define PLAIN_MAX ((size_t) BATCH * OMB_BLOB_MAX)

/* Objects below this size are not worth a thread. */
#define THREADS_MIN (1024 * 1024)

typedef struct worker
{
	omb_wal_fetcher *fetcher;
	omb_coder *coder;
	uint8_t *sealed;
	uint8_t *plain;

	/* the batch in hand */
	omb_chunk chunk[BATCH];
	int count;
	uint64_t index; /* of the first chunk */
	uint64_t place; /* of its first plain byte in the file */
	omb_error error;
} worker;

struct omb_wal_fetcher
{
	omb_repository *repo;
	int jobs;
	worker *workers;

	/* the object in hand */
	omb_object *object;
	omb_object_key key;
	omb_wal_facts facts;
	int fd;

	pthread_mutex_t lock; /* of what follows */
	uint64_t offset;	  /* of the next chunk */
	uint64_t index;
	uint64_t place;
	size_t expected; /* sealed bytes that will make a batch */
	bool done;		 /* the last chunk was taken, or there was an error */
};

omb_wal_fetcher *
omb_wal_fetcher_new(omb_repository *repo, int jobs)
{
	omb_wal_fetcher *fetcher = omb_calloc(1, sizeof(*fetcher));

	fetcher->repo = repo;
	fetcher->jobs = jobs;
	fetcher->workers = omb_calloc((size_t) jobs, sizeof(worker));
	(void) pthread_mutex_init(&fetcher->lock, NULL);
	return fetcher;
}

void
omb_wal_fetcher_free(omb_wal_fetcher *fetcher)
{
	int i;

	if (fetcher == NULL)
		return;
	for (i = 0; i < fetcher->jobs; i++)
	{
		omb_coder_free(fetcher->workers[i].coder);
		free(fetcher->workers[i].sealed);
		free(fetcher->workers[i].plain);
	}
	(void) pthread_mutex_destroy(&fetcher->lock);
	free(fetcher->workers);
	free(fetcher);
}

/* Contexts and memory are made for the workers that get something to do. */
static void
prepare_worker(omb_wal_fetcher *fetcher, worker *w)
{
	if (w->coder == NULL)
	{
		w->fetcher = fetcher;
		w->coder = omb_coder_new(NULL);
		w->sealed = omb_malloc(SEALED_MAX);
		w->plain = omb_malloc(PLAIN_MAX);
	}
	omb_error_clear(&w->error);
}

/* Read sealed bytes at the fetcher's offset: at least one whole chunk. */
static omb_status
read_sealed(const omb_wal_fetcher *fetcher, worker *w, size_t *len,
			omb_error *err)
{
	uint64_t left = fetcher->object->size - fetcher->offset;
	size_t have = left < fetcher->expected ? (size_t) left : fetcher->expected;
	size_t first;

	if (omb_object_read(fetcher->object, fetcher->offset, w->sealed, have,
						err) != OMB_OK)
		return err->status;
	*len = have;
	if (have < OMB_CHUNK_HEADER_SIZE)
		return OMB_OK;
	first = OMB_CHUNK_HEADER_SIZE + (size_t) omb_get_u32(w->sealed);
	if (first <= have || first > OMB_CHUNK_MAX || first > left)
		return OMB_OK;
	*len = first;
	return omb_object_read(fetcher->object, fetcher->offset + have,
						   w->sealed + have, first - have, err);
}

/* Take the next chunks for a worker; the lock is held. */
static omb_status
take_batch(omb_wal_fetcher *fetcher, worker *w, omb_error *err)
{
	size_t used = 0;
	size_t len;
	bool last = false;

	w->count = 0;
	w->index = fetcher->index;
	w->place = fetcher->place;
	if (read_sealed(fetcher, w, &len, err) != OMB_OK)
		return err->status;
	while (w->count < BATCH && !last)
	{
		omb_chunk *chunk = &w->chunk[w->count];

		/* the rest of a chunk comes with the next batch */
		if (w->count > 0 && (len - used < OMB_CHUNK_HEADER_SIZE ||
							 len - used - OMB_CHUNK_HEADER_SIZE <
								 omb_get_u32(w->sealed + used)))
			break;
		if (omb_chunk_parse(w->sealed + used, len - used, chunk, err) !=
			OMB_OK)
			return err->status;
		used += OMB_CHUNK_HEADER_SIZE + chunk->sealed_size;
		fetcher->place += chunk->raw_size;
		last = chunk->last;
		w->count++;
	}
	fetcher->index += (uint64_t) w->count;
	fetcher->offset += used;
	fetcher->done = last;
	/* a little more than this time; chunks read in part are read again */
	fetcher->expected = used + used / 8 + OMB_CHUNK_HEADER_SIZE;
	if (w->count < BATCH || fetcher->expected > SEALED_MAX)
		fetcher->expected = SEALED_MAX;
	if (last && fetcher->offset != fetcher->object->size)
		return omb_error_set(err, OMB_DAMAGED, "bytes follow the last chunk");
	if (fetcher->place > fetcher->facts.size ||
		(last && fetcher->place != fetcher->facts.size))
		return omb_error_set(err, OMB_DAMAGED,
							 "it has another size than its facts say");
	return OMB_OK;
}

/* Open a worker's chunks and write them. */
static omb_status
write_batch(const omb_wal_fetcher *fetcher, worker *w, omb_error *err)
{
	size_t len = 0;
	int i;

	for (i = 0; i < w->count; i++)
	{
		const omb_chunk *chunk = &w->chunk[i];

		if (omb_coder_decode(w->coder, &fetcher->key, w->index + (uint64_t) i,
							 chunk->last, chunk->method, chunk->sealed,
							 chunk->sealed_size, w->plain + len,
							 chunk->raw_size, err) != OMB_OK)
			return err->status;
		len += chunk->raw_size;
	}
	if (omb_pwrite_full(fetcher->fd, w->plain, len, (off_t) w->place) != 0)
		return omb_error_set_errno(err, errno, "could not write");
	return OMB_OK;
}

static void *
worker_main(void *arg)
{
	worker *w = arg;
	omb_wal_fetcher *fetcher = w->fetcher;
	bool taken;

	do
	{
		(void) pthread_mutex_lock(&fetcher->lock);
		taken = !fetcher->done && take_batch(fetcher, w, &w->error) == OMB_OK;
		(void) pthread_mutex_unlock(&fetcher->lock);
		if (taken)
			(void) write_batch(fetcher, w, &w->error);
	} while (taken && w->error.status == OMB_OK);
	if (w->error.status != OMB_OK)
	{
		(void) pthread_mutex_lock(&fetcher->lock);
		fetcher->done = true;
		(void) pthread_mutex_unlock(&fetcher->lock);
	}
	return NULL;
}

/* Header and facts: the key and what the object says it is. */
static omb_status
read_head(omb_wal_fetcher *fetcher, const omb_wal_object *wanted, worker *w,
		  omb_error *err)
{
	uint8_t header[OMB_OBJECT_HEADER_SIZE];
	omb_chunk chunk;
	size_t len;

	if (omb_object_read(fetcher->object, 0, header, sizeof(header), err) !=
			OMB_OK ||
		omb_object_open(&fetcher->repo->keyring, OMB_KIND_WAL, header,
						&fetcher->key, err) != OMB_OK)
		return err->status;
	fetcher->offset = sizeof(header);
	/* the facts are short, and what follows is read with them and kept */
	fetcher->expected = 4096;
	if (read_sealed(fetcher, w, &len, err) != OMB_OK ||
		omb_chunk_parse(w->sealed, len, &chunk, err) != OMB_OK ||
		omb_coder_decode(w->coder, &fetcher->key, 0, chunk.last, chunk.method,
						 chunk.sealed, chunk.sealed_size, w->plain,
						 chunk.raw_size, err) != OMB_OK ||
		omb_wal_facts_read(w->plain, chunk.raw_size, &fetcher->facts, err) !=
			OMB_OK)
		return err->status;
	if (strcmp(fetcher->facts.file, wanted->file) != 0)
		return omb_error_set(err, OMB_DAMAGED, "it holds file \"%s\"",
							 fetcher->facts.file);
	fetcher->offset += OMB_CHUNK_HEADER_SIZE + chunk.sealed_size;
	fetcher->index = 1;
	fetcher->place = 0;
	fetcher->done = chunk.last;
	fetcher->expected = SEALED_MAX;
	if (chunk.last &&
		(fetcher->offset != fetcher->object->size || fetcher->facts.size != 0))
		return omb_error_set(err, OMB_DAMAGED, "it is not what its facts say");
	return OMB_OK;
}

/* All chunks behind the facts, by this thread and helpers. */
static omb_status
run_workers(omb_wal_fetcher *fetcher, omb_error *err)
{
	pthread_t thread[8];
	int helpers = 0;
	int i;

	while (fetcher->object->size >= THREADS_MIN &&
		   helpers + 1 < fetcher->jobs &&
		   helpers < (int) (sizeof(thread) / sizeof(thread[0])))
	{
		worker *w = &fetcher->workers[helpers + 1];

		prepare_worker(fetcher, w);
		/* without a helper it takes longer, that is all */
		if (pthread_create(&thread[helpers], NULL, worker_main, w) != 0)
			break;
		helpers++;
	}
	(void) worker_main(&fetcher->workers[0]);
	for (i = 0; i < helpers; i++)
		(void) pthread_join(thread[i], NULL);
	for (i = 0; i <= helpers && err->status == OMB_OK; i++)
		*err = fetcher->workers[i].error;
	return err->status;
}

omb_status
omb_wal_fetch(omb_wal_fetcher *fetcher, const omb_wal_object *object, int fd,
			  uint64_t *size, omb_error *err)
{
	char *name = omb_wal_object_name(object);

	fetcher->fd = fd;
	fetcher->object = NULL;
	prepare_worker(fetcher, &fetcher->workers[0]);
	if (omb_store_open(fetcher->repo->store, name, &fetcher->object, err) ==
			OMB_OK &&
		read_head(fetcher, object, &fetcher->workers[0], err) == OMB_OK &&
		run_workers(fetcher, err) == OMB_OK)
		*size = fetcher->facts.size;
	omb_object_close(fetcher->object);
	omb_wipe(&fetcher->key, sizeof(fetcher->key));
	if (err->status == OMB_NOT_FOUND)
		err->status = OMB_FAILED;
	if (err->status != OMB_OK)
		(void) omb_error_context(err, "object \"%s\"", name);
	free(name);
	return err->status;
}
