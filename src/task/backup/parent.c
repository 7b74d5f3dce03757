/*
 * parent.c: choosing the parent of a backup and walking beside it.
 */
#include "task/backup/parent.h"

#include "base/file.h"
#include "base/text.h"
#include "repo/pagecache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

/*
 * A file that was changed this shortly before the parent's beginning may have
 * been changed again with the same time, whose unit is that of the file
 * system: 2 s on the coarsest.
 */
#define TIME_UNIT 2000000000
/* The clock may be slewed, but not set back, between two backups. */
#define CLOCK_BACK_MAX 1000000

typedef enum pack_state
{
	PACK_UNKNOWN,
	PACK_PRESENT,
	PACK_MISSING
} pack_state;

struct omb_parent
{
	omb_repository *repo;
	omb_manifest *manifest;
	omb_page_cache *cache;
	omb_parent_warn warn;
	void *arg;
	uint8_t *state; /* of each pack */
	bool is_timely; /* times of files can be relied on */

	omb_entry entry; /* the next one of the manifest */
	bool has_entry;
	bool at_end;

	/* whether a file system keeps time by this machine's clock */
	dev_t device;
	bool has_device;
	bool is_local;
};

char *
omb_boot_id(void)
{
	omb_buf text = OMB_BUF_INIT;
	omb_error ignored = OMB_ERROR_INIT;
	char *id;

	(void) omb_file_read("/proc/sys/kernel/random/boot_id", 64, &text,
						 &ignored);
	id = omb_strdup(omb_buf_text(&text));
	id[strcspn(id, "\n")] = '\0';
	omb_buf_free(&text);
	return id;
}

int64_t
omb_clock_offset(void)
{
	struct timespec since_boot;

	(void) clock_gettime(CLOCK_BOOTTIME, &since_boot);
	return omb_time_now() - ((int64_t) since_boot.tv_sec * 1000000 +
							 (int64_t) since_boot.tv_nsec / 1000);
}

/* ---- choosing ---- */

typedef struct id_list
{
	char (*id)[OMB_BACKUP_ID_MAX];
	size_t count;
} id_list;

static omb_status
add_id(const char *id, void *arg, omb_error *err)
{
	id_list *list = arg;

	list->id = omb_realloc(list->id, (list->count + 1) * OMB_BACKUP_ID_MAX);
	memcpy(list->id[list->count++], id, strlen(id) + 1);
	return OMB_OK;
}

/* Do both describe data directories of the same format? */
static bool
is_usable(const omb_backup_info *parent, const omb_backup_info *facts)
{
	return parent->system_identifier == facts->system_identifier &&
		   parent->pg_version / 10000 == facts->pg_version / 10000 &&
		   parent->control_version == facts->control_version &&
		   parent->catalog_version == facts->catalog_version;
}

static bool
is_timely(const omb_backup_info *parent, const omb_backup_info *facts)
{
	return parent->boot_id != NULL && parent->boot_id[0] != '\0' &&
		   strcmp(parent->boot_id, facts->boot_id) == 0 &&
		   facts->clock_offset - parent->clock_offset > -CLOCK_BACK_MAX &&
		   parent->stop_time <= omb_time_now();
}

/* Is it one that the new one can build upon? */
typedef bool (*is_wanted)(const omb_backup_info *parent,
						  const omb_backup_info *facts);

static bool
is_base(const omb_backup_info *parent, const omb_backup_info *facts)
{
	return omb_backup_is_base(parent) &&
		   (facts == NULL || is_usable(parent, facts));
}

static bool
has_files(const omb_backup_info *parent, const omb_backup_info *facts)
{
	return parent->file_sets > 0;
}

/* The newest one that is wanted, open; NULL when there is none. */
static omb_status
find_newest(omb_repository *repo, is_wanted wanted,
			const omb_backup_info *facts, omb_parent_warn warn, void *arg,
			omb_manifest **manifest, omb_error *err)
{
	id_list list = { NULL, 0 };

	*manifest = NULL;
	(void) omb_backup_list(repo, add_id, &list, err);
	while (err->status == OMB_OK && *manifest == NULL && list.count > 0)
	{
		omb_error problem = OMB_ERROR_INIT;

		if (omb_manifest_open(repo, list.id[--list.count], manifest,
							  &problem) != OMB_OK)
			warn(problem.message, arg);
		else if (!wanted(&(*manifest)->info, facts))
		{
			omb_manifest_close(*manifest);
			*manifest = NULL;
		}
	}
	free(list.id);
	return err->status;
}

