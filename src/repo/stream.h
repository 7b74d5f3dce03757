/*
 * stream.h: an object that is one sealed stream of bytes.
 *
 * Manifests, WAL files and marks are such objects:
 *
 *   object header (64 bytes, codec/seal.h)
 *   chunk 0, chunk 1, ... chunk n; the last one is marked as last
 *   nothing, or a footer in the clear that the kind of object defines
 *
 * Chunk:
 *    0  4  size of the sealed bytes
 *    4  4  size of the plain bytes, at most OMB_BLOB_MAX
 *    8  1  compression method
 *    9  1  1 for the last chunk, else 0
 *   10  2  zero
 *   12     sealed bytes; the chunk's number is the blob number
 *
 * A stream without its last chunk is damaged, however it was cut.
 */
#ifndef OMB_REPO_STREAM_H
#define OMB_REPO_STREAM_H

#include "repo/repository.h"

#define OMB_CHUNK_HEADER_SIZE 12
#define OMB_CHUNK_MAX (OMB_CHUNK_HEADER_SIZE + OMB_SEALED_MAX(OMB_BLOB_MAX))

/* Encode a whole chunk at out (room for OMB_CHUNK_MAX); returns its size. */
extern size_t omb_chunk_encode(omb_coder *coder, const omb_object_key *key,
							   uint64_t index, bool last, const void *plain,
							   size_t len, uint8_t *out);

typedef struct omb_chunk
{
	const uint8_t *sealed;
	uint32_t sealed_size;
	uint32_t raw_size;
	uint8_t method;
	bool last;
} omb_chunk;

/*
 * Find the chunk at the start of len bytes; its whole size is the header and
 * sealed_size. OMB_DAMAGED when there is no whole chunk.
 */
extern omb_status omb_chunk_parse(const uint8_t *bytes, size_t len,
								  omb_chunk *out, omb_error *err);

typedef struct omb_stream_writer omb_stream_writer;

extern omb_status omb_stream_create(omb_repository *repo, char kind,
									const omb_compression *compression,
									omb_stream_writer **out, omb_error *err);
extern omb_status omb_stream_write(omb_stream_writer *writer, const void *data,
								   size_t len, omb_error *err);
/* End the chunk in hand; tell where the next one begins. */
extern omb_status omb_stream_break(omb_stream_writer *writer, uint64_t *offset,
								   uint64_t *index, omb_error *err);
/* Write the last chunk and the footer, and commit; frees the writer. */
extern omb_status omb_stream_commit(omb_stream_writer *writer,
									const void *footer, size_t footer_len,
									const char *name, omb_error *err);
extern void omb_stream_abort(omb_stream_writer *writer);

typedef struct omb_stream_reader omb_stream_reader;

extern omb_status omb_stream_open(omb_repository *repo, char kind,
								  const char *name, size_t footer_len,
								  omb_stream_reader **out, omb_error *err);
/* The footer's bytes, as many as were said to _open. */
extern omb_status omb_stream_footer(omb_stream_reader *reader, void *out,
									omb_error *err);
/* Go to a chunk known to begin there. */
extern void omb_stream_seek(omb_stream_reader *reader, uint64_t offset,
							uint64_t index);
/*
 * The next chunk's plain bytes, valid until the next call; last tells whether
 * it is the last one, after which nothing may be read.
 */
extern omb_status omb_stream_next(omb_stream_reader *reader,
								  const uint8_t **data, size_t *len,
								  bool *last, omb_error *err);
/* All of it will be read soon: a store far away fetches it ahead. */
extern void omb_stream_expect(omb_stream_reader *reader);
extern void omb_stream_close(omb_stream_reader *reader);

/* A whole small stream: all fields of a mark, say. */
extern omb_status omb_stream_put(omb_repository *repo, char kind,
								 const char *name, const void *data,
								 size_t len, omb_error *err);
extern omb_status omb_stream_get(omb_repository *repo, char kind,
								 const char *name, size_t max, omb_buf *out,
								 omb_error *err);

#endif
