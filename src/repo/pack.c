/*
 * pack.c: writing and reading packs.
 */
#include "repo/pack.h"

#include "base/text.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TRAILER_INDEX UINT64_MAX
#define TRAILER_ENTRY_SHORT 9
#define TRAILER_ENTRY (TRAILER_ENTRY_SHORT + OMB_CONTENT_ID_SIZE)
#define FOOTER_SIZE 16

struct omb_pack_table
{
	pthread_mutex_t lock;
	uint32_t count;
	uint32_t cap;
	omb_pack_id *pack;
	omb_unfinished *journal;
};

struct omb_pack_writer
{
	omb_repository *repo;
	omb_pack_table *table;
	omb_fingerprinter *fingerprinter;
	omb_coder *coder;
	omb_hash *hash;
	omb_upload *upload; /* of the pack in hand, or NULL */
	omb_object_key key;
	uint32_t number;
	uint32_t blobs;
	uint32_t size;
	omb_buf trailer;
	uint8_t sealed[OMB_SEALED_MAX(OMB_BLOB_MAX)];
};

struct omb_pack
{
	omb_object *object;
	omb_object_key key;
	uint8_t sha256[OMB_SHA256_SIZE];
	uint8_t sealed[OMB_SEALED_MAX(OMB_BLOB_MAX)];
};

omb_pack_table *
omb_pack_table_new(void)
{
	omb_pack_table *table = omb_calloc(1, sizeof(*table));

	(void) pthread_mutex_init(&table->lock, NULL);
	return table;
}

void
omb_pack_table_set_journal(omb_pack_table *table, omb_unfinished *journal)
{
	table->journal = journal;
}

uint32_t
omb_pack_table_count(omb_pack_table *table)
{
	uint32_t count;

	(void) pthread_mutex_lock(&table->lock);
	count = table->count;
	(void) pthread_mutex_unlock(&table->lock);
	return count;
}

omb_pack_id
omb_pack_table_get(omb_pack_table *table, uint32_t number)
{
	omb_pack_id id;

	(void) pthread_mutex_lock(&table->lock);
	id = table->pack[number];
	(void) pthread_mutex_unlock(&table->lock);
	return id;
}

void
omb_pack_table_free(omb_pack_table *table)
{
	if (table == NULL)
		return;
	(void) pthread_mutex_destroy(&table->lock);
	free(table->pack);
	free(table);
}

static uint32_t
table_reserve(omb_pack_table *table)
{
	uint32_t number;

	(void) pthread_mutex_lock(&table->lock);
	if (table->count == table->cap)
	{
		table->cap = table->cap ? 2 * table->cap : 64;
		table->pack =
			omb_realloc(table->pack, table->cap * sizeof(omb_pack_id));
	}
	number = table->count++;
	memset(&table->pack[number], 0, sizeof(omb_pack_id));
	(void) pthread_mutex_unlock(&table->lock);
	return number;
}

static void
table_set(omb_pack_table *table, uint32_t number, const omb_pack_id *id)
{
	(void) pthread_mutex_lock(&table->lock);
	table->pack[number] = *id;
	(void) pthread_mutex_unlock(&table->lock);
}

uint32_t
omb_pack_table_add(omb_pack_table *table, const omb_pack_id *id)
{
	uint32_t number = table_reserve(table);

	table_set(table, number, id);
	return number;
}

char *
omb_pack_name(const uint8_t sha256[OMB_SHA256_SIZE])
{
	char hex[2 * OMB_SHA256_SIZE + 1];

	(void) omb_hex_format(sha256, OMB_SHA256_SIZE, hex);
	return omb_format("packs/%.2s/%s", hex, hex);
}

omb_pack_writer *
omb_pack_writer_new(omb_repository *repo, const omb_compression *compression,
					omb_pack_table *table)
{
	omb_pack_writer *writer = omb_calloc(1, sizeof(*writer));

	writer->repo = repo;
	writer->table = table;
	writer->fingerprinter = omb_fingerprinter_new(&repo->keyring);
	writer->coder = omb_coder_new(compression);
	writer->hash = omb_hash_new();
	return writer;
}

/* Append bytes to the pack in hand and to the hash that will name it. */
static omb_status
append(omb_pack_writer *writer, const void *data, size_t len, omb_error *err)
{
	omb_hash_update(writer->hash, data, len);
	writer->size += (uint32_t) len;
	return omb_upload_write(writer->upload, data, len, err);
}

