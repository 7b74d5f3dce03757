/*
 * pgmanifest.c: writing PostgreSQL's own backup_manifest.
 */
#include "task/restore/pgmanifest.h"

#include "base/file.h"
#include "base/text.h"
#include "pgfmt/lsn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_AT (256 * 1024)

struct omb_pg_manifest
{
	char *path;
	int fd;
	bool failed;
	int reason; /* errno of the first failure */
	bool first;
	omb_hash *hash;
	omb_buf pending;
	uint32_t timeline;
	uint64_t start_lsn;
	uint64_t stop_lsn;
};

static void
flush(omb_pg_manifest *manifest)
{
	omb_hash_update(manifest->hash, manifest->pending.data,
					manifest->pending.len);
	if (!manifest->failed &&
		omb_write_full(manifest->fd, manifest->pending.data,
					   manifest->pending.len) != 0)
	{
		manifest->failed = true;
		manifest->reason = errno;
	}
	omb_buf_clear(&manifest->pending);
}

omb_status
omb_pg_manifest_create(const char *path, const omb_backup_info *info,
					   omb_pg_manifest **out, omb_error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool newer = info->pg_version >= 170000;
	omb_pg_manifest *manifest;

	*out = NULL;
	if (fd < 0)
		return omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   path);
	manifest = omb_calloc(1, sizeof(*manifest));
	manifest->path = omb_strdup(path);
	manifest->fd = fd;
	manifest->first = true;
	manifest->hash = omb_hash_new();
	manifest->timeline = info->stop_timeline;
	manifest->start_lsn = info->start_lsn;
	manifest->stop_lsn = info->stop_lsn;
	omb_hash_begin(manifest->hash, NULL, 0);
	omb_buf_printf(&manifest->pending,
				   "{ \"PostgreSQL-Backup-Manifest-Version\": %d,\n",
				   newer ? 2 : 1);
	if (newer)
		omb_buf_printf(&manifest->pending,
					   "\"System-Identifier\": %" PRIu64 ",\n",
					   info->system_identifier);
	omb_buf_printf(&manifest->pending, "\"Files\": [");
	*out = manifest;
	return OMB_OK;
}

/* A path as JSON text, or in hex when it has bytes that are not plain. */
static void
put_path(omb_buf *out, const char *path)
{
	const char *p;
	bool plain = true;
	char *hex;

	for (p = path; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || (unsigned char) *p > 0x7e ||
			*p == '"' || *p == '\\')
			plain = false;
	}
	if (plain)
	{
		omb_buf_printf(out, "\"Path\": \"%s\"", path);
		return;
	}
	hex = omb_malloc(2 * strlen(path) + 1);
	omb_buf_printf(out, "\"Encoded-Path\": \"%s\"",
				   omb_hex_format(path, strlen(path), hex));
	free(hex);
}

void
omb_pg_manifest_add(omb_pg_manifest *manifest, const char *path, uint64_t size,
					uint64_t mtime, uint32_t crc32c)
{
	omb_buf *out = &manifest->pending;
	time_t seconds = (time_t) (mtime / 1000000000);
	struct tm tm;
	char when[32];
	uint8_t bytes[4];
	char hex[9];

	if (gmtime_r(&seconds, &tm) == NULL)
		memset(&tm, 0, sizeof(tm));
	(void) strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S GMT", &tm);
	omb_set_u32(bytes, crc32c);
	omb_buf_printf(out, "%s\n{ ", manifest->first ? "" : ",");
	manifest->first = false;
	put_path(out, path);
	omb_buf_printf(out,
				   ", \"Size\": %" PRIu64 ", \"Last-Modified\": \"%s\", "
				   "\"Checksum-Algorithm\": \"CRC32C\", "
				   "\"Checksum\": \"%s\" }",
				   size, when, omb_hex_format(bytes, sizeof(bytes), hex));
	if (out->len >= FLUSH_AT)
		flush(manifest);
}

omb_status
omb_pg_manifest_finish(omb_pg_manifest *manifest, omb_error *err)
{
	omb_buf *out = &manifest->pending;
	char start[OMB_LSN_TEXT];
	char stop[OMB_LSN_TEXT];
	uint8_t digest[OMB_SHA256_SIZE];
	char hex[2 * OMB_SHA256_SIZE + 1];

	omb_buf_printf(out,
				   "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": %u, "
				   "\"Start-LSN\": \"%s\", \"End-LSN\": \"%s\" }\n],\n",
				   manifest->timeline,
				   omb_lsn_format(manifest->start_lsn, start),
				   omb_lsn_format(manifest->stop_lsn, stop));
	flush(manifest);
	omb_hash_final(manifest->hash, digest);
	omb_buf_printf(out, "\"Manifest-Checksum\": \"%s\"}\n",
				   omb_hex_format(digest, sizeof(digest), hex));
	/* the hash is over; what flush adds to it goes nowhere */
	omb_hash_begin(manifest->hash, NULL, 0);
	flush(manifest);
	if (!manifest->failed && fsync(manifest->fd) != 0)
	{
		manifest->failed = true;
		manifest->reason = errno;
	}
	if (manifest->failed)
		(void) omb_error_set_errno(err, manifest->reason,
								   "could not write file \"%s\"",
								   manifest->path);
	omb_pg_manifest_abort(manifest);
	return err->status;
}

void
omb_pg_manifest_abort(omb_pg_manifest *manifest)
{
	if (manifest == NULL)
		return;
	(void) close(manifest->fd);
	omb_hash_free(manifest->hash);
	omb_buf_free(&manifest->pending);
	free(manifest->path);
	free(manifest);
}
