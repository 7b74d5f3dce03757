/*
 * test_walget.c: fetching the bytes of an archived WAL file with any number
 * of threads, from whole and from damaged objects; the spool's rules of what
 * may be taken.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/file.h"
#include "task/wal/walfetch.h"
#include "task/wal/walspool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT "000000010000000000000007"

static char scratch[] = "/tmp/omb-walget-XXXXXX";

static char *
path_of(const char *name)
{
	return omb_format("%s/%s", scratch, name);
}

/* Some of it compresses and some does not. */
static uint8_t *
make_content(size_t len)
{
	uint8_t *content = omb_malloc(len + 1);
	uint32_t state = 1;
	size_t i;

	for (i = 0; i < len; i++)
	{
		state = state * 1664525 + 1013904223;
		content[i] =
			(i >> 17) % 3 == 0 ? (uint8_t) (state >> 24) : (uint8_t) (i >> 9);
	}
	return content;
}

/* Store a WAL file whose facts may lie. */
static omb_wal_object
store_file(omb_repository *repo, const char *file, const char *said,
		   uint64_t said_size, const uint8_t *content, size_t len)
{
	static const omb_compression zstd = { OMB_METHOD_ZSTD, 1 };
	omb_error err = OMB_ERROR_INIT;
	omb_wal_facts facts;
	omb_buf head = OMB_BUF_INIT;
	omb_stream_writer *writer;
	omb_wal_object object;
	omb_ghash *hash = omb_wal_id_begin(repo);
	uint64_t offset, index;
	char *name;

	memset(&facts, 0, sizeof(facts));
	memset(&object, 0, sizeof(object));
	memcpy(facts.file, said, strlen(said));
	memcpy(object.file, file, strlen(file));
	facts.size = said_size;
	omb_wal_facts_write(&facts, &head);
	omb_ghash_update(hash, content, len);
	omb_wal_id_final(repo, hash, object.id);
	name = omb_wal_object_name(&object);
	if (omb_stream_create(repo, OMB_KIND_WAL, &zstd, &writer, &err) !=
			OMB_OK ||
		omb_stream_write(writer, head.data, head.len, &err) != OMB_OK ||
		omb_stream_break(writer, &offset, &index, &err) != OMB_OK ||
		omb_stream_write(writer, content, len, &err) != OMB_OK ||
		omb_stream_commit(writer, NULL, 0, name, &err) != OMB_OK)
	{
		printf("# %s\n", err.message);
		abort();
	}
	omb_buf_free(&head);
	free(name);
	return object;
}

/* Fetch into a new file; its bytes go to out. */
static omb_status
fetch(omb_wal_fetcher *fetcher, const omb_wal_object *object, omb_buf *out,
	  omb_error *err)
{
	char *path = path_of("fetched");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	omb_error ignored = OMB_ERROR_INIT;
	uint64_t size = 0;

	omb_error_clear(err);
	omb_buf_clear(out);
	if (omb_wal_fetch(fetcher, object, fd, &size, err) == OMB_OK)
	{
		(void) omb_file_read(path, 1 << 26, out, &ignored);
		if (out->len != size)
			(void) omb_error_set(err, OMB_FAILED, "wrong size told");
	}
	(void) close(fd);
	free(path);
	return err->status;
}

static void
files_come_back_with_any_number_of_threads(void)
{
	static const size_t sizes[] = { 1,
									OMB_BLOB_MAX - 1,
									OMB_BLOB_MAX,
									OMB_BLOB_MAX + 1,
									7 * OMB_BLOB_MAX,
									1024 * 1024,
									16 * 1024 * 1024 };
	omb_repository *repo = new_memory_repository();
	omb_wal_fetcher *fetcher[3];
	omb_buf out = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;
	size_t i, k;

	fetcher[0] = omb_wal_fetcher_new(repo, 1);
	fetcher[1] = omb_wal_fetcher_new(repo, 2);
	fetcher[2] = omb_wal_fetcher_new(repo, 8);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		uint8_t *content = make_content(sizes[i]);
		char file[32];
		omb_wal_object object;
		int good = 0;

		(void) snprintf(file, sizeof(file), "0000000100000000000000%02zX", i);
		object = store_file(repo, file, file, sizes[i], content, sizes[i]);
		for (k = 0; k < 3; k++)
		{
			if (fetch(fetcher[k], &object, &out, &err) == OMB_OK &&
				out.len == sizes[i] && memcmp(out.data, content, out.len) == 0)
				good++;
		}
		ok(good == 3, "%zu bytes by 1, 2 and 8 threads", sizes[i]);
		free(content);
	}
	for (k = 0; k < 3; k++)
		omb_wal_fetcher_free(fetcher[k]);
	omb_buf_free(&out);
	omb_repository_free(repo);
}

