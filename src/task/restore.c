/*
 * restore.c: making a data directory that recovers to a target.
 *
 * Order of the work, so that a restore that was cut short is never mistaken
 * for one that was not: everything is checked before the first byte is
 * written; all files but pg_control are placed and synced, then label and
 * settings; pg_control comes last.
 */
#include "task/restore.h"

#include "base/crc32c.h"
#include "base/file.h"
#include "base/text.h"
#include "pgfmt/control.h"
#include "pgfmt/tablespacemap.h"
#include "repo/claim.h"
#include "task/pgmanifest.h"
#include "task/place.h"
#include "task/recoveryconf.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CONTROL_PATH "global/pg_control"
#define CONTROL_MAX 65536
#define TABLESPACES_MAX 4096

typedef struct tablespace
{
	char *oid;
	char *path; /* where it goes now */
	uint64_t bytes;
} tablespace;

typedef struct restore
{
	const omb_restore_config *config;
	omb_restore_result *result;
	omb_manifest *manifest;
	char *config_dir; /* for configuration files from elsewhere */
	tablespace *space;
	size_t space_count;
	uint64_t pgdata_bytes;
	uint64_t total_bytes;
	omb_entry control;
	omb_pg_manifest *pg_manifest;
} restore;

/* ---- checks ---- */

/* A directory to restore into has nothing in it. */
static omb_status
check_empty(const char *path, const char *what, omb_error *err)
{
	bool empty;

	if (omb_directory_is_empty(path, &empty, err) == OMB_OK && !empty)
	{
		(void) omb_error_set(err, OMB_REFUSED, "%s \"%s\" is not empty", what,
							 path);
		omb_error_hint(err, "Nothing was changed. Move what is there to "
							"another place, or give another directory.");
	}
	return err->status;
}

/* Is the server of that directory running? */
static omb_status
check_not_running(const char *pgdata, omb_error *err)
{
	char *path = omb_format("%s/postmaster.pid", pgdata);
	omb_buf content = OMB_BUF_INIT;
	omb_error ignored = OMB_ERROR_INIT;
	long pid = 0;

	if (omb_file_read(path, 65536, &content, &ignored) == OMB_OK)
		pid = strtol(omb_buf_text(&content), NULL, 10);
	if (pid > 0 && (kill((pid_t) pid, 0) == 0 || errno == EPERM))
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "a server is running in \"%s\" (PID %ld)", pgdata,
							 pid);
		omb_error_hint(err, "Stop it first, or restore into another "
							"directory.");
	}
	omb_buf_free(&content);
	free(path);
	return err->status;
}

static omb_status
check_pgdata(const omb_restore_config *config, const char *config_dir,
			 omb_error *err)
{
	if (geteuid() == 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "restore must not be run as root");
		omb_error_hint(err,
					   "Run it as the user that runs the server, for example: "
					   "runuser -u postgres -- omsupply_backup restore ...");
		return err->status;
	}
	if (check_not_running(config->pgdata, err) == OMB_OK &&
		check_empty(config->pgdata, "directory", err) == OMB_OK)
		(void) check_empty(config_dir, "directory", err);
	return err->status;
}

/* Bytes free for us in the file system that a path is, or will be, in. */
static omb_status
free_bytes(const char *path, uint64_t *bytes, dev_t *device, omb_error *err)
{
	char *existing = omb_strdup(path);
	struct statvfs fs;
	struct stat st;

	while (stat(existing, &st) != 0 && errno == ENOENT &&
		   strcmp(existing, "/") != 0)
	{
		char *parent = omb_path_parent(existing);

		free(existing);
		existing = parent;
	}
	if (stat(existing, &st) != 0 || statvfs(existing, &fs) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not look at file system of \"%s\"", path);
	else if (access(existing, W_OK | X_OK) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not write to directory \"%s\"", existing);
	else
	{
		*bytes = (uint64_t) fs.f_bavail * fs.f_frsize;
		*device = st.st_dev;
	}
	free(existing);
	return err->status;
}

