/*
 * manifest.h: what one backup consists of.
 *
 * A manifest is the object backups/<id>, a sealed stream of kind 'M'. It is
 * written last: it is the commit of a backup. Prune may write it again, with
 * blobs in other places, as the object backups/<id>.2 and so on
 * (repo/revision.h). Its plain bytes:
 *
 *   entries    for each: a varint with the size of the record, and the record;
 *              in the order of omb_manifest_compare(); then a varint 0
 *   (the stream is broken here: the rest begins in a new chunk)
 *   tail       text of omb_backup_info with its size as varint in front
 *              (base/fields.h), the number of packs as varint, and for each
 *              pack 32 bytes of SHA-256 and its size as varint
 *
 * The footer of the object, in the clear, 16 bytes:
 *    0  8  offset of the tail's first chunk in the object
 *    8  8  number of that chunk
 * so that the facts of a backup are read without its entries.
 *
 * Record of an entry:
 *
 *   u8      type: 'D' directory, 'F' file, 'L' symbolic link
 *   u8      root: 0 data directory, 1 configuration files from elsewhere,
 *           2 data directory again: what is copied last (pg_control),
 *           3 the application's files: sets of files from elsewhere
 *   text    path below the root
 *   varint  mode (permission bits)
 *   varint  mtime in nanoseconds since 1970 (negative times as 0)
 *   root 3: varint number of the user and varint number of the group that own
 *           it; of the file names that are bytes in no known encoding; ctime 0
 *           when the file changed all the time while it was read
 *   'L':    text with the link's target; nothing follows
 *   'F':    varint ctime in nanoseconds, varint inode, varint size,
 *           u32 CRC-32C of the content, varint number of damaged pages and
 *           for each the varint difference of its block number to the one
 *           before, varint number of extents, the extents
 *
 * Extent: the next length bytes of the file are bytes start.. of a blob.
 *   u8      bits: 1 zeros, 2 same blob as the extent before, 4 the whole
 *           blob, 8 the blob behind the last one named in this pack; bits
 *           16 and 32 are the blob's compression method
 *   zeros:  varint length; nothing follows
 *   not "same": varint number of the pack; unless "behind": varint blob
 *           number, varint offset in the pack; varint size stored, varint
 *           size plain
 *   not "whole": varint start, varint length
 * "Before" and "last" reach across entries.
 */
#ifndef OMB_REPO_MANIFEST_H
#define OMB_REPO_MANIFEST_H

#include "repo/pack.h"
#include "repo/stream.h"

#define OMB_BACKUP_ID_MAX 32
#define OMB_BACKUP_FOLDER "backups"

typedef enum omb_entry_type
{
	OMB_ENTRY_DIRECTORY = 'D',
	OMB_ENTRY_FILE = 'F',
	OMB_ENTRY_LINK = 'L'
} omb_entry_type;

typedef enum omb_root
{
	OMB_ROOT_PGDATA = 0,
	OMB_ROOT_CONFIG = 1, /* paths are absolute ones without the first slash */
	OMB_ROOT_LAST = 2,	 /* paths as for PGDATA; global/pg_control */
	OMB_ROOT_FILES = 3	 /* "<name of the set>/<path in the set>" */
} omb_root;

typedef struct omb_extent
{
	bool is_zero;
	omb_blob_ref blob;
	uint32_t start;	 /* in the blob */
	uint64_t length; /* at most OMB_BLOB_MAX unless is_zero */
} omb_extent;

typedef struct omb_entry
{
	omb_entry_type type;
	omb_root root;
	char *path;
	char *target; /* of a link */
	uint32_t mode;
	uint64_t mtime; /* nanoseconds since 1970 */
	uint32_t uid;	/* of root FILES only; the other is the server's user */
	uint32_t gid;
	uint64_t ctime;
	uint64_t inode;
	uint64_t size;
	uint32_t crc32c;
	uint32_t *damaged; /* block numbers in the relation, ascending */
	size_t damaged_count;
	omb_extent *extent;
	size_t extent_count;
	size_t extent_cap;
} omb_entry;

/* Free what an entry holds and make it empty. */
extern void omb_entry_clear(omb_entry *entry);
extern void omb_entry_add_extent(omb_entry *entry, const omb_extent *extent);

/*
 * The order of entries: by root, then by path, compared byte by byte with
 * '/' before all other bytes, so that a directory is followed by what is in
 * it.
 */
extern int omb_manifest_compare(omb_root root_a, const char *path_a,
								omb_root root_b, const char *path_b);