static omb_status
begin_pack(omb_pack_writer *writer, omb_error *err)
{
	uint8_t header[OMB_OBJECT_HEADER_SIZE];

	if (omb_store_create(writer->repo->store, &writer->upload, err) != OMB_OK)
		return err->status;
	omb_object_begin(&writer->repo->keyring, OMB_KIND_PACK, header,
					 &writer->key);
	writer->number = table_reserve(writer->table);
	writer->blobs = 0;
	writer->size = 0;
	omb_buf_clear(&writer->trailer);
	omb_hash_begin(writer->hash, NULL, 0);
	return append(writer, header, sizeof(header), err);
}

omb_status
omb_pack_add(omb_pack_writer *writer, const void *plain, size_t len,
			 omb_blob_ref *ref, omb_error *err)
{
	uint64_t fingerprint[OMB_FINGERPRINT_BLOCKS];
	uint8_t id[OMB_CONTENT_ID_SIZE];

	omb_content_id(
		writer->fingerprinter, fingerprint,
		omb_fingerprint(writer->fingerprinter, plain, len, fingerprint), id);
	return omb_pack_add_known(writer, plain, len, id, ref, err);
}

omb_status
omb_pack_add_known(omb_pack_writer *writer, const void *plain, size_t len,
				   const uint8_t id[OMB_CONTENT_ID_SIZE], omb_blob_ref *ref,
				   omb_error *err)
{
	size_t size;

	if (writer->upload == NULL && begin_pack(writer, err) != OMB_OK)
		return err->status;
	size = omb_coder_encode(writer->coder, &writer->key, writer->blobs, false,
							plain, len, writer->sealed, &ref->method);
	ref->pack = writer->number;
	ref->index = writer->blobs;
	ref->offset = writer->size;
	ref->stored = (uint32_t) size;
	ref->raw = (uint32_t) len;
	if (append(writer, writer->sealed, size, err) != OMB_OK)
		return err->status;
	omb_buf_put_u32(&writer->trailer, ref->stored);
	omb_buf_put_u32(&writer->trailer, ref->raw);
	omb_buf_put_u8(&writer->trailer, ref->method);
	omb_buf_put(&writer->trailer, id, OMB_CONTENT_ID_SIZE);
	writer->blobs++;
	if (writer->size >= OMB_PACK_SIZE || writer->blobs == OMB_PACK_BLOBS)
		return omb_pack_finish(writer, err);
	return OMB_OK;
}

omb_status
omb_pack_finish(omb_pack_writer *writer, omb_error *err)
{
	uint8_t footer[FOOTER_SIZE];
	uint8_t method;
	size_t size;
	omb_pack_id id;
	char *name;
	omb_upload *upload = writer->upload;

	if (upload == NULL)
		return OMB_OK;
	size = omb_coder_encode(writer->coder, &writer->key, TRAILER_INDEX, true,
							writer->trailer.data, writer->trailer.len,
							writer->sealed, &method);
	memset(footer, 0, sizeof(footer));
	omb_set_u32(footer, (uint32_t) size);
	omb_set_u32(footer + 4, (uint32_t) writer->trailer.len);
	footer[8] = method;
	omb_set_u32(footer + 12, writer->blobs);
	if (append(writer, writer->sealed, size, err) != OMB_OK ||
		append(writer, footer, sizeof(footer), err) != OMB_OK)
		return err->status;
	omb_hash_final(writer->hash, id.sha256);
	id.size = writer->size;
	name = omb_pack_name(id.sha256);
	writer->upload = NULL;
	if (omb_upload_commit(upload, name, err) == OMB_OK)
	{
		table_set(writer->table, writer->number, &id);
		(void) omb_unfinished_append(writer->table->journal, id.sha256, err);
	}
	free(name);
	return err->status;
}

void
omb_pack_writer_free(omb_pack_writer *writer)
{
	if (writer == NULL)
		return;
	omb_upload_abort(writer->upload);
	omb_fingerprinter_free(writer->fingerprinter);
	omb_coder_free(writer->coder);
	omb_hash_free(writer->hash);
	omb_buf_free(&writer->trailer);
	omb_wipe(&writer->key, sizeof(writer->key));
	free(writer);
}

/* Put the pack's name in front of an error about it. */
static omb_status
pack_error(const omb_pack *pack, omb_error *err)
{
	char hex[2 * OMB_SHA256_SIZE + 1];

	return omb_error_context(
		err, "pack \"%s\"",
		omb_hex_format(pack->sha256, OMB_SHA256_SIZE, hex));
}

