/*
 * test_unfinished.c: journals of the packs of unfinished backups.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "repo/manifest.h"
#include "repo/unfinished.h"
#include "store/directory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define OLDER "20261120T231502Z-7f3a"
#define NEWER "20261121T000000Z-0001"

static omb_status
note_journal(const char *id, int64_t changed_at, void *arg, omb_error *err)
{
	omb_buf_printf(arg, "%s%s ", id, changed_at > 0 ? "" : " without a time");
	return OMB_OK;
}

static const char *
journals(omb_repository *repo, omb_buf *out)
{
	omb_error err = OMB_ERROR_INIT;

	omb_buf_clear(out);
	if (omb_unfinished_list(repo, note_journal, out, &err) != OMB_OK)
		omb_buf_printf(out, "%s", err.message);
	return omb_buf_text(out);
}

static omb_status
note_pack(const uint8_t sha256[OMB_SHA256_SIZE], void *arg, omb_error *err)
{
	omb_buf_put(arg, sha256, OMB_SHA256_SIZE);
	return OMB_OK;
}

static omb_status
refuse_object(const omb_store_entry *entry, void *arg, omb_error *err)
{
	if (strncmp(entry->name, OMB_CACHE_FOLDER, 5) == 0)
		return omb_error_set(err, OMB_FAILED, "%s", entry->name);
	return OMB_OK;
}

static void
test_directory(const char *root)
{
	omb_repository *repo = new_repository(omb_store_directory_new(root));
	omb_error err = OMB_ERROR_INIT;
	omb_unfinished *journal, *second;
	omb_buf out = OMB_BUF_INIT;
	uint8_t sha256[OMB_SHA256_SIZE];
	char *path;
	bool same = true;
	int fd, i;

	is_text(journals(repo, &out), "", "at first there is no journal");
	ok(omb_unfinished_begin(repo, NEWER, &journal, &err) == OMB_OK &&
		   journal != NULL,
	   "one begins");
	ok(omb_unfinished_begin(repo, NEWER, &second, &err) == OMB_EXISTS &&
		   second == NULL,
	   "but not twice");
	omb_error_clear(&err);
	for (i = 0; i < 600; i++)
	{
		memset(sha256, i % 256, sizeof(sha256));
		(void) omb_unfinished_append(journal, sha256, &err);
	}
	omb_unfinished_close(journal);
	ok(omb_unfinished_begin(repo, OLDER, &journal, &err) == OMB_OK &&
		   err.status == OMB_OK,
	   "packs are noted, another journal begins");
	omb_unfinished_close(journal);
	is_text(journals(repo, &out), OLDER " " NEWER " ", "oldest first");
	ok(omb_store_list(repo->store, "", true, refuse_object, NULL, &err) ==
		   OMB_OK,
	   "journals are not listed among the objects");

	path = omb_format("%s/cache/unfinished-" NEWER, root);
	fd = open(path, O_WRONLY | O_APPEND);
	ok(fd >= 0 && write(fd, "half a name", 11) == 11, "a write is cut short");
	(void) close(fd);
	free(path);
	omb_buf_clear(&out);
	ok(omb_unfinished_read(repo, NEWER, note_pack, &out, &err) == OMB_OK,
	   "the journal is read");
	is_u64(out.len, 600 * OMB_SHA256_SIZE, "with all whole names");
	for (i = 0; i < 600; i++)
	{
		memset(sha256, i % 256, sizeof(sha256));
		same = same && memcmp(out.data + i * OMB_SHA256_SIZE, sha256,
							  OMB_SHA256_SIZE) == 0;
	}
	ok(same, "as they were noted");
	ok(omb_unfinished_remove(repo, NEWER, &err) == OMB_OK &&
		   omb_unfinished_remove(repo, NEWER, &err) == OMB_OK,
	   "removing twice is fine");
	ok(omb_unfinished_read(repo, NEWER, note_pack, &out, &err) ==
		   OMB_NOT_FOUND,
	   "then it is absent");
	omb_error_clear(&err);
	is_text(journals(repo, &out), OLDER " ", "and the other is left");
	omb_buf_free(&out);
	omb_repository_free(repo);
}

static void
test_elsewhere(void)
{
	omb_repository *repo = new_repository(omb_store_memory_new());
	omb_error err = OMB_ERROR_INIT;
	omb_unfinished *journal;
	omb_buf out = OMB_BUF_INIT;
	uint8_t sha256[OMB_SHA256_SIZE];

	memset(sha256, 1, sizeof(sha256));
	ok(omb_unfinished_begin(repo, NEWER, &journal, &err) == OMB_OK &&
		   journal == NULL &&
		   omb_unfinished_append(journal, sha256, &err) == OMB_OK,
	   "a store that is no directory has no journals");
	omb_unfinished_close(journal);
	is_text(journals(repo, &out), "", "none is listed");
	ok(omb_unfinished_remove(repo, NEWER, &err) == OMB_OK, "or removed");
	omb_buf_free(&out);
	omb_repository_free(repo);
}

int
main(void)
{
	char root[] = "/tmp/omb-test-XXXXXX";
	char *command;

	if (mkdtemp(root) == NULL)
		abort();
	test_directory(root);
	test_elsewhere();
	command = omb_format("rm -rf %s", root);
	ok(system(command) == 0, "clean up");
	free(command);
	return tap_done();
}
