/*
 * test_incremental.c: random histories of a data directory, its backups, and
 * everything that may happen to the repository in between. Whatever backup is
 * kept reads back as the files were when it was taken.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/file.h"
#include "base/text.h"
#include "pgfmt/page.h"
#include "repo/blobreader.h"
#include "store/directory.h"
#include "store/fault.h"
#include "task/backup/gather.h"
#include "task/retain/prune.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 14
#define BACKUPS 6
#define LARGEST (5 * 1024 * 1024)
#define PAGE OMB_FINGERPRINT_BLOCK

static const omb_compression zstd = { OMB_METHOD_ZSTD, 1 };
static uint64_t random_state;

static uint64_t
next_random(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

typedef struct content
{
	bool exists;
	omb_buf bytes;
} content;

typedef struct snapshot
{
	char id[OMB_BACKUP_ID_MAX];
	content file[FILES];
} snapshot;

typedef struct history
{
	char *base;
	char *pgdata;
	omb_repository *repo;
	omb_store *fault;
	omb_fingerprinter *fingerprinter;
	content file[FILES];
	snapshot taken[BACKUPS];
	int count;
	int64_t clock; /* of the ids */
	int problems;

	/* what happened */
	int incremental, full, failed, pruned, unread, restored;
} history;

/* Files of relations, one behind the other in the order of a manifest. */
static char *
file_path(const history *h, int number)
{
	static const char *const folder[] = { "base/1", "base/5", "global" };

	return omb_format("%s/%s/%d", h->pgdata, folder[number % 3],
					  16384 + number);
}

static void
must(bool good, const char *what)
{
	if (!good)
	{
		printf("# could not %s\n", what);
		abort();
	}
}

/* ---- the data directory ---- */

static void
random_bytes(uint8_t *out, size_t len)
{
	size_t i;

	/* half of it compresses */
	memset(out, (int) next_random(3) * 7, len);
	for (i = 0; i + 8 <= len / 2; i += 8)
		omb_set_u64(out + i, next_random(UINT64_MAX));
}

static void
write_file(const history *h, int number)
{
	const content *c = &h->file[number];
	char *path = file_path(h, number);
	int fd;

	if (!c->exists)
		(void) unlink(path);
	else
	{
		/* in place, as a server writes */
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		must(fd >= 0 && ftruncate(fd, (off_t) c->bytes.len) == 0 &&
				 omb_pwrite_full(fd, c->bytes.data, c->bytes.len, 0) == 0,
			 "write a file");
		(void) close(fd);
	}
	free(path);
}

static void
resize(content *c, size_t size)
{
	size_t old = c->bytes.len;

	if (size > old)
	{
		random_bytes(omb_buf_reserve(&c->bytes, size - old), size - old);
		if (next_random(4) == 0)
			memset(c->bytes.data + old, 0, size - old);
	}
	c->bytes.len = size;
}

static size_t
random_size(void)
{
	switch (next_random(5))
	{
		case 0:
			return (size_t) next_random(3) * PAGE;
		case 1:
			return (size_t) next_random(40000);
		case 2:
			return (size_t) next_random(100) * PAGE;
		case 3:
			return (size_t) next_random(LARGEST / PAGE) * PAGE;
		default:
			return (size_t) next_random(600000);
	}
}

static void
change_file(history *h, int number)
{
	content *c = &h->file[number];
	uint64_t i, changes;
	content spare;
	int other;

	switch (c->exists ? next_random(9) : 8)
	{
		case 0:
			c->exists = false;
			c->bytes.len = 0;
			break;
		case 1:
			resize(c, random_size());
			break;
		case 2: /* truncated and grown again */
			resize(c, c->bytes.len / 2);
			write_file(h, number);
			resize(c, random_size());
			break;
		case 3: /* written anew */
			resize(c, random_size());
			if (c->bytes.len > 0)
				random_bytes(c->bytes.data, c->bytes.len);
			break;
		case 4: /* two files change places */
			other = (int) next_random(FILES);
			spare = *c;
			*c = h->file[other];
			h->file[other] = spare;
			write_file(h, other);
			break;
		case 8:
			c->exists = true;
			resize(c, random_size());
			break;
		default: /* some pages */
			changes = next_random(2) == 0 ? 3 : c->bytes.len / PAGE / 3;
			for (i = 0; i < changes && c->bytes.len > PAGE; i++)
			{
				size_t page = (size_t) next_random(c->bytes.len / PAGE);

				random_bytes(c->bytes.data + page * PAGE, PAGE);
				if (next_random(10) == 0)
					memset(c->bytes.data + page * PAGE, 0, PAGE);
			}
			break;
	}
	write_file(h, number);
}

/*
 * Wait until a change gets another time than what was changed before: the
 * kernel's clock for files ticks every few milliseconds.
 */
