/*
 * pgmanifest.h: writing PostgreSQL's own backup_manifest, so that
 * pg_verifybackup proves a restored directory.
 *
 * Format: the manual's chapter "Backup Manifest Format". Checksums are
 * CRC-32C as taken when the backup read the files.
 */
#ifndef OMB_TASK_PGMANIFEST_H
#define OMB_TASK_PGMANIFEST_H

#include "repo/manifest.h"

typedef struct omb_pg_manifest omb_pg_manifest;

/* Begins the file at path; version 2 of the format from PostgreSQL 17 on. */
extern omb_status omb_pg_manifest_create(const char *path,
										 const omb_backup_info *info,
										 omb_pg_manifest **out,
										 omb_error *err);
/* mtime in nanoseconds since 1970. */
extern void omb_pg_manifest_add(omb_pg_manifest *manifest, const char *path,
								uint64_t size, uint64_t mtime,
								uint32_t crc32c);
/* Writes the end and syncs; frees the manifest. */
extern omb_status omb_pg_manifest_finish(omb_pg_manifest *manifest,
										 omb_error *err);
extern void omb_pg_manifest_abort(omb_pg_manifest *manifest);

#endif