static omb_status
open_newest(omb_repository *repo, const omb_fingerprinter *fingerprinter,
			is_wanted wanted, const omb_backup_info *facts,
			omb_parent_warn warn, void *arg, omb_parent **out, omb_error *err)
{
	omb_manifest *manifest;
	omb_parent *parent;

	*out = NULL;
	if (find_newest(repo, wanted, facts, warn, arg, &manifest, err) !=
			OMB_OK ||
		manifest == NULL)
		return err->status;
	parent = omb_calloc(1, sizeof(*parent));
	parent->repo = repo;
	parent->manifest = manifest;
	parent->warn = warn;
	parent->arg = arg;
	parent->state = omb_calloc(manifest->pack_count, 1);
	parent->is_timely = is_timely(&manifest->info, facts);
	parent->cache =
		omb_page_cache_open(repo, fingerprinter, manifest->info.id);
	*out = parent;
	return OMB_OK;
}

omb_status
omb_parent_open(omb_repository *repo, const omb_fingerprinter *fingerprinter,
				const omb_backup_info *facts, omb_parent_warn warn, void *arg,
				omb_parent **out, omb_error *err)
{
	return open_newest(repo, fingerprinter, is_base, facts, warn, arg, out,
					   err);
}

omb_status
omb_parent_open_files(omb_repository *repo,
					  const omb_fingerprinter *fingerprinter,
					  const omb_backup_info *facts, omb_parent_warn warn,
					  void *arg, omb_parent **out, omb_error *err)
{
	return open_newest(repo, fingerprinter, has_files, facts, warn, arg, out,
					   err);
}

static void
ignore_warning(const char *message, void *arg)
{
}

omb_status
omb_parent_newest_base(omb_repository *repo, char id[OMB_BACKUP_ID_MAX],
					   omb_error *err)
{
	omb_manifest *manifest;

	id[0] = '\0';
	if (find_newest(repo, is_base, NULL, ignore_warning, NULL, &manifest,
					err) == OMB_OK &&
		manifest != NULL)
		memcpy(id, manifest->info.id, OMB_BACKUP_ID_MAX);
	omb_manifest_close(manifest);
	return err->status;
}

const omb_backup_info *
omb_parent_info(const omb_parent *parent)
{
	return &parent->manifest->info;
}

/* ---- walking ---- */

/* Make the next entry of the manifest the one at hand. */
static void
advance(omb_parent *parent)
{
	omb_error problem = OMB_ERROR_INIT;

	omb_entry_clear(&parent->entry);
	parent->has_entry = false;
	if (parent->at_end)
		return;
	if (omb_manifest_next(parent->manifest, &parent->entry, &parent->at_end,
						  &problem) != OMB_OK)
	{
		/* what cannot be found there is read and stored */
		parent->warn(problem.message, parent->arg);
		parent->at_end = true;
	}
	parent->has_entry = !parent->at_end;
}

const omb_entry *
omb_parent_find(omb_parent *parent, omb_root root, const char *path,
				const uint64_t **fingerprint)
{
	*fingerprint = NULL;
	if (parent == NULL)
		return NULL;
	if (!parent->has_entry)
		advance(parent);
	while (parent->has_entry)
	{
		const omb_entry *entry = &parent->entry;
		int order = omb_manifest_compare(entry->root, entry->path, root, path);

		if (order > 0)
			return NULL;
		/* the cache is in step with the manifest: all files are asked for */
		if (entry->type == OMB_ENTRY_FILE)
			*fingerprint =
				omb_page_cache_find(parent->cache, entry->root, entry->path,
									omb_fingerprint_count(entry->size));
		if (order == 0)
		{
			/* next time it is behind us */
			parent->has_entry = false;
			return entry;
		}
		*fingerprint = NULL;
		advance(parent);
	}
	return NULL;
}

/* Make the first entry at or behind the path the one at hand. */
static bool
go_to(omb_parent *parent, omb_root root, const char *path)
{
	if (parent == NULL)
		return false;
	if (!parent->has_entry)
		advance(parent);
	while (parent->has_entry &&
		   omb_manifest_compare(parent->entry.root, parent->entry.path, root,
								path) < 0)
	{
		/* the cache stays in step */
		if (parent->entry.type == OMB_ENTRY_FILE)
			(void) omb_page_cache_find(
				parent->cache, parent->entry.root, parent->entry.path,
				omb_fingerprint_count(parent->entry.size));
		advance(parent);
	}
	return parent->has_entry && parent->entry.root == root;
}

