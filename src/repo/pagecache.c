/*
 * pagecache.c: writing and reading the local cache of fingerprints.
 */
#include "repo/pagecache.h"

#include "base/file.h"
#include "codec/crc32c.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_SIZE 64
#define RECORD_HEADER 16
#define PREFIX "fingerprints-"
#define BUFFER_SIZE (256 * 1024)
/* A segment file of a relation may have up to 2 TiB; ours are of 1 GiB. */
#define COUNT_MAX (1U << 28)

struct omb_page_cache_writer
{
	const omb_fingerprinter *fingerprinter;
	FILE *file;
	bool failed;
	char *folder;
	char *name; /* in the folder */
};

struct omb_page_cache
{
	const omb_fingerprinter *fingerprinter;
	FILE *file;
	bool has_next; /* the next record's header was read */
	uint8_t header[RECORD_HEADER];
	uint64_t *fingerprint;
	size_t cap;
};

static void
make_header(const omb_repository *repo, const char *id,
			uint8_t out[HEADER_SIZE])
{
	memset(out, 0, HEADER_SIZE);
	memcpy(out, "ompages1", 8);
	memcpy(out + 8, repo->keyring.repository_id, OMB_REPOSITORY_ID_SIZE);
	(void) strncpy((char *) out + 24, id, OMB_BACKUP_ID_MAX);
}

static uint64_t
name_hash(const omb_fingerprinter *fingerprinter, omb_root root,
		  const char *path)
{
	char *text = omb_format("%c%s", '0' + (int) root, path);
	size_t len = strlen(text);
	uint64_t hash = 0;

	/* a path is shorter than a block */
	(void) omb_fingerprint(
		fingerprinter, text,
		len < OMB_FINGERPRINT_BLOCK ? len : OMB_FINGERPRINT_BLOCK, &hash);
	free(text);
	return hash;
}

/* ---- writing ---- */

void
omb_page_cache_create(omb_repository *repo,
					  const omb_fingerprinter *fingerprinter, const char *id,
					  omb_page_cache_writer **out)
{
	const char *directory = omb_repository_directory(repo);
	omb_page_cache_writer *writer;
	uint8_t header[HEADER_SIZE];
	char *path;
	int fd;

	*out = NULL;
	if (directory == NULL)
		return;
	writer = omb_calloc(1, sizeof(*writer));
	writer->fingerprinter = fingerprinter;
	writer->folder = omb_format("%s/" OMB_CACHE_FOLDER, directory);
	writer->name = omb_format(PREFIX "%s", id);
	(void) mkdir(writer->folder, 0700);
	path = omb_format("%s/%s.tmp", writer->folder, writer->name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	free(path);
	if (fd >= 0)
		writer->file = fdopen(fd, "wb");
	if (writer->file == NULL)
	{
		omb_page_cache_abort(writer);
		return;
	}
	(void) setvbuf(writer->file, NULL, _IOFBF, BUFFER_SIZE);
	make_header(repo, id, header);
	writer->failed = fwrite(header, sizeof(header), 1, writer->file) != 1;
	*out = writer;
}

void
omb_page_cache_add(omb_page_cache_writer *writer, omb_root root,
				   const char *path, const uint64_t *fingerprint, size_t count)
{
	uint8_t header[RECORD_HEADER];
	uint32_t crc;
	size_t i;

	if (writer == NULL || writer->failed || count == 0 || count > COUNT_MAX)
		return;
	omb_set_u64(header, name_hash(writer->fingerprinter, root, path));
	omb_set_u32(header + 8, (uint32_t) count);
	crc = omb_crc32c(0, header, 12);
	for (i = 0; i < count; i++)
	{
		uint8_t bytes[8];

		omb_set_u64(bytes, fingerprint[i]);
		crc = omb_crc32c(crc, bytes, sizeof(bytes));
	}
	omb_set_u32(header + 12, crc);
	writer->failed = fwrite(header, sizeof(header), 1, writer->file) != 1;
	for (i = 0; i < count && !writer->failed; i++)
	{
		uint8_t bytes[8];

		omb_set_u64(bytes, fingerprint[i]);
		writer->failed = fwrite(bytes, sizeof(bytes), 1, writer->file) != 1;
	}
}

/* Caches of other backups, and what an attempt left, are of no use; keep is
 * the name of a file, other the id of a backup or NULL. */
static void
remove_others(const char *folder, const char *keep, const char *other)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
	{
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
			strcmp(entry->d_name, keep) != 0 &&
			(other == NULL ||
			 strcmp(entry->d_name + strlen(PREFIX), other) != 0))
			(void) unlinkat(dirfd(dir), entry->d_name, 0);
	}
	(void) closedir(dir);
}