/* What all that goes to one file system needs together must fit. */
static omb_status
check_space(const restore *r, omb_error *err)
{
	size_t i, j;

	for (i = 0; i <= r->space_count; i++)
	{
		const char *path = i == 0 ? r->config->pgdata : r->space[i - 1].path;
		uint64_t needed = 0;
		uint64_t available = 0;
		dev_t device = 0;

		if (free_bytes(path, &available, &device, err) != OMB_OK)
			return err->status;
		for (j = 0; j <= r->space_count; j++)
		{
			uint64_t ignored = 0;
			dev_t other = 0;

			if (free_bytes(j == 0 ? r->config->pgdata : r->space[j - 1].path,
						   &ignored, &other, err) != OMB_OK)
				return err->status;
			if (other == device)
				needed += j == 0 ? r->pgdata_bytes : r->space[j - 1].bytes;
		}
		if (needed > available)
		{
			char wants[OMB_SIZE_TEXT];
			char has[OMB_SIZE_TEXT];

			(void) omb_error_set(err, OMB_NO_SPACE,
								 "not enough space for \"%s\": %s are needed, "
								 "%s are free",
								 path, omb_size_format(needed, wants),
								 omb_size_format(available, has));
			omb_error_hint(err, "Nothing was changed. The server will need "
								"more for the WAL that it writes.");
			return err->status;
		}
	}
	return OMB_OK;
}

/* ---- reading the manifest before copying ---- */

static omb_status
add_tablespace(restore *r, const omb_entry *entry, omb_error *err)
{
	const omb_restore_config *config = r->config;
	const char *path = entry->target;
	tablespace *space;
	size_t i;

	for (i = 0; i < config->move_count; i++)
	{
		if (strcmp(config->move[i].from, path) == 0)
			path = config->move[i].to;
	}
	if (path[0] != '/')
		return omb_error_set(err, OMB_USAGE,
							 "tablespace directory \"%s\" is not an absolute "
							 "path",
							 path);
	if (r->space_count == TABLESPACES_MAX)
		return omb_error_set(err, OMB_DAMAGED,
							 "the backup has too many tablespaces");
	if (check_empty(path, "tablespace directory", err) != OMB_OK)
	{
		omb_error_hint(err,
					   "Nothing was changed. To put the tablespace "
					   "elsewhere, give --tablespace-map %s=NEW.",
					   entry->target);
		return err->status;
	}
	r->space = omb_realloc(r->space, (r->space_count + 1) * sizeof(*space));
	space = &r->space[r->space_count++];
	memset(space, 0, sizeof(*space));
	space->oid = omb_strdup(strrchr(entry->path, '/') + 1);
	space->path = omb_strdup(path);
	return OMB_OK;
}

/* The tablespace that a path is in, or NULL; *rest is the path in it. */
static tablespace *
find_tablespace(const restore *r, const char *path, const char **rest)
{
	size_t i;

	if (strncmp(path, "pg_tblspc/", 10) != 0)
		return NULL;
	for (i = 0; i < r->space_count; i++)
	{
		size_t len = strlen(r->space[i].oid);

		if (strncmp(path + 10, r->space[i].oid, len) == 0 &&
			(path[10 + len] == '/' || path[10 + len] == '\0'))
		{
			*rest = path + 10 + len;
			return &r->space[i];
		}
	}
	return NULL;
}

static omb_status
survey_entry(restore *r, omb_entry *entry, omb_error *err)
{
	const char *rest;
	tablespace *space;

	if (entry->type == OMB_ENTRY_LINK)
	{
		/* links exist for tablespaces only */
		if (strncmp(entry->path, "pg_tblspc/", 10) != 0 ||
			strchr(entry->path + 10, '/') != NULL)
			return omb_error_set(err, OMB_DAMAGED,
								 "the backup has a link at \"%s\"",
								 entry->path);
		return add_tablespace(r, entry, err);
	}
	if (entry->root == OMB_ROOT_LAST && strcmp(entry->path, CONTROL_PATH) == 0)
	{
		r->control = *entry;
		memset(entry, 0, sizeof(*entry));
		r->pgdata_bytes += r->control.size;
		return OMB_OK;
	}
	r->total_bytes += entry->size;
	space = find_tablespace(r, entry->path, &rest);
	if (space != NULL)
		space->bytes += entry->size;
	else
		r->pgdata_bytes += entry->size;
	if (entry->root == OMB_ROOT_CONFIG)
		r->result->config_files = true;
	return OMB_OK;
}