static void
damage_is_always_seen(void)
{
	const size_t len = 3 * 1024 * 1024;
	omb_repository *repo = new_memory_repository();
	omb_wal_fetcher *fetcher = omb_wal_fetcher_new(repo, 2);
	uint8_t *content = make_content(len);
	omb_wal_object object =
		store_file(repo, SEGMENT, SEGMENT, len, content, len);
	char *name = omb_wal_object_name(&object);
	omb_buf *bytes =
		omb_store_memory_bytes(omb_store_fault_inner(repo->store), name);
	omb_buf out = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;
	size_t whole = bytes->len;
	size_t at;
	int missed = 0;

	for (at = 0; at < whole; at += 1 + whole / 97)
	{
		bytes->data[at] ^= 4;
		if (fetch(fetcher, &object, &out, &err) == OMB_OK)
			missed++;
		bytes->data[at] ^= 4;
		bytes->len = at;
		if (fetch(fetcher, &object, &out, &err) == OMB_OK)
			missed++;
		bytes->len = whole;
	}
	is_u64((uint64_t) missed, 0, "no changed byte and no cut is missed");
	omb_buf_put_u8(bytes, 0);
	ok(fetch(fetcher, &object, &out, &err) == OMB_DAMAGED,
	   "nor is a byte behind the end");
	bytes->len = whole;
	ok(fetch(fetcher, &object, &out, &err) == OMB_OK && out.len == len &&
		   memcmp(out.data, content, len) == 0,
	   "and the fetcher goes on to work");

	object = store_file(repo, "000000010000000000000008", SEGMENT, len,
						content, len);
	ok(fetch(fetcher, &object, &out, &err) == OMB_DAMAGED,
	   "an object that holds another file is refused");
	object = store_file(repo, "000000010000000000000009",
						"000000010000000000000009", len + 1, content, len);
	ok(fetch(fetcher, &object, &out, &err) == OMB_DAMAGED,
	   "one with too few bytes is refused");
	object = store_file(repo, "00000001000000000000000A",
						"00000001000000000000000A", len - 1, content, len);
	ok(fetch(fetcher, &object, &out, &err) == OMB_DAMAGED,
	   "one with too many bytes is refused");
	memcpy(object.id, "ffffffffffffffffffffffffffffffff", 32);
	ok(fetch(fetcher, &object, &out, &err) == OMB_FAILED,
	   "one that has vanished is a failure, not the end of the archive");
	omb_wal_fetcher_free(fetcher);
	omb_buf_free(&out);
	free(name);
	free(content);
	omb_repository_free(repo);
}

/* Put a file into the spool as the process that fetches ahead does. */
static bool
put_spooled(omb_spool *spool, const omb_wal_object *object, const char *text)
{
	int fd = omb_spool_begin(spool, object);

	return fd >= 0 && omb_write_full(fd, text, strlen(text)) == 0 &&
		   omb_spool_commit(spool, object, fd);
}

/* The full path of the only spooled file. */
static char *
spooled_path(const omb_spool *spool)
{
	char *command = omb_format("ls %s | grep %s", spool->path, SEGMENT);
	FILE *listing = popen(command, "r");
	char name[256] = "";

	if (listing != NULL && fgets(name, sizeof(name), listing) != NULL)
		name[strcspn(name, "\n")] = '\0';
	if (listing != NULL)
		(void) pclose(listing);
	free(command);
	return omb_format("%s/%s", spool->path, name);
}

static bool
run(const char *fmt, const char *a, const char *b)
{
	char *command = omb_format("%s %s %s", fmt, a, b);
	bool good = system(command) == 0;

	free(command);
	return good;
}

static bool
keep_all(const char *file, void *arg)
{
	return true;
}