/* Open the object, whose key is not known yet. */
static omb_status
open_object(omb_repository *repo, const uint8_t *sha256, omb_pack **out,
			omb_error *err)
{
	char *name = omb_pack_name(sha256);
	omb_object *object;

	*out = NULL;
	(void) omb_store_open(repo->store, name, &object, err);
	if (err->status == OMB_NOT_FOUND)
		(void) omb_error_set(err, OMB_NOT_FOUND, "object \"%s\" is missing",
							 name);
	free(name);
	if (err->status != OMB_OK)
		return err->status;
	*out = omb_malloc(sizeof(**out));
	(*out)->object = object;
	memcpy((*out)->sha256, sha256, OMB_SHA256_SIZE);
	return OMB_OK;
}

/* Learn the key from the header; a pack where that fails is closed. */
static omb_status
read_header(omb_repository *repo, omb_pack **pack, omb_error *err)
{
	uint8_t header[OMB_OBJECT_HEADER_SIZE];

	if (omb_object_read((*pack)->object, 0, header, sizeof(header), err) !=
			OMB_OK ||
		omb_object_open(&repo->keyring, OMB_KIND_PACK, header, &(*pack)->key,
						err) != OMB_OK)
	{
		(void) pack_error(*pack, err);
		omb_pack_close(*pack);
		*pack = NULL;
	}
	return err->status;
}

omb_status
omb_pack_open(omb_repository *repo, const uint8_t sha256[OMB_SHA256_SIZE],
			  omb_pack **out, omb_error *err)
{
	if (open_object(repo, sha256, out, err) == OMB_OK)
		(void) read_header(repo, out, err);
	return err->status;
}

omb_status
omb_pack_open_again(omb_repository *repo,
					const uint8_t sha256[OMB_SHA256_SIZE], omb_pack **out,
					omb_error *err)
{
	if (open_object(repo, sha256, out, err) == OMB_OK &&
		!omb_pack_keys_find(repo->pack_keys, sha256, &(*out)->key) &&
		read_header(repo, out, err) == OMB_OK)
		omb_pack_keys_note(repo->pack_keys, sha256, &(*out)->key);
	return err->status;
}

/* Read one blob; errors do not name the pack yet. */
static omb_status
read_blob(omb_pack *pack, omb_coder *coder, const omb_blob_ref *ref,
		  uint8_t *out, omb_error *err)
{
	if (ref->stored > sizeof(pack->sealed))
		return omb_error_set(err, OMB_DAMAGED, "a blob is too large");
	if (omb_object_read(pack->object, ref->offset, pack->sealed, ref->stored,
						err) != OMB_OK ||
		omb_coder_decode(coder, &pack->key, ref->index, false, ref->method,
						 pack->sealed, ref->stored, out, ref->raw,
						 err) != OMB_OK)
		return omb_error_context(err, "blob %u", ref->index);
	return OMB_OK;
}

omb_status
omb_pack_read(omb_pack *pack, omb_coder *coder, const omb_blob_ref *ref,
			  uint8_t *out, omb_error *err)
{
	if (read_blob(pack, coder, ref, out, err) != OMB_OK)
		return pack_error(pack, err);
	return OMB_OK;
}

/*
 * Read and check the trailer into plain; tells the number of blobs and the
 * size of what is said about each.
 */
static omb_status
read_trailer(omb_pack *pack, omb_coder *coder, uint8_t *plain, uint32_t *blobs,
			 uint32_t *entry_size, omb_error *err)
{
	uint8_t footer[FOOTER_SIZE];
	uint64_t size = pack->object->size;
	uint64_t end = OMB_OBJECT_HEADER_SIZE;
	uint32_t sealed_size, raw_size, i;

	if (size < OMB_OBJECT_HEADER_SIZE + FOOTER_SIZE || size > UINT32_MAX)
		return omb_error_set(err, OMB_DAMAGED, "its size is impossible");
	if (omb_object_read(pack->object, size - FOOTER_SIZE, footer, FOOTER_SIZE,
						err) != OMB_OK)
		return err->status;
	sealed_size = omb_get_u32(footer);
	raw_size = omb_get_u32(footer + 4);
	*blobs = omb_get_u32(footer + 12);
	*entry_size = *blobs > 0 ? raw_size / *blobs : TRAILER_ENTRY;
	if (*blobs > OMB_PACK_BLOBS_MAX || raw_size > OMB_BLOB_MAX ||
		raw_size != *blobs * *entry_size ||
		(*entry_size != TRAILER_ENTRY && *entry_size != TRAILER_ENTRY_SHORT) ||
		sealed_size > OMB_SEALED_MAX(raw_size) ||
		sealed_size > size - OMB_OBJECT_HEADER_SIZE - FOOTER_SIZE)
		return omb_error_set(err, OMB_DAMAGED, "the footer is damaged");
	if (omb_object_read(pack->object, size - FOOTER_SIZE - sealed_size,
						pack->sealed, sealed_size, err) != OMB_OK ||
		omb_coder_decode(coder, &pack->key, TRAILER_INDEX, true, footer[8],
						 pack->sealed, sealed_size, plain, raw_size,
						 err) != OMB_OK)
		return omb_error_context(err, "trailer");
	for (i = 0; i < *blobs; i++)
		end += omb_get_u32(plain + i * *entry_size);
	if (end != size - FOOTER_SIZE - sealed_size)
		return omb_error_set(err, OMB_DAMAGED,
							 "the blobs do not fill it exactly");
	return OMB_OK;
}

