/*
 * mirrorcopy.c: copying one object as it is from a store to another.
 */
#include "task/mirror/mirrorcopy.h"

#include "base/buffer.h"
#include "base/text.h"
#include "repo/revision.h"
#include "repo/walobject.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "omsupply"
#define MANIFEST_FOOTER 16

/* What can be said of an object while its bytes pass by. */
typedef struct shape
{
	char kind; /* OMB_KIND_*, or 0 for what has no header */
	const uint8_t *repository_id;
	uint8_t head[OMB_OBJECT_HEADER_SIZE]; /* a header, being gathered */
	size_t have;
	uint64_t skip;	 /* bytes up to the next header */
	uint64_t behind; /* bytes behind the last chunk */
	bool has_header;
	bool is_known; /* the format is one whose chunks we can follow */
	bool has_last;
	const char *fault;	  /* what is wrong, or NULL */
	omb_hash *hash;		  /* of a pack */
	const char *expected; /* its name, in hex */
} shape;

static bool
begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static bool
is_pack(const char *name)
{
	uint8_t sha256[OMB_SHA256_SIZE];

	return begins(name, "packs/") && strlen(name) > 9 && name[8] == '/' &&
		   omb_hex_parse(name + 9, sha256, sizeof(sha256)) &&
		   strncmp(name + 6, name + 9, 2) == 0;
}

bool
omb_mirror_is_object(const char *name)
{
	omb_revision revision;
	omb_wal_object wal;

	return strcmp(name, "repository") == 0 || begins(name, "keys/") ||
		   begins(name, "marks/") || is_pack(name) ||
		   omb_revision_parse(name, &revision) ||
		   omb_wal_object_parse(name, &wal);
}

static void
shape_begin(shape *s, const char *name, const uint8_t *repository_id)
{
	memset(s, 0, sizeof(*s));
	s->repository_id = repository_id;
	if (begins(name, "packs/"))
	{
		s->kind = OMB_KIND_PACK;
		s->hash = omb_hash_new();
		omb_hash_begin(s->hash, NULL, 0);
		s->expected = strrchr(name, '/') + 1;
	}
	else if (begins(name, "backups/"))
		s->kind = OMB_KIND_MANIFEST;
	else if (begins(name, "wal/"))
		s->kind = OMB_KIND_WAL;
	else if (begins(name, "marks/"))
		s->kind = OMB_KIND_MARK;
}

/* The header of the object, or that of a chunk, is complete. */
static void
shape_header(shape *s)
{
	uint32_t sealed = omb_get_u32(s->head);

	if (!s->has_header)
	{
		s->has_header = true;
		s->is_known = s->kind != OMB_KIND_PACK && s->head[9] == 1;
		if (memcmp(s->head, MAGIC, 8) != 0 || s->head[8] != (uint8_t) s->kind)
			s->fault = "it is not what its name says";
		else if (memcmp(s->head + 16, s->repository_id,
						OMB_REPOSITORY_ID_SIZE) != 0)
			s->fault = "it is of another repository";
	}
	else if (sealed > OMB_SEALED_MAX(OMB_BLOB_MAX) ||
			 omb_get_u32(s->head + 4) > OMB_BLOB_MAX || s->head[9] > 1 ||
			 omb_get_u16(s->head + 10) != 0)
		s->fault = "a chunk header is damaged";
	else
	{
		s->skip = sealed;
		s->has_last = s->head[9] == 1;
	}
	s->have = 0;
}

static void
shape_update(shape *s, const uint8_t *data, size_t len)
{
	if (s->hash != NULL)
		omb_hash_update(s->hash, data, len);
	while (len > 0 && s->kind != 0 && s->fault == NULL)
	{
		size_t need =
			(s->has_header ? OMB_CHUNK_HEADER_SIZE : OMB_OBJECT_HEADER_SIZE) -
			s->have;
		size_t take = need < len ? need : len;

		if (s->has_header && !s->is_known)
			return;
		if (s->skip > 0)
		{
			take = s->skip < len ? (size_t) s->skip : len;
			s->skip -= take;
		}
		else if (s->has_last)
		{
			take = len;
			s->behind += len;
		}
		else
		{
			memcpy(s->head + s->have, data, take);
			s->have += take;
			if (take == need)
				shape_header(s);
		}
		data += take;
		len -= take;
	}
}