/* The facts of a backup. Texts are owned. */
typedef struct omb_backup_info
{
	char id[OMB_BACKUP_ID_MAX];
	char kind[16]; /* "full", "incremental" or OMB_BACKUP_FILES */
	char *label;
	char *program_version;
	char *pgdata;
	char *backup_label;
	char *tablespace_map;
	uint64_t system_identifier;
	uint32_t pg_version; /* as server_version_num */
	uint32_t control_version;
	uint32_t catalog_version;
	uint64_t wal_segment_size;
	bool data_checksums;
	uint64_t start_lsn;
	uint64_t stop_lsn;
	uint32_t start_timeline;
	uint32_t stop_timeline;
	int64_t start_time; /* microseconds since 1970 */
	int64_t stop_time;
	uint64_t files;
	uint64_t bytes;		   /* of all files */
	uint64_t bytes_stored; /* added to the repository */
	uint64_t damaged_pages;
	uint64_t entries;

	/* these are missing, NULL or 0, in the manifests of the first versions */
	char *parent;		  /* id of the backup that this one builds upon */
	char *boot_id;		  /* of the kernel that ran */
	int64_t clock_offset; /* of the clock against the time since that boot */
	uint64_t bytes_read;  /* the other bytes were taken over unread */

	/* the application's files; 0 without any */
	uint64_t file_sets;
	int64_t files_start_time; /* when their walk began and ended */
	int64_t files_stop_time;
	uint64_t set_files; /* in no way part of files and bytes above */
	uint64_t set_bytes;
} omb_backup_info;

/*
 * The kind of a manifest that holds the application's files only. It is no
 * base backup: no database is restored from it and it needs no WAL.
 */
#define OMB_BACKUP_FILES "files"
extern bool omb_backup_is_base(const omb_backup_info *info);

extern void omb_backup_info_clear(omb_backup_info *info);

/* A new id, UTC time and four random digits: "20261120T231502Z-7f3a". */
extern void omb_backup_id_new(int64_t time, char out[OMB_BACKUP_ID_MAX]);
extern bool omb_backup_id_valid(const char *id);

typedef struct omb_manifest_writer omb_manifest_writer;

extern omb_status omb_manifest_create(omb_repository *repo,
									  omb_manifest_writer **out,
									  omb_error *err);
/* Entries come in order. */
extern omb_status omb_manifest_add(omb_manifest_writer *writer,
								   const omb_entry *entry, omb_error *err);
/*
 * Commit as backups/<info->id>, with all packs of the table; info->entries is
 * filled in. Frees the writer.
 */
extern omb_status omb_manifest_commit(omb_manifest_writer *writer,
									  omb_backup_info *info,
									  omb_pack_table *packs, omb_error *err);
/* The same for another revision of the manifest than the first. */
extern omb_status omb_manifest_commit_revision(omb_manifest_writer *writer,
											   omb_backup_info *info,
											   uint32_t revision,
											   omb_pack_table *packs,
											   omb_error *err);
extern void omb_manifest_abort(omb_manifest_writer *writer);

typedef struct omb_manifest
{
	omb_backup_info info;
	omb_pack_id *pack;
	uint32_t pack_count;
	uint32_t revision;
	struct omb_manifest_reader *reader; /* private */
} omb_manifest;

/*
 * Open a backup, by the highest revision of its manifest, and read its facts
 * and packs; OMB_NOT_FOUND.
 */
extern omb_status omb_manifest_open(omb_repository *repo, const char *id,
									omb_manifest **out, omb_error *err);
/* All of it will be read soon. */
extern void omb_manifest_expect(omb_manifest *manifest);
/*
 * Read the next entry into one that the caller clears; *end after the last.
 * Every fact that can be checked without a pack is checked: order, safe
 * paths, pack numbers, sizes.
 */
extern omb_status omb_manifest_next(omb_manifest *manifest, omb_entry *entry,
									bool *end, omb_error *err);
extern void omb_manifest_close(omb_manifest *manifest);

/* Decode one record; exposed for tests and fuzzing. */
typedef struct omb_extent_state omb_extent_state;
extern omb_extent_state *omb_extent_state_new(void);
extern void omb_extent_state_free(omb_extent_state *state);
extern void omb_entry_encode(const omb_entry *entry, omb_extent_state *state,
							 omb_buf *out);
extern bool omb_entry_decode(const void *record, size_t len,
							 uint32_t pack_count, omb_extent_state *state,
							 omb_entry *entry);
/* Read the tail's bytes into info and packs. */
extern omb_status omb_manifest_parse_tail(const void *tail, size_t len,
										  omb_backup_info *info,
										  omb_pack_id **pack,
										  uint32_t *pack_count,
										  omb_error *err);

/* Visit the ids of all backups, oldest first. */
typedef omb_status (*omb_backup_visit)(const char *id, void *arg,
									   omb_error *err);
extern omb_status omb_backup_list(omb_repository *repo, omb_backup_visit visit,
								  void *arg, omb_error *err);

#endif