static void
let_time_pass(const history *h)
{
	char *path = omb_format("%s/probe", h->base);
	struct stat st;
	struct timespec first;
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	must(fd >= 0 && omb_write_full(fd, "x", 1) == 0 && fstat(fd, &st) == 0,
		 "write a probe");
	first = st.st_mtim;
	while (first.tv_sec == st.st_mtim.tv_sec &&
		   first.tv_nsec == st.st_mtim.tv_nsec)
		must(pwrite(fd, "x", 1, 0) == 1 && fstat(fd, &st) == 0,
			 "write a probe");
	(void) close(fd);
	free(path);
}

/* ---- backups ---- */

static void
ignore_progress(uint64_t bytes, uint64_t files, uint64_t stored, void *arg)
{
}

static void
ignore_warning(const char *message, const char *file, uint32_t block,
			   void *arg)
{
}

static void
ignore_message(const char *message, void *arg)
{
}

/*
 * Take a backup; with a failure at some operation of the store when that is
 * not 0, as if the process had died there.
 */
static omb_status
take_backup(history *h, bool full, uint64_t fail_at, snapshot *out,
			omb_error *err)
{
	static const uint8_t control[512] = { 1, 2, 3 };
	omb_backup_info info;
	omb_parent *parent = NULL;
	omb_gather *gather = NULL;
	omb_gather_config config;
	omb_walk_config walk;
	omb_buf last = OMB_BUF_INIT;

	memset(&info, 0, sizeof(info));
	memset(&config, 0, sizeof(config));
	memset(&walk, 0, sizeof(walk));
	h->clock += 1000000;
	omb_backup_id_new(h->clock, info.id);
	(void) strncpy(info.kind, full ? "full" : "incremental",
				   sizeof(info.kind) - 1);
	info.pg_version = 150000;
	info.wal_segment_size = 16 * 1024 * 1024;
	info.boot_id = omb_boot_id();
	info.clock_offset = omb_clock_offset();
	/* so that what is there now may be relied on next time */
	info.start_time = omb_time_now() + 10000000;
	omb_buf_put(&last, control, sizeof(control));
	omb_store_fault_set(h->fault, fail_at, true);
	if (!full)
		(void) omb_parent_open(h->repo, h->fingerprinter, &info,
							   ignore_message, NULL, &parent, err);
	config.repo = h->repo;
	config.fingerprinter = h->fingerprinter;
	config.compression = zstd;
	config.jobs = 2;
	config.parent = parent;
	config.info = &info;
	config.progress = ignore_progress;
	config.warn = ignore_warning;
	walk.pgdata = h->pgdata;
	walk.pg_version = 150000;
	walk.catalog_version = 1;
	walk.segment_blocks = 131072;
	walk.visit = omb_gather_visit;
	walk.warn = ignore_message;
	if (err->status == OMB_OK &&
		omb_gather_new(&config, &gather, err) == OMB_OK)
	{
		walk.arg = gather;
		if (omb_walk(&walk, err) == OMB_OK &&
			omb_gather_add_last(gather, "global/pg_control", &last, err) ==
				OMB_OK &&
			omb_gather_finish(gather, err) == OMB_OK)
			(void) omb_gather_commit(gather, NULL, err);
	}
	omb_store_fault_set(h->fault, 0, false);
	omb_gather_free(gather);
	omb_parent_free(parent);
	if (err->status == OMB_OK)
	{
		h->unread += parent != NULL && info.bytes_read < info.bytes / 2;
		memcpy(out->id, info.id, sizeof(info.id));
	}
	omb_backup_info_clear(&info);
	omb_buf_free(&last);
	return err->status;
}

static void
snapshot_clear(snapshot *s)
{
	int i;

	for (i = 0; i < FILES; i++)
		omb_buf_free(&s->file[i].bytes);
	memset(s, 0, sizeof(*s));
}

static void
problem(history *h, const char *what, const char *id, const omb_error *err)
{
	h->problems++;
	printf("# %s: backup %s: %s\n", what, id, err->message);
}

/* Does a file of a backup have that content? */
static bool
entry_is(omb_blob_reader *reader, const omb_manifest *manifest,
		 const omb_entry *entry, const omb_buf *wanted, omb_error *err)
{
	uint64_t at = 0;
	size_t i;

	for (i = 0; i < entry->extent_count; i++)
	{
		const omb_extent *extent = &entry->extent[i];
		const uint8_t *plain = NULL;

		if (at + extent->length > wanted->len ||
			(!extent->is_zero &&
			 omb_blob_reader_get(reader,
								 manifest->pack[extent->blob.pack].sha256,
								 &extent->blob, &plain, err) != OMB_OK))
			return false;
		if (extent->is_zero ?
				!omb_is_zero(wanted->data + at, (size_t) extent->length) :
				memcmp(plain + extent->start, wanted->data + at,
					   (size_t) extent->length) != 0)
			return false;
		at += extent->length;
	}
	return at == wanted->len && entry->size == wanted->len;
}