static void
only_what_was_checked_is_taken(void)
{
	omb_wal_object object = { SEGMENT, "00112233445566778899aabbccddeeff" };
	omb_wal_object other = object;
	omb_wal_object found;
	omb_error err = OMB_ERROR_INIT;
	omb_buf out = OMB_BUF_INIT;
	omb_spool spool, second;
	char *to = path_of("to");
	char *path;
	char *moved;
	char asked[OMB_WAL_FILE_MAX + 1];
	int fd;

	other.id[0] = 'f';
	ok(!omb_spool_open(&spool, scratch, "here", false), "no spool at first");
	ok(omb_spool_open(&spool, scratch, "here", true) &&
		   omb_spool_open(&second, scratch, "here", false),
	   "a spool is made, and opened again");
	ok(!omb_spool_is_served(&second), "nobody serves it");
	ok(omb_spool_lock(&spool) && !omb_spool_lock(&second) &&
		   omb_spool_is_served(&second),
	   "one at a time has the lock, and serves it");

	ok(!omb_spool_asked(&spool, asked), "nothing was asked for");
	omb_spool_ask(&second, SEGMENT);
	ok(omb_spool_asked(&spool, asked), "something was");
	is_text(asked, SEGMENT, "namely that");

	ok(!omb_spool_take(&second, &object, to, 5) &&
		   !omb_spool_find(&second, SEGMENT, &found),
	   "an empty spool has nothing");
	ok(put_spooled(&spool, &object, "bytes") && omb_spool_has(&spool, SEGMENT),
	   "a file is put into it");
	ok(!omb_spool_take(&second, &other, to, 5), "another id is not taken");
	ok(omb_spool_find(&second, SEGMENT, &found) &&
		   strcmp(found.id, object.id) == 0 &&
		   strcmp(found.file, SEGMENT) == 0,
	   "the object of a file is found");
	(void) put_spooled(&spool, &other, "bytes");
	ok(!omb_spool_find(&second, SEGMENT, &found), "but not one of two");
	ok(omb_spool_take(&second, &other, to, 5), "the other one is taken too");
	ok(omb_spool_take(&second, &object, to, 5) &&
		   omb_file_read(to, 100, &out, &err) == OMB_OK && out.len == 5,
	   "the right id is");
	ok(!omb_spool_take(&second, &object, to, 5) &&
		   !omb_spool_has(&spool, SEGMENT),
	   "once");

	(void) put_spooled(&spool, &object, "bytes");
	path = spooled_path(&spool);
	ok(run("printf X >>", path, "") &&
		   !omb_spool_take(&second, &object, to, 5),
	   "a file that grew is not taken");
	(void) unlink(path);
	free(path);

	(void) put_spooled(&spool, &object, "bytes");
	path = spooled_path(&spool);
	ok(run("touch -d '2001-02-03 04:05:06'", path, "") &&
		   !omb_spool_take(&second, &object, to, 5),
	   "nor one that was changed");
	(void) unlink(path);
	free(path);

	(void) put_spooled(&spool, &object, "bytes");
	path = spooled_path(&spool);
	moved = omb_format("%s.copy", path);
	ok(run("cp -p", path, moved) && unlink(path) == 0 &&
		   run("mv", moved, path) && !omb_spool_take(&second, &object, to, 5),
	   "nor a copy");
	(void) unlink(path);
	free(moved);
	free(path);

	(void) put_spooled(&spool, &object, "bytes");
	second.boot[0] = second.boot[0] == '0' ? '1' : '0';
	ok(!omb_spool_take(&second, &object, to, 5),
	   "nor one from before a restart of the machine");
	second.boot[0] = spool.boot[0];
	omb_spool_close(&second);
	ok(omb_spool_open(&second, scratch, "there", false) &&
		   !omb_spool_take(&second, &object, to, 5),
	   "nor one from a repository that is said to be elsewhere");
	omb_spool_close(&second);
	(void) omb_spool_open(&second, scratch, "here", false);
	ok(omb_spool_take(&second, &object, to, 5), "the same one otherwise is");

	fd = omb_spool_begin(&spool, &object);
	ok(omb_spool_find(&second, SEGMENT, &found),
	   "an object that is being fetched is found");
	omb_spool_close(&second);
	ok(omb_spool_open(&second, scratch, "there", false) &&
		   !omb_spool_find(&second, SEGMENT, &found),
	   "but not from elsewhere");
	omb_spool_close(&second);
	(void) omb_spool_open(&second, scratch, "here", false);
	omb_spool_close(&spool);
	ok(!omb_spool_take(&second, &object, to, 5),
	   "nobody waits for a part whose writer is gone");
	(void) close(fd);
	ok(omb_spool_lock(&second) && !omb_spool_is_gone(&second),
	   "the lock is free then");
	is_u64((uint64_t) omb_spool_tidy(&second, keep_all, NULL), 1,
		   "the part is left over");
	path = omb_format("%s/mine", second.path);
	ok(run("touch", path, ""), "somebody puts a file of theirs there");
	omb_spool_remove(&second);
	ok(access(path, F_OK) == 0 && !omb_spool_has(&second, SEGMENT),
	   "removing leaves that alone");
	(void) unlink(path);
	omb_spool_remove(&second);
	ok(omb_spool_is_gone(&second), "an empty spool goes");
	omb_spool_close(&second);

	free(path);
	path = path_of(OMB_SPOOL_NAME);
	ok(mkdir(path, 0755) == 0 &&
		   !omb_spool_open(&spool, scratch, "here", true),
	   "a directory that others can read is not used");
	free(path);
	free(to);
	omb_buf_free(&out);
}

int
main(void)
{
	bool cleared;

	if (mkdtemp(scratch) == NULL)
		abort();
	files_come_back_with_any_number_of_threads();
	damage_is_always_seen();
	only_what_was_checked_is_taken();
	cleared = run("rm -rf", scratch, "");
	ok(cleared, "the scratch directory is removed");
	return tap_done();
}
