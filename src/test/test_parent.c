/*
 * test_parent.c: when a file is taken over unread, and what is known of its
 * pages.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/text.h"
#include "repo/pagecache.h"
#include "store/directory.h"
#include "task/backup/parent.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const omb_compression zstd = { OMB_METHOD_ZSTD, 1 };

#define ID "20261120T231502Z-7f3a"
#define BLOCKS 3

static omb_repository *repo;
static omb_fingerprinter *fingerprinter;
static char *base;
static char *source;
static struct stat source_stat;
static char *warned;

static void
must(bool good, const char *what)
{
	if (!good)
	{
		printf("# could not %s\n", what);
		abort();
	}
}

static void
note_warning(const char *message, void *arg)
{
	free(warned);
	warned = omb_strdup(message);
}

static uint64_t
nanoseconds(const struct timespec *time)
{
	return (uint64_t) time->tv_sec * 1000000000 + (uint64_t) time->tv_nsec;
}

/* The facts of a backup of now; the file is an hour older than it. */
static void
make_facts(omb_backup_info *info)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->id, ID, sizeof(ID));
	memcpy(info->kind, "full", 5);
	info->system_identifier = 77;
	info->pg_version = 150004;
	info->control_version = 1300;
	info->catalog_version = 202209061;
	info->boot_id = omb_strdup("this boot");
	info->clock_offset = 1000000000;
	info->start_time = omb_time_now() - 1000000;
	info->stop_time = info->start_time + 500000;
}

static void
make_entry(omb_entry *entry, const omb_blob_ref *blob)
{
	omb_extent extent;

	memset(entry, 0, sizeof(*entry));
	memset(&extent, 0, sizeof(extent));
	entry->type = OMB_ENTRY_FILE;
	entry->root = OMB_ROOT_PGDATA;
	entry->path = omb_strdup("base/1/16384");
	entry->mode = 0600;
	entry->mtime = nanoseconds(&source_stat.st_mtim);
	entry->ctime = nanoseconds(&source_stat.st_ctim);
	entry->inode = (uint64_t) source_stat.st_ino;
	entry->size = (uint64_t) source_stat.st_size;
	extent.blob = *blob;
	extent.length = entry->size;
	omb_entry_add_extent(entry, &extent);
}

/* What is different about a case. */
typedef struct change
{
	void (*entry)(omb_entry *entry);
	void (*parent)(omb_backup_info *info); /* when it was taken */
	void (*now)(omb_backup_info *info);	   /* of the new backup */
	bool lose_pack;
} change;

/*
 * Take a backup with one file, change something, and ask a new backup: is the
 * file taken over unread? -1 when there is no parent at all.
 */
static int
ask(const change *c)
{
	static uint8_t content[BLOCKS * OMB_FINGERPRINT_BLOCK];
	omb_error err = OMB_ERROR_INIT;
	omb_pack_table *packs = omb_pack_table_new();
	omb_pack_writer *writer = omb_pack_writer_new(repo, &zstd, packs);
	omb_manifest_writer *manifest;
	omb_backup_info info, now;
	omb_blob_ref blob;
	omb_entry entry;
	omb_parent *parent = NULL;
	const omb_entry *found;
	const uint64_t *fingerprint;
	int answer = -1;
	omb_pack_id pack;
	char *name;

	make_facts(&info);
	if (c->parent)
		c->parent(&info);
	must(omb_pack_add(writer, content, sizeof(content), &blob, &err) ==
				 OMB_OK &&
			 omb_pack_finish(writer, &err) == OMB_OK &&
			 omb_manifest_create(repo, &manifest, &err) == OMB_OK,
		 "begin a backup");
	make_entry(&entry, &blob);
	/* a file that is as old as can be */
	if (c->entry)
		c->entry(&entry);
	must(omb_manifest_add(manifest, &entry, &err) == OMB_OK &&
			 omb_manifest_commit(manifest, &info, packs, &err) == OMB_OK,
		 "take a backup");
	pack = omb_pack_table_get(packs, blob.pack);
	if (c->lose_pack)
	{
		name = omb_pack_name(pack.sha256);
		must(omb_store_remove(repo->store, name, &err) == OMB_OK,
			 "lose a pack");
		free(name);
	}
	make_facts(&now);
	if (c->now)
		c->now(&now);
	must(omb_parent_open(repo, fingerprinter, &now, note_warning, NULL,
						 &parent, &err) == OMB_OK,
		 "open the parent");
	if (parent != NULL)
	{
		must(omb_parent_find(parent, OMB_ROOT_PGDATA, "base/1/1",
							 &fingerprint) == NULL,
			 "pass over a file that is not there");
		found = omb_parent_find(parent, OMB_ROOT_PGDATA, "base/1/16384",
								&fingerprint);
		must(found != NULL && fingerprint == NULL, "find the file");
		answer = omb_parent_unchanged(parent, found, &source_stat, source);
	}
	omb_parent_free(parent);
	remove_manifests(repo, ID);
	omb_backup_info_clear(&info);
	omb_backup_info_clear(&now);
	omb_entry_clear(&entry);
	omb_pack_writer_free(writer);
	omb_pack_table_free(packs);
	return answer;
}