static void
check_backup(history *h, const snapshot *s)
{
	omb_error err = OMB_ERROR_INIT;
	omb_manifest *manifest;
	omb_blob_reader *reader;
	bool end = false;
	int i, found = 0, wanted = 0;

	h->restored++;
	if (omb_manifest_open(h->repo, s->id, &manifest, &err) != OMB_OK)
	{
		problem(h, "open", s->id, &err);
		return;
	}
	reader = omb_blob_reader_new(h->repo, 8);
	for (i = 0; i < FILES; i++)
		wanted += s->file[i].exists ? 1 : 0;
	while (!end && err.status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, &err) != OMB_OK || end)
			break;
		for (i = 0; i < FILES && entry.type == OMB_ENTRY_FILE; i++)
		{
			char *path = file_path(h, i);

			if (strcmp(path + strlen(h->pgdata) + 1, entry.path) == 0)
			{
				if (s->file[i].exists && entry_is(reader, manifest, &entry,
												  &s->file[i].bytes, &err))
					found++;
				else if (err.status == OMB_OK)
					(void) omb_error_set(&err, OMB_DAMAGED,
										 "file \"%s\" differs", entry.path);
			}
			free(path);
		}
		omb_entry_clear(&entry);
	}
	if (err.status == OMB_OK && found != wanted)
		(void) omb_error_set(&err, OMB_DAMAGED, "%d files instead of %d",
							 found, wanted);
	if (err.status != OMB_OK)
		problem(h, "read", s->id, &err);
	omb_blob_reader_free(reader);
	omb_manifest_close(manifest);
}

static void
backup_step(history *h)
{
	omb_error err = OMB_ERROR_INIT;
	bool full = next_random(6) == 0;
	uint64_t fail_at = next_random(4) == 0 ? 1 + next_random(60) : 0;
	snapshot s;
	int i;

	memset(&s, 0, sizeof(s));
	if (take_backup(h, full, fail_at, &s, &err) != OMB_OK)
	{
		h->failed++;
		if (fail_at == 0)
			problem(h, "take", s.id, &err);
		let_time_pass(h);
		return;
	}
	h->full += full ? 1 : 0;
	h->incremental += full ? 0 : 1;
	for (i = 0; i < FILES; i++)
	{
		s.file[i].exists = h->file[i].exists;
		omb_buf_put(&s.file[i].bytes, h->file[i].bytes.data,
					h->file[i].bytes.len);
	}
	check_backup(h, &s);
	let_time_pass(h);
	if (h->count == BACKUPS)
	{
		remove_manifests(h->repo, h->taken[0].id);
		snapshot_clear(&h->taken[0]);
		memmove(&h->taken[0], &h->taken[1], (BACKUPS - 1) * sizeof(snapshot));
		h->count--;
	}
	h->taken[h->count++] = s;
}

/* ---- what happens to the repository ---- */

static void
remove_step(history *h)
{
	int which;

	if (h->count < 2)
		return;
	which = (int) next_random((uint64_t) h->count);
	remove_manifests(h->repo, h->taken[which].id);
	snapshot_clear(&h->taken[which]);
	memmove(&h->taken[which], &h->taken[which + 1],
			(size_t) (h->count - which - 1) * sizeof(snapshot));
	h->count--;
	memset(&h->taken[h->count], 0, sizeof(snapshot));
}

static void
ignore_pack(const omb_prune_pack *pack, void *arg)
{
}

static void
ignore_step(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
}

static void
prune_step(history *h)
{
	omb_error err = OMB_ERROR_INIT;
	omb_prune_config config;
	omb_prune_result result;
	uint64_t fail_at = next_random(3) == 0 ? 1 + next_random(100) : 0;
	int i;

	omb_prune_config_init(&config);
	config.repo = h->repo;
	config.compression = zstd;
	config.jobs = 1;
	config.rewrite_size = 0;
	config.rewrite_below = 60;
	config.grace = next_random(2) == 0 ? 0 : 3600;
	config.visit = ignore_pack;
	config.progress = ignore_step;
	omb_store_fault_set(h->fault, fail_at, true);
	if (omb_prune(&config, &result, &err) != OMB_OK && fail_at == 0)
		problem(h, "prune", "-", &err);
	omb_store_fault_set(h->fault, 0, false);
	h->pruned++;
	for (i = 0; i < h->count; i++)
		check_backup(h, &h->taken[i]);
}

