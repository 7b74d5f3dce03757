/*
 * stream.c: writing and reading sealed streams.
 */
#include "repo/stream.h"

#include <stdlib.h>
#include <string.h>

struct omb_stream_writer
{
	omb_upload *upload;
	omb_coder *coder;
	omb_object_key key;
	uint64_t index;	 /* of the chunk in hand */
	uint64_t stored; /* bytes of the object so far */
	size_t len;		 /* plain bytes in hand */
	uint8_t plain[OMB_BLOB_MAX];
	uint8_t chunk[OMB_CHUNK_MAX];
};

struct omb_stream_reader
{
	omb_object *object;
	char *name;
	omb_coder *coder;
	omb_object_key key;
	uint64_t end; /* where the footer begins */
	uint64_t offset;
	uint64_t index;
	uint8_t plain[OMB_BLOB_MAX];
	uint8_t chunk[OMB_CHUNK_MAX];
};

size_t
omb_chunk_encode(omb_coder *coder, const omb_object_key *key, uint64_t index,
				 bool last, const void *plain, size_t len, uint8_t *out)
{
	uint8_t method;
	size_t size = omb_coder_encode(coder, key, index, last, plain, len,
								   out + OMB_CHUNK_HEADER_SIZE, &method);

	omb_set_u32(out, (uint32_t) size);
	omb_set_u32(out + 4, (uint32_t) len);
	out[8] = method;
	out[9] = last ? 1 : 0;
	omb_set_u16(out + 10, 0);
	return OMB_CHUNK_HEADER_SIZE + size;
}

omb_status
omb_chunk_parse(const uint8_t *bytes, size_t len, omb_chunk *out,
				omb_error *err)
{
	if (len < OMB_CHUNK_HEADER_SIZE)
		return omb_error_set(err, OMB_DAMAGED,
							 "the object is cut short in a chunk header");
	out->sealed = bytes + OMB_CHUNK_HEADER_SIZE;
	out->sealed_size = omb_get_u32(bytes);
	out->raw_size = omb_get_u32(bytes + 4);
	out->method = bytes[8];
	out->last = bytes[9] == 1;
	if (out->raw_size > OMB_BLOB_MAX ||
		out->sealed_size > OMB_SEALED_MAX(OMB_BLOB_MAX) || bytes[9] > 1 ||
		omb_get_u16(bytes + 10) != 0)
		return omb_error_set(err, OMB_DAMAGED, "a chunk header is damaged");
	if (out->sealed_size > len - OMB_CHUNK_HEADER_SIZE)
		return omb_error_set(err, OMB_DAMAGED,
							 "the object is cut short in a chunk");
	return OMB_OK;
}

omb_status
omb_stream_create(omb_repository *repo, char kind,
				  const omb_compression *compression, omb_stream_writer **out,
				  omb_error *err)
{
	omb_stream_writer *writer;
	omb_upload *upload;
	uint8_t header[OMB_OBJECT_HEADER_SIZE];

	*out = NULL;
	if (omb_store_create(repo->store, &upload, err) != OMB_OK)
		return err->status;
	writer = omb_malloc(sizeof(*writer));
	writer->upload = upload;
	writer->coder = omb_coder_new(compression);
	writer->index = 0;
	writer->len = 0;
	writer->stored = sizeof(header);
	omb_object_begin(&repo->keyring, kind, header, &writer->key);
	if (omb_upload_write(upload, header, sizeof(header), err) != OMB_OK)
	{
		omb_stream_abort(writer);
		return err->status;
	}
	*out = writer;
	return OMB_OK;
}

/* Store the plain bytes in hand as a chunk. */
static omb_status
write_chunk(omb_stream_writer *writer, bool last, omb_error *err)
{
	size_t size =
		omb_chunk_encode(writer->coder, &writer->key, writer->index, last,
						 writer->plain, writer->len, writer->chunk);

	if (omb_upload_write(writer->upload, writer->chunk, size, err) != OMB_OK)
		return err->status;
	writer->index++;
	writer->stored += size;
	writer->len = 0;
	return OMB_OK;
}

omb_status
omb_stream_write(omb_stream_writer *writer, const void *data, size_t len,
				 omb_error *err)
{
	const uint8_t *p = data;

	while (len > 0)
	{
		size_t part = OMB_BLOB_MAX - writer->len;

		if (part > len)
			part = len;
		memcpy(writer->plain + writer->len, p, part);
		writer->len += part;
		p += part;
		len -= part;
		if (writer->len == OMB_BLOB_MAX &&
			write_chunk(writer, false, err) != OMB_OK)
			return err->status;
	}
	return OMB_OK;
}

omb_status
omb_stream_break(omb_stream_writer *writer, uint64_t *offset, uint64_t *index,
				 omb_error *err)
{
	if (writer->len > 0 && write_chunk(writer, false, err) != OMB_OK)
		return err->status;
	*offset = writer->stored;
	*index = writer->index;
	return OMB_OK;
}

/* Free all but the upload. */
static void
free_writer(omb_stream_writer *writer)
{
	omb_coder_free(writer->coder);
	omb_wipe(writer, sizeof(*writer));
	free(writer);
}

omb_status
omb_stream_commit(omb_stream_writer *writer, const void *footer,
				  size_t footer_len, const char *name, omb_error *err)
{
	omb_upload *upload;

	if (write_chunk(writer, true, err) != OMB_OK ||
		(footer_len > 0 &&
		 omb_upload_write(writer->upload, footer, footer_len, err) != OMB_OK))
	{
		omb_stream_abort(writer);
		return err->status;
	}
	upload = writer->upload;
	free_writer(writer);
	return omb_upload_commit(upload, name, err);
}

