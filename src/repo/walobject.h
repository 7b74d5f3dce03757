/*
 * walobject.h: archived WAL files in the repository.
 *
 * A WAL file is an object, a sealed stream of kind 'W':
 *
 *   wal/<timeline>/<timeline and log number>/<file>-<id>   segments and what
 *                                      belongs to one (.backup, .partial)
 *   wal/<timeline>/<file>-<id>         timeline history files
 *
 * with 8 and 16 hex digits in the folders, so that a folder holds 256 segments
 * of 16 MB at most and looking one up lists that folder only.
 *
 * <id> is 32 hex digits: the first half of HMAC-SHA-256(k2, GHASH(k1, plain
 * file)), with two keys derived from the repository key: a universal hash and
 * then a pseudo-random function, which together are one, at several times the
 * speed of HMAC alone. The same file again has the same name; other bytes
 * under the same file name are seen without reading the first.
 *
 * Plain bytes: text of facts with its size as varint in front (base/fields.h:
 * file, size, archived_at), filling the first chunk; then the file.
 */
#ifndef OMB_REPO_WALOBJECT_H
#define OMB_REPO_WALOBJECT_H

#include "repo/stream.h"

#define OMB_WAL_FOLDER "wal"
#define OMB_WAL_ID_TEXT 33
#define OMB_WAL_FILE_MAX 64

/* An archived file, from its object's name. */
typedef struct omb_wal_object
{
	char file[OMB_WAL_FILE_MAX + 1];
	char id[OMB_WAL_ID_TEXT];
} omb_wal_object;

/* The folder of a WAL file's objects, in new memory; NULL for other names. */
extern char *omb_wal_folder(const char *file);
extern char *omb_wal_object_name(const omb_wal_object *object);
/* From the full name of an object; false when it is none of ours. */
extern bool omb_wal_object_parse(const char *name, omb_wal_object *out);

/* The id of a plain file: begin, omb_ghash_update with all bytes, final. */
extern omb_ghash *omb_wal_id_begin(const omb_repository *repo);
/* Frees the hash. */
extern void omb_wal_id_final(const omb_repository *repo, omb_ghash *hash,
							 char out[OMB_WAL_ID_TEXT]);

/*
 * Find the object of a file. OMB_NOT_FOUND when it is proven absent,
 * OMB_EXISTS when there are several with different content (the error names
 * two).
 */
extern omb_status omb_wal_find(omb_repository *repo, const char *file,
							   omb_wal_object *out, omb_error *err);
/*
 * The same, without a key, in a store that need not hold a repository: not
 * found proves nothing here.
 */
extern omb_status omb_wal_find_in(omb_store *store, const char *file,
								  omb_wal_object *out, omb_error *err);

/*
 * What a folder of WAL files holds, for whoever looks for several of them: far
 * away each listing takes a round trip. All zeros is an empty one.
 */
typedef struct omb_wal_listed
{
	omb_wal_object object;
	uint64_t size; /* as stored */
} omb_wal_listed;

typedef struct omb_wal_list
{
	char *folder; /* NULL: none was listed */
	omb_wal_listed *item;
	size_t count;
} omb_wal_list;

/* List the folder of a WAL file in place of another one. */
extern omb_status omb_wal_list_read(omb_store *store, const char *file,
									omb_wal_list *list, omb_error *err);
/* As omb_wal_find, but of what was there then. */
extern omb_status omb_wal_list_find(const omb_wal_list *list, const char *file,
									omb_wal_listed *out, omb_error *err);
extern void omb_wal_list_clear(omb_wal_list *list);

/* So many bytes of an object, or all, will be read; see omb_store_expect. */
extern void omb_wal_expect(omb_repository *repo, const omb_wal_listed *object,
						   uint64_t len);

typedef struct omb_wal_facts
{
	char file[OMB_WAL_FILE_MAX + 1];
	uint64_t size;
	int64_t archived_at;
} omb_wal_facts;

/* The first chunk's plain bytes, and back. */
extern void omb_wal_facts_write(const omb_wal_facts *facts, omb_buf *out);
extern omb_status omb_wal_facts_read(const uint8_t *data, size_t len,
									 omb_wal_facts *out, omb_error *err);

/* Reads the bytes of an archived file in order. */
typedef struct omb_wal_reader omb_wal_reader;

extern omb_status omb_wal_open(omb_repository *repo,
							   const omb_wal_object *object,
							   omb_wal_reader **out, omb_error *err);
extern const omb_wal_facts *omb_wal_reader_facts(const omb_wal_reader *reader);
/*
 * The next piece; *len is 0 at the end, when size and id of all bytes were
 * checked.
 */
extern omb_status omb_wal_next(omb_wal_reader *reader, const uint8_t **data,
							   size_t *len, omb_error *err);
extern void omb_wal_close(omb_wal_reader *reader);

/* Read all of an object and throw it away: is it what it should be? */
extern omb_status omb_wal_verify(omb_repository *repo,
								 const omb_wal_object *object,
								 omb_wal_facts *facts, omb_error *err);

/* Append a small file, such as a timeline history; OMB_NOT_FOUND. */
extern omb_status omb_wal_get_small(omb_repository *repo, const char *file,
									size_t max, omb_buf *out, omb_error *err);

#endif
