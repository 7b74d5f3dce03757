/*
 * blobreader.c: open packs and plain blobs, least recently used first out.
 */
#include "repo/blobreader.h"

#include <stdlib.h>
#include <string.h>

#define PACKS_OPEN 8

typedef struct kept_pack
{
	omb_pack *pack; /* NULL: free */
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t used;
} kept_pack;

typedef struct kept_blob
{
	uint8_t *plain; /* NULL: never used */
	bool is_good;
	uint8_t sha256[OMB_SHA256_SIZE]; /* of the pack */
	omb_blob_ref ref;
	uint64_t used;
} kept_blob;

struct omb_blob_reader
{
	omb_repository *repo;
	omb_coder *coder;
	uint64_t clock;
	kept_pack pack[PACKS_OPEN];
	int kept;
	kept_blob *blob;
};

omb_blob_reader *
omb_blob_reader_new(omb_repository *repo, int kept)
{
	omb_blob_reader *reader = omb_calloc(1, sizeof(*reader));

	reader->repo = repo;
	reader->coder = omb_coder_new(NULL);
	reader->kept = kept;
	reader->blob = omb_calloc((size_t) kept, sizeof(kept_blob));
	return reader;
}

/* Every fact counts: a reference that lies must not be served from memory. */
static bool
is_blob(const kept_blob *b, const uint8_t *sha256, const omb_blob_ref *ref)
{
	return b->is_good && b->ref.index == ref->index &&
		   b->ref.offset == ref->offset && b->ref.stored == ref->stored &&
		   b->ref.raw == ref->raw && b->ref.method == ref->method &&
		   memcmp(b->sha256, sha256, OMB_SHA256_SIZE) == 0;
}

static omb_status
open_pack(omb_blob_reader *reader, const uint8_t *sha256, omb_pack **out,
		  omb_error *err)
{
	kept_pack *oldest = &reader->pack[0];
	int i;

	for (i = 0; i < PACKS_OPEN; i++)
	{
		kept_pack *p = &reader->pack[i];

		if (p->pack != NULL && memcmp(p->sha256, sha256, OMB_SHA256_SIZE) == 0)
		{
			p->used = ++reader->clock;
			*out = p->pack;
			return OMB_OK;
		}
		if (p->used < oldest->used)
			oldest = p;
	}
	omb_pack_close(oldest->pack);
	oldest->pack = NULL;
	if (omb_pack_open_again(reader->repo, sha256, &oldest->pack, err) !=
		OMB_OK)
		return err->status;
	memcpy(oldest->sha256, sha256, OMB_SHA256_SIZE);
	oldest->used = ++reader->clock;
	*out = oldest->pack;
	return OMB_OK;
}

omb_status
omb_blob_reader_get(omb_blob_reader *reader,
					const uint8_t sha256[OMB_SHA256_SIZE],
					const omb_blob_ref *ref, const uint8_t **plain,
					omb_error *err)
{
	kept_blob *oldest = &reader->blob[0];
	omb_pack *pack = NULL;
	int i;

	for (i = 0; i < reader->kept; i++)
	{
		kept_blob *b = &reader->blob[i];

		if (is_blob(b, sha256, ref))
		{
			b->used = ++reader->clock;
			*plain = b->plain;
			return OMB_OK;
		}
		if (b->used < oldest->used)
			oldest = b;
	}
	if (oldest->plain == NULL)
		oldest->plain = omb_malloc(OMB_BLOB_MAX);
	oldest->is_good = false;
	if (open_pack(reader, sha256, &pack, err) != OMB_OK ||
		omb_pack_read(pack, reader->coder, ref, oldest->plain, err) != OMB_OK)
		return err->status;
	oldest->is_good = true;
	oldest->ref = *ref;
	memcpy(oldest->sha256, sha256, OMB_SHA256_SIZE);
	oldest->used = ++reader->clock;
	*plain = oldest->plain;
	return OMB_OK;
}

omb_status
omb_blob_reader_read(omb_blob_reader *reader,
					 const uint8_t sha256[OMB_SHA256_SIZE],
					 const omb_blob_ref *ref, uint8_t *out, omb_error *err)
{
	omb_pack *pack = NULL;

	if (open_pack(reader, sha256, &pack, err) != OMB_OK)
		return err->status;
	return omb_pack_read(pack, reader->coder, ref, out, err);
}

void
omb_blob_reader_free(omb_blob_reader *reader)
{
	int i;

	if (reader == NULL)
		return;
	for (i = 0; i < PACKS_OPEN; i++)
		omb_pack_close(reader->pack[i].pack);
	for (i = 0; i < reader->kept; i++)
		free(reader->blob[i].plain);
	free(reader->blob);
	omb_coder_free(reader->coder);
	free(reader);
}
