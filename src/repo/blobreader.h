/*
 * blobreader.h: reading blobs here and there, keeping what may be needed
 * again: open packs, and the plain bytes of the blobs used last.
 */
#ifndef OMB_REPO_BLOBREADER_H
#define OMB_REPO_BLOBREADER_H

#include "repo/pack.h"

/* Belongs to one thread at a time. */
typedef struct omb_blob_reader omb_blob_reader;

/* Keeps that many blobs, at least one. */
extern omb_blob_reader *omb_blob_reader_new(omb_repository *repo, int kept);

/*
 * Read a blob of a pack. The plain bytes, ref->raw of them, are valid until
 * the next call. All facts of ref but its pack number are checked.
 */
extern omb_status omb_blob_reader_get(omb_blob_reader *reader,
									  const uint8_t sha256[OMB_SHA256_SIZE],
									  const omb_blob_ref *ref,
									  const uint8_t **plain, omb_error *err);
/*
 * Read a blob that will not be needed again into out, which has room for
 * OMB_BLOB_MAX bytes.
 */
extern omb_status omb_blob_reader_read(omb_blob_reader *reader,
									   const uint8_t sha256[OMB_SHA256_SIZE],
									   const omb_blob_ref *ref, uint8_t *out,
									   omb_error *err);
extern void omb_blob_reader_free(omb_blob_reader *reader);

#endif