/* Lose, cut or damage the files of the cache. */
static void
cache_step(history *h)
{
	char *folder = omb_format("%s/repository/cache", h->base);
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		struct stat st;
		int fd;

		if (entry->d_name[0] == '.' || next_random(2) == 0)
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDWR);
		if (fd < 0 || fstat(fd, &st) != 0)
			continue;
		switch (next_random(3))
		{
			case 0:
				(void) unlinkat(dirfd(dir), entry->d_name, 0);
				break;
			case 1:
				must(ftruncate(fd, st.st_size / 3) == 0, "cut a cache");
				break;
			default:
				must(st.st_size == 0 ||
						 pwrite(fd, "?", 1,
								(off_t) next_random((uint64_t) st.st_size)) ==
							 1,
					 "damage a cache");
				break;
		}
		(void) close(fd);
	}
	if (dir != NULL)
		(void) closedir(dir);
	free(folder);
}

static void
make_folder(const history *h, const char *name)
{
	omb_error err = OMB_ERROR_INIT;
	char *path = omb_format("%s/%s", h->pgdata, name);

	must(omb_directory_create(path, 0700, &err) == OMB_OK, "make a folder");
	free(path);
}

static void
history_begin(history *h)
{
	/* memory where there is such a file system: this syncs a lot */
	char base[] = "/dev/shm/omb-incremental.XXXXXX";
	char elsewhere[] = "/tmp/omb-incremental.XXXXXX";
	char code[OMB_RECOVERY_CODE_TEXT];
	omb_error err = OMB_ERROR_INIT;
	char *location;
	int i;

	memset(h, 0, sizeof(*h));
	h->base = omb_strdup(mkdtemp(base) ? base : mkdtemp(elsewhere));
	h->pgdata = omb_format("%s/pgdata", h->base);
	make_folder(h, "base/1");
	make_folder(h, "base/5");
	make_folder(h, "global");
	make_folder(h, "pg_tblspc");
	location = omb_format("%s/repository", h->base);
	must(omb_directory_create(location, 0700, &err) == OMB_OK,
		 "make a folder");
	h->fault = omb_store_fault_new(omb_store_directory_new(location));
	must(omb_repository_prepare(h->fault, false, NULL, code, &h->repo, &err) ==
				 OMB_OK &&
			 omb_repository_commit(h->repo, &err) == OMB_OK,
		 "make a repository");
	h->fingerprinter = omb_fingerprinter_new(&h->repo->keyring);
	h->clock = 1700000000000000;
	for (i = 0; i < FILES; i++)
	{
		h->file[i].exists = next_random(4) > 0;
		resize(&h->file[i], h->file[i].exists ? random_size() : 0);
		write_file(h, i);
	}
	free(location);
}

static void
history_end(history *h)
{
	char *command = omb_format("rm -rf '%s'", h->base);
	int i;

	for (i = 0; i < h->count; i++)
		snapshot_clear(&h->taken[i]);
	for (i = 0; i < FILES; i++)
		omb_buf_free(&h->file[i].bytes);
	omb_fingerprinter_free(h->fingerprinter);
	omb_repository_free(h->repo);
	must(system(command) == 0, "tidy up");
	free(command);
	free(h->pgdata);
	free(h->base);
}

static void
test_random_histories(int steps)
{
	history h;
	int i, j;

	history_begin(&h);
	for (i = 0; i < steps && h.problems == 0; i++)
	{
		uint64_t what = next_random(100);

		if (what < 50)
			change_file(&h, (int) next_random(FILES));
		else if (what < 75)
			backup_step(&h);
		else if (what < 82)
			remove_step(&h);
		else if (what < 90)
			prune_step(&h);
		else if (what < 95)
			cache_step(&h);
		else if (h.count > 0)
			check_backup(&h, &h.taken[next_random((uint64_t) h.count)]);
	}
	for (j = 0; j < h.count; j++)
		check_backup(&h, &h.taken[j]);
	ok(h.problems == 0,
	   "%d steps: %d incremental and %d full backups, %d cut short, %d mostly "
	   "unread, %d prunes, %d times read back",
	   i, h.incremental, h.full, h.failed, h.unread, h.pruned, h.restored);
	ok(h.incremental > 0 && h.full > 0 && h.failed > 0 && h.unread > 0 &&
		   h.pruned > 0,
	   "all of it happened");
	history_end(&h);
}

int
main(void)
{
	const char *seed = getenv("OMB_SEED");
	const char *steps = getenv("OMB_STEPS");

	random_state =
		seed ? strtoull(seed, NULL, 10) : (uint64_t) omb_time_now() | 1;
	printf("# OMB_SEED=%" PRIu64 "\n", random_state);
	test_random_histories(steps ? atoi(steps) : 2000);
	return tap_done();
}
