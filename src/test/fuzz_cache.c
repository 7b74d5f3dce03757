/*
 * fuzz_cache.c: what lies in the folder cache of a repository: records of
 * fingerprints behind a good header, and a journal.
 */
#include "base/file.h"
#include "repo/pagecache.h"
#include "repo/unfinished.h"
#include "store/directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID "20261120T231502Z-7f3a"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static omb_status
count_pack(const uint8_t sha256[OMB_SHA256_SIZE], void *arg, omb_error *err)
{
	++*(size_t *) arg;
	return OMB_OK;
}

/* One directory for all runs. */
static const char *
directory(void)
{
	static char path[] = "/tmp/omb-fuzz-cache.XXXXXX";
	static bool made;
	omb_error err = OMB_ERROR_INIT;
	char *cache;

	if (!made)
	{
		if (mkdtemp(path) == NULL)
			abort();
		made = true;
		cache = omb_format("%s/" OMB_CACHE_FOLDER, path);
		(void) omb_directory_create(cache, 0700, &err);
		free(cache);
	}
	return path;
}

static void
put(const char *name, const void *data, size_t len)
{
	char *path = omb_format("%s/" OMB_CACHE_FOLDER "/%s", directory(), name);
	omb_error err = OMB_ERROR_INIT;

	if (omb_file_replace(path, data, len, 0600, &err) != OMB_OK)
		abort();
	free(path);
}

static void
tidy_up(void)
{
	static const char *const names[] = { "/cache/fingerprints-" ID,
										 "/cache/unfinished-" ID, "/cache",
										 "" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		char *path = omb_format("%s%s", directory(), names[i]);

		(void) remove(path);
		free(path);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool registered;
	uint8_t header[64] = "ompages1";
	omb_repository repo;
	omb_buf bytes = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;
	omb_fingerprinter *fingerprinter;
	omb_page_cache *cache;
	const uint64_t *found;
	size_t packs = 0;
	uint64_t sum = 0;
	size_t i;

	if (!registered)
		registered = atexit(tidy_up) == 0;
	memset(&repo, 0, sizeof(repo));
	repo.store = omb_store_directory_new(directory());
	repo.keyring.count = 1;
	fingerprinter = omb_fingerprinter_new(&repo.keyring);
	memcpy(header + 24, ID, sizeof(ID));
	omb_buf_put(&bytes, header, sizeof(header));
	omb_buf_put(&bytes, data, size);
	put("fingerprints-" ID, bytes.data, bytes.len);
	cache = omb_page_cache_open(&repo, fingerprinter, ID);
	if (cache == NULL)
		abort();
	found = omb_page_cache_find(cache, OMB_ROOT_PGDATA, "a", 3);
	for (i = 0; found != NULL && i < 3; i++)
		sum += found[i];
	found = omb_page_cache_find(cache, OMB_ROOT_PGDATA, "c", 1);
	/* so that every byte is looked at */
	if (found != NULL && sum + found[0] == 1)
		abort();
	omb_page_cache_close(cache);
	put("unfinished-" ID, data, size);
	if (omb_unfinished_read(&repo, ID, count_pack, &packs, &err) != OMB_OK ||
		packs > size / OMB_SHA256_SIZE)
		abort();
	omb_fingerprinter_free(fingerprinter);
	omb_store_free(repo.store);
	omb_buf_free(&bytes);
	return 0;
}