/* Read all entries once: sizes, tablespaces, pg_control. */
static omb_status
survey(restore *r, omb_error *err)
{
	const char *backup = r->result->plan.backup;
	omb_manifest *manifest;
	bool end = false;
	size_t i, j;

	if (omb_manifest_open(r->config->repo, backup, &manifest, err) != OMB_OK)
		return err->status;
	while (!end && err->status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) == OMB_OK && !end)
		{
			(void) survey_entry(r, &entry, err);
			omb_entry_clear(&entry);
		}
	}
	omb_manifest_close(manifest);
	if (err->status == OMB_OK && r->control.path == NULL)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "backup \"%s\" has no pg_control", backup);
	for (i = 0; i < r->space_count && err->status == OMB_OK; i++)
	{
		for (j = 0; j < i; j++)
		{
			if (strcmp(r->space[i].path, r->space[j].path) == 0)
				(void) omb_error_set(
					err, OMB_USAGE,
					"two tablespaces would be restored into \"%s\"",
					r->space[i].path);
		}
	}
	return err->status;
}

/* A --tablespace-map that fits no tablespace is a typing error. */
static omb_status
check_moves(const restore *r, omb_error *err)
{
	size_t i, j;

	for (i = 0; i < r->config->move_count; i++)
	{
		bool used = false;

		for (j = 0; j < r->space_count; j++)
			used =
				used || strcmp(r->space[j].path, r->config->move[i].to) == 0;
		if (!used)
			return omb_error_set(err, OMB_USAGE,
								 "the backup has no tablespace at \"%s\"",
								 r->config->move[i].from);
	}
	return OMB_OK;
}

/* ---- copying ---- */

static char *
locate(const omb_entry *entry, void *arg)
{
	const restore *r = arg;
	const char *rest;
	const tablespace *space;

	if (entry->root == OMB_ROOT_LAST)
		return NULL;
	if (entry->root == OMB_ROOT_CONFIG)
	{
		/* directories have no entries of their own */
		char *path = omb_format("%s/%s", r->config_dir, entry->path);
		char *parent = omb_path_parent(path);
		omb_error ignored = OMB_ERROR_INIT;

		/* a failure shows when the file is made */
		(void) omb_directory_create(parent, 0700, &ignored);
		free(parent);
		return path;
	}
	space = find_tablespace(r, entry->path, &rest);
	if (space != NULL)
		return omb_format("%s%s", space->path, rest);
	if (entry->path[0] == '\0')
		return omb_strdup(r->config->pgdata);
	return omb_format("%s/%s", r->config->pgdata, entry->path);
}

/* Make a tablespace's directory and the link to it. */
static omb_status
make_tablespace(const restore *r, const omb_entry *entry, omb_error *err)
{
	const char *rest;
	const tablespace *space = find_tablespace(r, entry->path, &rest);
	char *link = omb_format("%s/%s", r->config->pgdata, entry->path);

	if (omb_directory_create(space->path, 0700, err) == OMB_OK)
	{
		if (chmod(space->path, entry->mode) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not set the mode of directory \"%s\"",
				space->path);
		else if (symlink(space->path, link) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not create symbolic link \"%s\"", link);
	}
	free(link);
	return err->status;
}

static omb_status
placed(const omb_entry *entry, void *arg, omb_error *err)
{
	restore *r = arg;

	if (entry->type == OMB_ENTRY_LINK)
		return make_tablespace(r, entry, err);
	if (entry->type != OMB_ENTRY_FILE)
		return OMB_OK;
	r->result->files++;
	r->result->bytes += entry->size;
	if (r->pg_manifest != NULL && entry->root == OMB_ROOT_PGDATA)
		omb_pg_manifest_add(r->pg_manifest, entry->path, entry->size,
							entry->mtime, entry->crc32c);
	return OMB_OK;
}

static void
copy_progress(uint64_t bytes, uint64_t files, void *arg)
{
	const restore *r = arg;

	r->config->progress("copying", bytes, r->total_bytes, r->config->arg);
}

static omb_status
copy_files(restore *r, omb_error *err)
{
	omb_place_config place;

	memset(&place, 0, sizeof(place));
	place.repo = r->config->repo;
	place.jobs = r->config->jobs;
	place.locate = locate;
	place.placed = placed;
	place.progress = copy_progress;
	place.arg = r;
	return omb_place_files(&place, r->manifest, err);
}