static void
size(omb_entry *e)
{
	e->size += 1;
	e->extent[0].length += 1;
	e->extent[0].blob.raw += 1;
}
static void
inode(omb_entry *e)
{
	e->inode += 1;
}
static void
mtime(omb_entry *e)
{
	e->mtime -= 1;
}
static void
ctime_(omb_entry *e)
{
	e->ctime -= 1;
}
static void
damaged(omb_entry *e)
{
	e->damaged = omb_calloc(1, sizeof(uint32_t));
	e->damaged_count = 1;
}
static void
directory(omb_entry *e)
{
	e->type = OMB_ENTRY_DIRECTORY;
	e->extent_count = 0;
	e->size = 0;
}
static void
too_early(omb_backup_info *i)
{
	i->start_time =
		(int64_t) (nanoseconds(&source_stat.st_ctim) / 1000) + 1900000;
}
static void
soon_after(omb_backup_info *i)
{
	i->start_time =
		(int64_t) (nanoseconds(&source_stat.st_ctim) / 1000) + 2100000;
	i->stop_time = i->start_time;
}
static void
later(omb_backup_info *i)
{
	i->stop_time = omb_time_now() + 60000000;
}
static void
other_boot(omb_backup_info *i)
{
	free(i->boot_id);
	i->boot_id = omb_strdup("another boot");
}
static void
no_boot(omb_backup_info *i)
{
	free(i->boot_id);
	i->boot_id = omb_strdup("");
}
static void
old_format(omb_backup_info *i)
{
	free(i->boot_id);
	i->boot_id = NULL;
}
static void
set_back(omb_backup_info *i)
{
	i->clock_offset -= 1500000;
}
static void
slewed(omb_backup_info *i)
{
	i->clock_offset -= 500000;
}
static void
set_forward(omb_backup_info *i)
{
	i->clock_offset += 3600000000;
}
static void
other_cluster(omb_backup_info *i)
{
	i->system_identifier = 78;
}
static void
other_version(omb_backup_info *i)
{
	i->pg_version = 160000;
}
static void
minor_version(omb_backup_info *i)
{
	i->pg_version = 150007;
}
static void
other_catalog(omb_backup_info *i)
{
	i->catalog_version += 1;
}

