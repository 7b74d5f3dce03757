/*
 * pack.h: many sealed blobs in one object.
 *
 * A pack is packs/<first two digits>/<sha256>, named by the SHA-256 of all
 * its bytes in hex, so that sha256sum audits a repository without any key:
 *
 *   object header   64 bytes, codec/seal.h, kind 'P'
 *   blobs           sealed, one after the other; blob number 0, 1, 2, ...
 *   trailer         a sealed blob with number 2^64 - 1, marked as last
 *   footer          16 bytes:
 *                     0  4  size of the sealed trailer
 *                     4  4  size of the plain trailer, 25 for each blob
 *                     8  1  compression method of the trailer
 *                     9  3  zero
 *                    12  4  number of blobs
 *
 * The plain trailer has 25 bytes for each blob:
 *                     0  4  size of the sealed blob
 *                     4  4  size of the plain blob
 *                     8  1  compression method
 *                     9 16  content id (codec/fingerprint.h), by which a
 *                           backup finds again what an attempt that was cut
 *                           short has stored
 * In the packs of the first versions the content ids are missing: there it
 * has 9 bytes for each blob.
 *
 * Only the footer is not sealed; it says nothing that the trailer's seal
 * does not confirm.
 */
#ifndef OMB_REPO_PACK_H
#define OMB_REPO_PACK_H

#include "codec/fingerprint.h"
#include "repo/unfinished.h"

/*
 * A pack is closed at this size or number of blobs, so that its trailer fits
 * into one blob. The first versions wrote up to 8192 blobs.
 */
#define OMB_PACK_SIZE (32 * 1024 * 1024)
#define OMB_PACK_BLOBS 4096
#define OMB_PACK_BLOBS_MAX 8192

/* Where a blob is. Packs are numbered within a manifest. */
typedef struct omb_blob_ref
{
	uint32_t pack;
	uint32_t index;	 /* number in the pack */
	uint32_t offset; /* of the sealed bytes; packs are far below 4 GiB */
	uint32_t stored; /* size of the sealed bytes */
	uint32_t raw;	 /* size of the plain bytes */
	uint8_t method;
} omb_blob_ref;

typedef struct omb_pack_id
{
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t size;
} omb_pack_id;

/* Numbers packs; shared by all writers of a backup. */
typedef struct omb_pack_table omb_pack_table;

extern omb_pack_table *omb_pack_table_new(void);
/*
 * Note each pack that is committed from now on in a journal, which must stay
 * until the table is freed.
 */
extern void omb_pack_table_set_journal(omb_pack_table *table,
									   omb_unfinished *journal);
/* Number a pack that is in the repository already. */
extern uint32_t omb_pack_table_add(omb_pack_table *table,
								   const omb_pack_id *id);
extern uint32_t omb_pack_table_count(omb_pack_table *table);
/* Facts of a pack that was committed. */
extern omb_pack_id omb_pack_table_get(omb_pack_table *table, uint32_t number);
extern void omb_pack_table_free(omb_pack_table *table);

/* "packs/ab/abcd...", in new memory. */
extern char *omb_pack_name(const uint8_t sha256[OMB_SHA256_SIZE]);

/* Gathers blobs in packs; one for each thread. */
typedef struct omb_pack_writer omb_pack_writer;

extern omb_pack_writer *omb_pack_writer_new(omb_repository *repo,
											const omb_compression *compression,
											omb_pack_table *table);
/*
 * Store one blob of at most OMB_BLOB_MAX bytes and tell where. The blob is
 * durable only after _finish, or after a later _add closed its pack. After a
 * failure the writer is unusable.
 */
extern omb_status omb_pack_add(omb_pack_writer *writer, const void *plain,
							   size_t len, omb_blob_ref *ref, omb_error *err);
/* The same when the content id is known. */
extern omb_status omb_pack_add_known(omb_pack_writer *writer,
									 const void *plain, size_t len,
									 const uint8_t id[OMB_CONTENT_ID_SIZE],
									 omb_blob_ref *ref, omb_error *err);
/* Close and commit the pack in hand, if any. */
extern omb_status omb_pack_finish(omb_pack_writer *writer, omb_error *err);
extern void omb_pack_writer_free(omb_pack_writer *writer);

/* One pack open for reading. */
typedef struct omb_pack omb_pack;

extern omb_status omb_pack_open(omb_repository *repo,
								const uint8_t sha256[OMB_SHA256_SIZE],
								omb_pack **out, omb_error *err);
/*
 * As omb_pack_open, but the header, which says with which key the blobs are
 * sealed, is not read when the pack was opened so before.
 */
extern omb_status omb_pack_open_again(omb_repository *repo,
									  const uint8_t sha256[OMB_SHA256_SIZE],
									  omb_pack **out, omb_error *err);
/*
 * Read one blob into out, which has room for OMB_BLOB_MAX bytes. All facts of
 * ref but its pack number are checked.
 */
extern omb_status omb_pack_read(omb_pack *pack, omb_coder *coder,
								const omb_blob_ref *ref, uint8_t *out,
								omb_error *err);

/* Called for each blob, in order; plain is NULL when only listing. */
typedef omb_status (*omb_pack_visit)(const omb_blob_ref *ref,
									 const uint8_t *plain, void *arg,
									 omb_error *err);

/* List the blobs by the trailer. */
extern omb_status omb_pack_list(omb_pack *pack, omb_coder *coder,
								omb_pack_visit visit, void *arg,
								omb_error *err);
/* List the blobs with their content ids; none of a pack that lacks them. */
typedef omb_status (*omb_pack_content_visit)(
	const omb_blob_ref *ref, const uint8_t id[OMB_CONTENT_ID_SIZE], void *arg,
	omb_error *err);
extern omb_status omb_pack_list_contents(omb_pack *pack, omb_coder *coder,
										 omb_pack_content_visit visit,
										 void *arg, omb_error *err);
/* Read everything: the name against the bytes, trailer, all seals. */
extern omb_status omb_pack_verify(omb_pack *pack, omb_coder *coder,
								  omb_error *err);
extern uint64_t omb_pack_size(const omb_pack *pack);
extern void omb_pack_close(omb_pack *pack);

#endif