/* ---- making it durable ---- */

/* Since Linux 5.8 syncfs() reports what could not be written. */
static bool
syncfs_reports(void)
{
	struct utsname name;
	unsigned int major, minor;

	return uname(&name) == 0 &&
		   sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
		   (major > 5 || (major == 5 && minor >= 8));
}

static int
sync_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int fd;
	int rc;

	if (type != FTW_F && type != FTW_D && type != FTW_DP)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	(void) close(fd);
	return rc;
}

static omb_status
sync_tree(const char *path, omb_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *parent = omb_path_parent(path);

	if (fd < 0)
		(void) omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", path);
	else if (syncfs_reports() ? syncfs(fd) != 0 :
								nftw(path, sync_one, 16, FTW_PHYS) != 0)
		(void) omb_error_set_errno(err, errno, "could not sync \"%s\"", path);
	if (fd >= 0)
		(void) close(fd);
	if (err->status == OMB_OK)
		(void) omb_directory_sync(parent, err);
	free(parent);
	return err->status;
}

static omb_status
sync_all(const restore *r, omb_error *err)
{
	size_t i;

	r->config->progress("syncing to disk", 0, 0, r->config->arg);
	if (sync_tree(r->config->pgdata, err) != OMB_OK)
		return err->status;
	for (i = 0; i < r->space_count && err->status == OMB_OK; i++)
		(void) sync_tree(r->space[i].path, err);
	if (r->result->config_files && err->status == OMB_OK)
		(void) sync_tree(r->config_dir, err);
	return err->status;
}

/* ---- finishing ---- */

/* Write a file of ours and note it in the manifest for pg_verifybackup. */
static omb_status
write_file(restore *r, const char *name, const void *data, size_t len,
		   omb_error *err)
{
	char *path = omb_format("%s/%s", r->config->pgdata, name);

	if (omb_file_replace(path, data, len, 0600, err) == OMB_OK &&
		r->pg_manifest != NULL)
		omb_pg_manifest_add(r->pg_manifest, name, len,
							(uint64_t) omb_time_now() * 1000,
							omb_crc32c(0, data, len));
	free(path);
	return err->status;
}

static omb_status
write_label(restore *r, omb_error *err)
{
	const char *label = r->manifest->info.backup_label;
	omb_buf map = OMB_BUF_INIT;
	size_t i;

	for (i = 0; i < r->space_count; i++)
		omb_tablespace_map_add(&map, r->space[i].oid, r->space[i].path);
	if (write_file(r, "backup_label", label, strlen(label), err) == OMB_OK &&
		map.len > 0)
		(void) write_file(r, "tablespace_map", map.data, map.len, err);
	omb_buf_free(&map);
	return err->status;
}

static omb_status
write_settings(const restore *r, omb_error *err)
{
	omb_recovery_settings settings;

	settings.program = r->config->program;
	settings.repository = r->config->repo->store->location;
	settings.key_file = r->config->key_file;
	settings.target_action = r->config->target_action;
	settings.target = &r->config->target;
	settings.timeline = r->result->plan.timeline;
	settings.last_segment = r->config->target.kind == OMB_TARGET_END ?
								"" :
								r->result->plan.last_segment;
	return omb_recovery_settings_write(r->config->pgdata, &settings, err);
}

static omb_status
write_control(restore *r, omb_error *err)
{
	omb_buf bytes = OMB_BUF_INIT;
	omb_pg_manifest *pg_manifest;

	if (r->control.size > CONTROL_MAX)
		(void) omb_error_set(err, OMB_DAMAGED, "pg_control is too large");
	else if (omb_place_read(r->config->repo, r->manifest, &r->control, &bytes,
							err) == OMB_OK &&
			 omb_control_invalidate(bytes.data, bytes.len, err) == OMB_OK)
	{
		/* the manifest first: pg_control makes the directory complete */
		pg_manifest = r->pg_manifest;
		if (pg_manifest != NULL)
		{
			omb_pg_manifest_add(pg_manifest, CONTROL_PATH, bytes.len,
								(uint64_t) omb_time_now() * 1000,
								omb_crc32c(0, bytes.data, bytes.len));
			r->pg_manifest = NULL;
			(void) omb_pg_manifest_finish(pg_manifest, err);
		}
		if (err->status == OMB_OK)
			(void) omb_directory_sync(r->config->pgdata, err);
		if (err->status == OMB_OK)
			(void) write_file(r, CONTROL_PATH, bytes.data, bytes.len, err);
	}
	omb_buf_free(&bytes);
	return err->status;
}