const omb_entry *
omb_parent_next_below(omb_parent *parent, omb_root root, const char *path,
					  const uint64_t **fingerprint)
{
	size_t len = strlen(path);
	const omb_entry *entry;

	*fingerprint = NULL;
	if (!go_to(parent, root, path))
		return NULL;
	entry = &parent->entry;
	if (strncmp(entry->path, path, len) != 0 ||
		(entry->path[len] != '/' && entry->path[len] != '\0'))
		return NULL;
	if (entry->type == OMB_ENTRY_FILE)
		*fingerprint =
			omb_page_cache_find(parent->cache, entry->root, entry->path,
								omb_fingerprint_count(entry->size));
	parent->has_entry = false;
	return entry;
}

/*
 * Does the file system take times from this machine's clock? Those that get
 * them from another machine are known by their magic numbers (linux/magic.h
 * and the kernel's sources).
 */
static bool
is_local(omb_parent *parent, const struct stat *st, const char *source)
{
	static const unsigned long remote[] = {
		0x6969,		/* NFS */
		0x517b,		/* SMB */
		0xff534d42, /* CIFS */
		0xfe534d42, /* SMB2 */
		0x65735546, /* FUSE */
		0x01021997, /* 9P */
		0x00c36400, /* Ceph */
		0x5346414f, /* AFS */
		0x73757245, /* Coda */
		0x564c,		/* NCP */
		0x7461636f, /* OCFS2 */
		0x01161970, /* GFS2 */
		0x0bd00bd0, /* Lustre */
		0x786f4256, /* VirtualBox shared folders */
	};
	struct statfs fs;
	size_t i;

	if (parent->has_device && parent->device == st->st_dev)
		return parent->is_local;
	parent->has_device = true;
	parent->device = st->st_dev;
	parent->is_local = statfs(source, &fs) == 0;
	for (i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
	{
		if (parent->is_local && (unsigned long) fs.f_type == remote[i])
			parent->is_local = false;
	}
	return parent->is_local;
}

bool
omb_parent_unchanged(omb_parent *parent, const omb_entry *entry,
					 const struct stat *st, const char *source)
{
	const omb_backup_info *info = &parent->manifest->info;
	uint64_t start =
		(uint64_t) (entry->root == OMB_ROOT_FILES ? info->files_start_time :
													info->start_time) *
		1000;

	if (!parent->is_timely || entry->type != OMB_ENTRY_FILE ||
		entry->damaged_count > 0 || entry->size != (uint64_t) st->st_size ||
		entry->inode != (uint64_t) st->st_ino ||
		entry->mtime != omb_nanoseconds(&st->st_mtim) ||
		entry->ctime != omb_nanoseconds(&st->st_ctim) ||
		entry->mtime + TIME_UNIT >= start ||
		entry->ctime + TIME_UNIT >= start || !is_local(parent, st, source))
		return false;
	return omb_parent_is_whole(parent, entry);
}

/* ---- packs ---- */

bool
omb_parent_is_whole(omb_parent *parent, const omb_entry *entry)
{
	size_t i;

	for (i = 0; i < entry->extent_count; i++)
	{
		if (!entry->extent[i].is_zero &&
			!omb_parent_has_pack(parent, entry->extent[i].blob.pack))
			return false;
	}
	return true;
}

bool
omb_parent_has_pack(omb_parent *parent, uint32_t number)
{
	const omb_pack_id *id = &parent->manifest->pack[number];
	omb_error problem = OMB_ERROR_INIT;
	omb_pack *pack;

	if (parent->state[number] == PACK_UNKNOWN)
	{
		parent->state[number] = PACK_MISSING;
		if (omb_pack_open(parent->repo, id->sha256, &pack, &problem) == OMB_OK)
		{
			if (omb_pack_size(pack) == id->size)
				parent->state[number] = PACK_PRESENT;
			else
				(void) omb_error_set(&problem, OMB_DAMAGED,
									 "a pack of backup \"%s\" has another "
									 "size than it had",
									 parent->manifest->info.id);
			omb_pack_close(pack);
		}
		if (parent->state[number] == PACK_MISSING)
			parent->warn(problem.message, parent->arg);
	}
	return parent->state[number] == PACK_PRESENT;
}

uint32_t
omb_parent_pack_count(const omb_parent *parent)
{
	return parent->manifest->pack_count;
}

const omb_pack_id *
omb_parent_pack(const omb_parent *parent, uint32_t number)
{
	return &parent->manifest->pack[number];
}

void
omb_parent_free(omb_parent *parent)
{
	if (parent == NULL)
		return;
	omb_page_cache_close(parent->cache);
	omb_manifest_close(parent->manifest);
	omb_entry_clear(&parent->entry);
	free(parent->state);
	free(parent);
}