void
omb_page_cache_commit(omb_page_cache_writer *writer, const char *keep)
{
	char *from, *to;

	if (writer == NULL)
		return;
	from = omb_format("%s/%s.tmp", writer->folder, writer->name);
	to = omb_format("%s/%s", writer->folder, writer->name);
	/* records have checksums: a cache that a crash tore is noticed */
	if (fclose(writer->file) != 0)
		writer->failed = true;
	writer->file = NULL;
	if (!writer->failed && rename(from, to) == 0)
		remove_others(writer->folder, writer->name, keep);
	free(from);
	free(to);
	omb_page_cache_abort(writer);
}

void
omb_page_cache_abort(omb_page_cache_writer *writer)
{
	char *path;

	if (writer == NULL)
		return;
	if (writer->file != NULL)
		(void) fclose(writer->file);
	path = omb_format("%s/%s.tmp", writer->folder, writer->name);
	(void) unlink(path);
	free(path);
	free(writer->folder);
	free(writer->name);
	free(writer);
}

/* ---- reading ---- */

omb_page_cache *
omb_page_cache_open(omb_repository *repo,
					const omb_fingerprinter *fingerprinter, const char *id)
{
	const char *directory = omb_repository_directory(repo);
	uint8_t wanted[HEADER_SIZE];
	uint8_t header[HEADER_SIZE];
	omb_page_cache *cache;
	char *path;
	int fd;

	if (directory == NULL)
		return NULL;
	path = omb_format("%s/" OMB_CACHE_FOLDER "/" PREFIX "%s", directory, id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return NULL;
	cache = omb_calloc(1, sizeof(*cache));
	cache->fingerprinter = fingerprinter;
	cache->file = fdopen(fd, "rb");
	make_header(repo, id, wanted);
	if (cache->file == NULL ||
		fread(header, sizeof(header), 1, cache->file) != 1 ||
		memcmp(header, wanted, sizeof(header)) != 0)
	{
		omb_page_cache_close(cache);
		return NULL;
	}
	(void) setvbuf(cache->file, NULL, _IOFBF, BUFFER_SIZE);
	return cache;
}

/* From here on nothing is known. */
static const uint64_t *
give_up(omb_page_cache *cache)
{
	(void) fclose(cache->file);
	cache->file = NULL;
	return NULL;
}

const uint64_t *
omb_page_cache_find(omb_page_cache *cache, omb_root root, const char *path,
					size_t count)
{
	uint32_t crc;
	size_t i;

	if (cache == NULL || cache->file == NULL || count == 0)
		return NULL;
	if (!cache->has_next &&
		fread(cache->header, sizeof(cache->header), 1, cache->file) != 1)
		return give_up(cache);
	cache->has_next = true;
	if (omb_get_u64(cache->header) !=
		name_hash(cache->fingerprinter, root, path))
		return NULL;
	if (omb_get_u32(cache->header + 8) != count || count > COUNT_MAX)
		return give_up(cache);
	cache->has_next = false;
	if (count > cache->cap)
	{
		cache->cap = count;
		cache->fingerprint =
			omb_realloc(cache->fingerprint, count * sizeof(uint64_t));
	}
	if (fread(cache->fingerprint, sizeof(uint64_t), count, cache->file) !=
		count)
		return give_up(cache);
	crc = omb_crc32c(0, cache->header, 12);
	crc = omb_crc32c(crc, cache->fingerprint, count * sizeof(uint64_t));
	if (crc != omb_get_u32(cache->header + 12))
		return give_up(cache);
	for (i = 0; i < count; i++)
		cache->fingerprint[i] =
			omb_get_u64((const uint8_t *) &cache->fingerprint[i]);
	return cache->fingerprint;
}

void
omb_page_cache_close(omb_page_cache *cache)
{
	if (cache == NULL)
		return;
	if (cache->file != NULL)
		(void) fclose(cache->file);
	free(cache->fingerprint);
	free(cache);
}