/* Make the repository belong to the new directory. */
static omb_status
take_over(restore *r, omb_error *err)
{
	char *path = omb_format("%s/" OMB_INSTANCE_FILE, r->config->pgdata);
	char instance[OMB_INSTANCE_TEXT];
	char previous[OMB_INSTANCE_TEXT];
	omb_buf content = OMB_BUF_INIT;

	if (omb_claim_take(r->config->repo, r->config->pgdata,
					   r->manifest->info.system_identifier, instance, previous,
					   err) == OMB_OK &&
		r->pg_manifest != NULL &&
		omb_file_read(path, 65536, &content, err) == OMB_OK)
		omb_pg_manifest_add(r->pg_manifest, OMB_INSTANCE_FILE, content.len,
							(uint64_t) omb_time_now() * 1000,
							omb_crc32c(0, content.data, content.len));
	omb_buf_free(&content);
	free(path);
	return err->status;
}

static omb_status
copy_and_finish(restore *r, omb_error *err)
{
	const omb_restore_config *config = r->config;
	char *path = omb_format("%s/backup_manifest", config->pgdata);

	if (omb_manifest_open(config->repo, r->result->plan.backup, &r->manifest,
						  err) == OMB_OK &&
		omb_directory_create(config->pgdata, 0700, err) == OMB_OK &&
		(!config->write_manifest ||
		 omb_pg_manifest_create(path, &r->manifest->info, &r->pg_manifest,
								err) == OMB_OK) &&
		copy_files(r, err) == OMB_OK && write_label(r, err) == OMB_OK &&
		write_settings(r, err) == OMB_OK && sync_all(r, err) == OMB_OK &&
		(!config->take_over || take_over(r, err) == OMB_OK))
		(void) write_control(r, err);
	if (err->status != OMB_OK && r->manifest != NULL)
		omb_error_detail(err,
						 "Directory \"%s\" is incomplete and must not "
						 "be used; remove it.",
						 config->pgdata);
	omb_pg_manifest_abort(r->pg_manifest);
	omb_manifest_close(r->manifest);
	free(path);
	return err->status;
}

/* The facts of the chosen backup for the caller. */
static omb_status
read_info(const omb_restore_config *config, omb_restore_result *result,
		  omb_error *err)
{
	omb_manifest *manifest;

	if (omb_manifest_open(config->repo, result->plan.backup, &manifest, err) !=
		OMB_OK)
		return err->status;
	result->info = manifest->info;
	memset(&manifest->info, 0, sizeof(manifest->info));
	omb_manifest_close(manifest);
	return OMB_OK;
}

omb_status
omb_restore(const omb_restore_config *config, omb_restore_result *result,
			omb_error *err)
{
	restore r;
	omb_lock *lock = NULL;
	size_t i;

	memset(result, 0, sizeof(*result));
	memset(&r, 0, sizeof(r));
	r.config = config;
	r.result = result;
	r.config_dir = omb_format("%s.config", config->pgdata);
	if (check_pgdata(config, r.config_dir, err) == OMB_OK)
		config->progress("reading the repository", 0, 0, config->arg);
	if (err->status == OMB_OK &&
		omb_store_lock(config->repo->store, false, &lock, err) == OMB_OK &&
		omb_plan_make(config->repo, config->backup, &config->target,
					  &result->plan, err) == OMB_OK &&
		read_info(config, result, err) == OMB_OK &&
		survey(&r, err) == OMB_OK && check_moves(&r, err) == OMB_OK &&
		check_space(&r, err) == OMB_OK && !config->dry_run)
		(void) copy_and_finish(&r, err);
	for (i = 0; i < r.space_count; i++)
	{
		free(r.space[i].oid);
		free(r.space[i].path);
	}
	free(r.space);
	omb_entry_clear(&r.control);
	free(r.config_dir);
	omb_store_unlock(lock);
	return err->status;
}