static void
test_taken_over_only_beyond_doubt(void)
{
	static const struct
	{
		const char *what;
		change change;
		int answer;
	} cases[] = {
		{ "nothing changed", { NULL, soon_after, NULL, false }, 1 },
		{ "the size changed", { size, soon_after, NULL, false }, 0 },
		{ "another inode", { inode, soon_after, NULL, false }, 0 },
		{ "changed since", { mtime, soon_after, NULL, false }, 0 },
		{ "its time was put back", { ctime_, soon_after, NULL, false }, 0 },
		{ "known to be damaged", { damaged, soon_after, NULL, false }, 0 },
		{ "it was a directory", { directory, soon_after, NULL, false }, 0 },
		{ "as new as the backup", { NULL, too_early, NULL, false }, 0 },
		{ "the parent is of the future", { NULL, later, NULL, false }, 0 },
		{ "the machine was restarted",
		  { NULL, soon_after, other_boot, false },
		  0 },
		{ "no id of the boot", { NULL, no_boot, no_boot, false }, 0 },
		{ "a parent of the first versions",
		  { NULL, old_format, NULL, false },
		  0 },
		{ "the clock was set back", { NULL, soon_after, set_back, false }, 0 },
		{ "the clock was slewed", { NULL, soon_after, slewed, false }, 1 },
		{ "the clock was set forward",
		  { NULL, soon_after, set_forward, false },
		  1 },
		{ "its pack is missing", { NULL, soon_after, NULL, true }, 0 },
		{ "another cluster", { NULL, soon_after, other_cluster, false }, -1 },
		{ "another major version",
		  { NULL, soon_after, other_version, false },
		  -1 },
		{ "another minor version",
		  { NULL, soon_after, minor_version, false },
		  1 },
		{ "another catalog", { NULL, soon_after, other_catalog, false }, -1 },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(ask(&cases[i].change) == cases[i].answer, "%s: %s", cases[i].what,
		   cases[i].answer > 0	? "taken over unread" :
		   cases[i].answer == 0 ? "read again" :
								  "no parent");
	ok(warned != NULL && strstr(warned, "is missing") != NULL,
	   "a missing pack is reported");
}

static void
test_damaged_manifests_are_passed_over(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_backup_info now;
	omb_parent *parent;

	must(omb_store_put(repo->store, OMB_BACKUP_FOLDER "/" ID, "no manifest",
					   11, &err) == OMB_OK,
		 "store nonsense");
	make_facts(&now);
	free(warned);
	warned = NULL;
	ok(omb_parent_open(repo, fingerprinter, &now, note_warning, NULL, &parent,
					   &err) == OMB_OK &&
		   parent == NULL,
	   "a damaged manifest is no parent");
	ok(warned != NULL && strstr(warned, ID) != NULL, "and is reported");
	must(omb_store_remove(repo->store, OMB_BACKUP_FOLDER "/" ID, &err) ==
			 OMB_OK,
		 "remove nonsense");
	omb_backup_info_clear(&now);
}

/* ---- the cache ---- */

static void
write_cache(void)
{
	omb_page_cache_writer *writer;
	uint64_t fingerprint[BLOCKS] = { 1, 2, 3 };

	omb_page_cache_create(repo, fingerprinter, ID, &writer);
	must(writer != NULL, "begin a cache");
	omb_page_cache_add(writer, OMB_ROOT_PGDATA, "a", fingerprint, BLOCKS);
	omb_page_cache_add(writer, OMB_ROOT_PGDATA, "c", fingerprint, 1);
	omb_page_cache_commit(writer, NULL);
}

/* How many of the three files are known, with the right fingerprints? */
static int
read_cache(bool *wrong)
{
	static const struct
	{
		const char *path;
		size_t count;
	} files[] = { { "a", BLOCKS }, { "b", 2 }, { "c", 1 } };
	omb_page_cache *cache = omb_page_cache_open(repo, fingerprinter, ID);
	int known = 0;
	size_t i, j;

	*wrong = false;
	for (i = 0; i < 3; i++)
	{
		const uint64_t *fingerprint = omb_page_cache_find(
			cache, OMB_ROOT_PGDATA, files[i].path, files[i].count);

		known += fingerprint != NULL;
		for (j = 0; fingerprint != NULL && j < files[i].count; j++)
			*wrong = *wrong || fingerprint[j] != j + 1;
	}
	omb_page_cache_close(cache);
	return known;
}

static void
test_cache_knows_what_it_was_told(void)
{
	char *path = omb_format("%s/repository/cache/fingerprints-" ID, base);
	bool wrong;
	int fd, known, believed = 0;
	struct stat st;
	off_t i;

	ok(read_cache(&wrong) == 0, "without a cache nothing is known");
	write_cache();
	ok(read_cache(&wrong) == 2 && !wrong, "two files are known, one is not");
	fd = open(path, O_RDWR);
	must(fd >= 0 && fstat(fd, &st) == 0, "open the cache");
	for (i = 0; i < st.st_size; i++)
	{
		uint8_t byte, other;

		must(pread(fd, &byte, 1, i) == 1, "read a byte");
		other = byte ^ 0x10;
		must(pwrite(fd, &other, 1, i) == 1, "change a byte");
		known = read_cache(&wrong);
		if (wrong || known == 2)
			believed++;
		must(pwrite(fd, &byte, 1, i) == 1, "put a byte back");
	}
	is_u64((uint64_t) believed, 0, "no changed byte is believed");
	for (i = st.st_size - 1; i >= 0; i--)
	{
		must(ftruncate(fd, i) == 0, "cut the cache");
		known = read_cache(&wrong);
		if (wrong || known == 2)
			believed++;
	}
	is_u64((uint64_t) believed, 0, "cut anywhere, what is left is right");
	(void) close(fd);
	free(path);
}

int
main(void)
{
	char folder[] = "/tmp/omb-parent.XXXXXX";
	char code[OMB_RECOVERY_CODE_TEXT];
	omb_error err = OMB_ERROR_INIT;
	char *location, *command;
	int fd;

	must(mkdtemp(folder) != NULL, "make a folder");
	base = folder;
	source = omb_format("%s/16384", base);
	location = omb_format("%s/repository", base);
	fd = open(source, O_WRONLY | O_CREAT, 0600);
	must(fd >= 0 && ftruncate(fd, BLOCKS * OMB_FINGERPRINT_BLOCK) == 0 &&
			 fstat(fd, &source_stat) == 0,
		 "make a file");
	(void) close(fd);
	must(mkdir(location, 0700) == 0 &&
			 omb_repository_prepare(omb_store_directory_new(location), false,
									NULL, code, &repo, &err) == OMB_OK &&
			 omb_repository_commit(repo, &err) == OMB_OK,
		 "make a repository");
	fingerprinter = omb_fingerprinter_new(&repo->keyring);
	/* a parent that begins 2.1 s after the file is not of the future */
	while (omb_time_now() <
		   (int64_t) (nanoseconds(&source_stat.st_ctim) / 1000) + 2200000)
		(void) usleep(10000);
	test_taken_over_only_beyond_doubt();
	test_damaged_manifests_are_passed_over();
	test_cache_knows_what_it_was_told();
	omb_fingerprinter_free(fingerprinter);
	omb_repository_free(repo);
	command = omb_format("rm -rf '%s'", base);
	must(system(command) == 0, "tidy up");
	free(command);
	free(location);
	free(source);
	free(warned);
	return tap_done();
}