void
omb_stream_abort(omb_stream_writer *writer)
{
	if (writer == NULL)
		return;
	omb_upload_abort(writer->upload);
	free_writer(writer);
}

omb_status
omb_stream_open(omb_repository *repo, char kind, const char *name,
				size_t footer_len, omb_stream_reader **out, omb_error *err)
{
	omb_stream_reader *reader;
	omb_object *object;
	uint8_t header[OMB_OBJECT_HEADER_SIZE];

	*out = NULL;
	if (omb_store_open(repo->store, name, &object, err) != OMB_OK)
		return err->status;
	reader = omb_malloc(sizeof(*reader));
	reader->object = object;
	reader->name = omb_strdup(name);
	reader->coder = omb_coder_new(NULL);
	reader->end = object->size > footer_len ? object->size - footer_len : 0;
	reader->offset = sizeof(header);
	reader->index = 0;
	if (omb_object_read(object, 0, header, sizeof(header), err) != OMB_OK ||
		omb_object_open(&repo->keyring, kind, header, &reader->key, err) !=
			OMB_OK)
	{
		(void) omb_error_context(err, "object \"%s\"", name);
		omb_stream_close(reader);
		return err->status;
	}
	*out = reader;
	return OMB_OK;
}

omb_status
omb_stream_footer(omb_stream_reader *reader, void *out, omb_error *err)
{
	if (omb_object_read(reader->object, reader->end, out,
						(size_t) (reader->object->size - reader->end),
						err) != OMB_OK)
		return omb_error_context(err, "object \"%s\"", reader->name);
	return OMB_OK;
}

void
omb_stream_expect(omb_stream_reader *reader)
{
	omb_store_expect_all(reader->object->store, reader->name,
						 reader->object->size);
}

void
omb_stream_seek(omb_stream_reader *reader, uint64_t offset, uint64_t index)
{
	reader->offset = offset;
	reader->index = index;
}

/* Read the sealed bytes of the next chunk. */
static omb_status
read_chunk(omb_stream_reader *reader, omb_chunk *chunk, omb_error *err)
{
	uint64_t left =
		reader->offset < reader->end ? reader->end - reader->offset : 0;
	size_t size = OMB_CHUNK_HEADER_SIZE;

	if (left >= size)
	{
		if (omb_object_read(reader->object, reader->offset, reader->chunk,
							size, err) != OMB_OK)
			return err->status;
		size += omb_get_u32(reader->chunk);
	}
	if (size > OMB_CHUNK_MAX || size > left)
		return omb_error_set(err, OMB_DAMAGED, "the object is cut short");
	if (omb_object_read(reader->object, reader->offset + OMB_CHUNK_HEADER_SIZE,
						reader->chunk + OMB_CHUNK_HEADER_SIZE,
						size - OMB_CHUNK_HEADER_SIZE, err) != OMB_OK)
		return err->status;
	return omb_chunk_parse(reader->chunk, size, chunk, err);
}

omb_status
omb_stream_next(omb_stream_reader *reader, const uint8_t **data, size_t *len,
				bool *last, omb_error *err)
{
	omb_chunk chunk;

	if (read_chunk(reader, &chunk, err) != OMB_OK ||
		omb_coder_decode(reader->coder, &reader->key, reader->index,
						 chunk.last, chunk.method, chunk.sealed,
						 chunk.sealed_size, reader->plain, chunk.raw_size,
						 err) != OMB_OK)
		return omb_error_context(err, "object \"%s\"", reader->name);
	reader->offset += OMB_CHUNK_HEADER_SIZE + chunk.sealed_size;
	reader->index++;
	if (chunk.last && reader->offset != reader->end)
	{
		(void) omb_error_set(err, OMB_DAMAGED, "bytes follow the last chunk");
		return omb_error_context(err, "object \"%s\"", reader->name);
	}
	*data = reader->plain;
	*len = chunk.raw_size;
	*last = chunk.last;
	return OMB_OK;
}

void
omb_stream_close(omb_stream_reader *reader)
{
	if (reader == NULL)
		return;
	omb_object_close(reader->object);
	omb_coder_free(reader->coder);
	free(reader->name);
	omb_wipe(&reader->key, sizeof(reader->key));
	free(reader);
}

omb_status
omb_stream_put(omb_repository *repo, char kind, const char *name,
			   const void *data, size_t len, omb_error *err)
{
	static const omb_compression plain = { OMB_METHOD_NONE, 0 };
	omb_stream_writer *writer;

	if (omb_stream_create(repo, kind, &plain, &writer, err) != OMB_OK)
		return err->status;
	if (omb_stream_write(writer, data, len, err) != OMB_OK)
	{
		omb_stream_abort(writer);
		return err->status;
	}
	return omb_stream_commit(writer, NULL, 0, name, err);
}

omb_status
omb_stream_get(omb_repository *repo, char kind, const char *name, size_t max,
			   omb_buf *out, omb_error *err)
{
	omb_stream_reader *reader;
	size_t start = out->len;
	bool last = false;

	if (omb_stream_open(repo, kind, name, 0, &reader, err) != OMB_OK)
		return err->status;
	while (!last)
	{
		const uint8_t *data;
		size_t len;

		if (omb_stream_next(reader, &data, &len, &last, err) != OMB_OK)
			break;
		if (out->len - start + len > max)
		{
			(void) omb_error_set(err, OMB_DAMAGED,
								 "object \"%s\" is larger than %zu bytes",
								 name, max);
			break;
		}
		omb_buf_put(out, data, len);
	}
	omb_stream_close(reader);
	return err->status;
}