/* Visit all blobs, with their bytes when out is given. */
static omb_status
walk_blobs(omb_pack *pack, omb_coder *coder, uint8_t *out,
		   omb_pack_visit visit, omb_pack_content_visit visit_content,
		   void *arg, omb_error *err)
{
	uint8_t *trailer = omb_malloc(OMB_BLOB_MAX);
	omb_blob_ref ref;
	uint32_t blobs = 0;
	uint32_t size = 0;
	uint32_t i;

	memset(&ref, 0, sizeof(ref));
	ref.offset = OMB_OBJECT_HEADER_SIZE;
	if (read_trailer(pack, coder, trailer, &blobs, &size, err) != OMB_OK)
		goto done;
	for (i = 0; i < blobs; i++)
	{
		const uint8_t *entry = trailer + i * size;

		ref.index = i;
		ref.stored = omb_get_u32(entry);
		ref.raw = omb_get_u32(entry + 4);
		ref.method = entry[8];
		if (out != NULL && read_blob(pack, coder, &ref, out, err) != OMB_OK)
			goto done;
		if (visit != NULL && visit(&ref, out, arg, err) != OMB_OK)
			goto done;
		if (visit_content != NULL && size == TRAILER_ENTRY &&
			visit_content(&ref, entry + TRAILER_ENTRY_SHORT, arg, err) !=
				OMB_OK)
			goto done;
		ref.offset += ref.stored;
	}

done:
	free(trailer);
	return err->status;
}

omb_status
omb_pack_list(omb_pack *pack, omb_coder *coder, omb_pack_visit visit,
			  void *arg, omb_error *err)
{
	if (walk_blobs(pack, coder, NULL, visit, NULL, arg, err) != OMB_OK)
		return pack_error(pack, err);
	return OMB_OK;
}

omb_status
omb_pack_list_contents(omb_pack *pack, omb_coder *coder,
					   omb_pack_content_visit visit, void *arg, omb_error *err)
{
	if (walk_blobs(pack, coder, NULL, NULL, visit, arg, err) != OMB_OK)
		return pack_error(pack, err);
	return OMB_OK;
}

/* Compare the name with the SHA-256 of all bytes. */
static omb_status
check_name(omb_pack *pack, omb_error *err)
{
	omb_hash *hash = omb_hash_new();
	uint8_t digest[OMB_SHA256_SIZE];
	uint64_t offset = 0;

	omb_hash_begin(hash, NULL, 0);
	while (offset < pack->object->size && err->status == OMB_OK)
	{
		uint64_t left = pack->object->size - offset;
		size_t part =
			left < sizeof(pack->sealed) ? (size_t) left : sizeof(pack->sealed);

		if (omb_object_read(pack->object, offset, pack->sealed, part, err) ==
			OMB_OK)
			omb_hash_update(hash, pack->sealed, part);
		offset += part;
	}
	omb_hash_final(hash, digest);
	omb_hash_free(hash);
	if (err->status == OMB_OK &&
		memcmp(digest, pack->sha256, sizeof(digest)) != 0)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "its bytes do not have the SHA-256 of its name");
	return err->status;
}

omb_status
omb_pack_verify(omb_pack *pack, omb_coder *coder, omb_error *err)
{
	uint8_t *plain = omb_malloc(OMB_BLOB_MAX);

	if (check_name(pack, err) != OMB_OK ||
		walk_blobs(pack, coder, plain, NULL, NULL, NULL, err) != OMB_OK)
		(void) pack_error(pack, err);
	free(plain);
	return err->status;
}

uint64_t
omb_pack_size(const omb_pack *pack)
{
	return pack->object->size;
}

void
omb_pack_close(omb_pack *pack)
{
	if (pack == NULL)
		return;
	omb_object_close(pack->object);
	omb_wipe(&pack->key, sizeof(pack->key));
	free(pack);
}