/* All bytes have passed: what is wrong with them, or NULL. Ends the shape. */
static const char *
shape_end(shape *s)
{
	uint8_t sha256[OMB_SHA256_SIZE];
	char hex[2 * OMB_SHA256_SIZE + 1];
	uint64_t footer = s->kind == OMB_KIND_MANIFEST ? MANIFEST_FOOTER : 0;

	if (s->hash != NULL)
	{
		omb_hash_final(s->hash, sha256);
		omb_hash_free(s->hash);
		if (strcmp(omb_hex_format(sha256, sizeof(sha256), hex), s->expected) !=
			0)
			return "its SHA-256 is not its name";
	}
	if (s->fault != NULL || s->kind == 0)
		return s->fault;
	if (!s->has_header)
		return "it is cut short";
	if (s->is_known &&
		(!s->has_last || s->skip > 0 || s->behind != footer || s->have > 0))
		return s->behind > footer ? "it is too long" : "it is cut short";
	return NULL;
}

/* Pass all bytes of an object through the shape and to an upload, if any. */
static omb_status
pass(const omb_mirror_route *route, omb_object *object, const char *name,
	 omb_upload *upload, uint8_t *piece, omb_mirror_copied *copied,
	 omb_error *err)
{
	uint64_t offset = 0;
	const char *fault;
	shape s;

	shape_begin(&s, name, route->repository_id);
	while (offset < object->size && err->status == OMB_OK)
	{
		size_t len = object->size - offset < OMB_MIRROR_PIECE ?
						 (size_t) (object->size - offset) :
						 OMB_MIRROR_PIECE;

		if (omb_object_read(object, offset, piece, len, err) != OMB_OK)
			break;
		shape_update(&s, piece, len);
		if (route->throttle != NULL)
			omb_throttle_wait(route->throttle, len);
		if (upload != NULL)
			(void) omb_upload_write(upload, piece, len, err);
		offset += len;
	}
	fault = shape_end(&s);
	if (err->status == OMB_OK && fault != NULL)
	{
		copied->bad_source = true;
		(void) omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" of \"%s\" is damaged: %s", name,
							 route->from->location, fault);
	}
	return err->status;
}

/* It is at the target already: is it the same, as far as one can see? */
static omb_status
look_at_target(const omb_mirror_route *route, const char *name,
			   omb_mirror_copied *copied, omb_error *err)
{
	omb_object *object;
	omb_revision revision;

	copied->was_there = true;
	if (omb_store_open(route->to, name, &object, err) != OMB_OK)
		return err->status;
	/* prune at the target writes revisions of its own */
	if (object->size != copied->size && !omb_revision_parse(name, &revision))
		(void) omb_error_set(err, OMB_DAMAGED,
							 "object \"%s\" has %" PRIu64 " bytes at \"%s\" "
							 "instead of %" PRIu64,
							 name, object->size, route->to->location,
							 copied->size);
	omb_object_close(object);
	/* whoever has put it there may have been killed before it was durable */
	if (err->status == OMB_OK)
		(void) omb_store_confirm(route->to, name, err);
	return err->status;
}

omb_status
omb_mirror_copy(const omb_mirror_route *route, const char *name,
				uint8_t *piece, omb_mirror_copied *copied, omb_error *err)
{
	omb_object *object;
	omb_upload *upload = NULL;

	memset(copied, 0, sizeof(*copied));
	if (omb_store_open(route->from, name, &object, err) != OMB_OK)
	{
		copied->vanished = err->status == OMB_NOT_FOUND;
		return err->status;
	}
	copied->size = object->size;
	if (route->to != NULL)
		(void) omb_store_create(route->to, &upload, err);
	if (err->status == OMB_OK)
		(void) pass(route, object, name, upload, piece, copied, err);
	omb_object_close(object);
	if (err->status != OMB_OK)
		omb_upload_abort(upload);
	else if (upload != NULL &&
			 omb_upload_commit(upload, name, err) == OMB_EXISTS)
	{
		omb_error_clear(err);
		(void) look_at_target(route, name, copied, err);
	}
	return err->status;
}

omb_status
omb_mirror_hash(omb_store *store, const char *name, uint8_t *piece,
				uint8_t sha256[OMB_SHA256_SIZE], omb_error *err)
{
	omb_object *object;
	omb_hash *hash;
	uint64_t offset = 0;

	if (omb_store_open(store, name, &object, err) != OMB_OK)
		return err->status;
	hash = omb_hash_new();
	omb_hash_begin(hash, NULL, 0);
	while (offset < object->size && err->status == OMB_OK)
	{
		size_t len = object->size - offset < OMB_MIRROR_PIECE ?
						 (size_t) (object->size - offset) :
						 OMB_MIRROR_PIECE;

		if (omb_object_read(object, offset, piece, len, err) == OMB_OK)
			omb_hash_update(hash, piece, len);
		offset += len;
	}
	omb_hash_final(hash, sha256);
	omb_hash_free(hash);
	omb_object_close(object);
	return err->status;
}
