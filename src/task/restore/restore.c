/*
 * restore.c: making a data directory that recovers to a target.
 *
 * Order of the work, so that a restore that was cut short is never mistaken
 * for one that was not: everything is checked before the first byte is
 * written; then the sign of an unfinished restore takes the place of
 * pg_control; a delta restore removes what is not in the backup; all files
 * but pg_control are placed and synced, then label and settings; pg_control
 * comes last.
 */
#include "task/restore/restore.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crc32c.h"
#include "pgfmt/control.h"
#include "pgfmt/tablespacemap.h"
#include "repo/backupinfo.h"
#include "repo/claim.h"
#include "repo/walobject.h"
#include "task/restore/pgmanifest.h"
#include "task/restore/placehalves.h"
#include "task/restore/recoveryconf.h"
#include "task/restore/restorecheck.h"
#include "task/restore/restoremark.h"
#include "task/restore/savewal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL_MAX 65536

typedef struct restore
{
	const omb_restore_config *config;
	omb_restore_result *result;
	bool delta;	   /* there is something in the data directory */
	bool expected; /* the store was asked for the first files */
	omb_place_middle middle;
	omb_manifest *manifest;
	char *config_dir; /* for configuration files from elsewhere */
	char *wal_dir;	  /* for WAL that is nowhere else */
	omb_spaces spaces;
	omb_databases databases; /* the chosen ones; none is all */
	omb_entry control;
	omb_buf control_content;
	omb_pg_manifest *pg_manifest;
	omb_restore_files_config files;
} restore;

/* ---- checks ---- */

/* What can be told without the backup. */
static omb_status
check_pgdata(restore *r, omb_error *err)
{
	const omb_restore_config *config = r->config;
	bool empty;

	if (omb_restore_check_idle(config->pgdata, err) != OMB_OK)
		return err->status;
	if (config->delta)
	{
		if (omb_directory_is_empty(config->pgdata, &empty, err) == OMB_OK)
			r->delta = !empty;
		return err->status;
	}
	if (omb_restore_check_empty(config->pgdata, "directory", err) == OMB_OK)
		(void) omb_restore_check_empty(r->config_dir, "directory", err);
	return err->status;
}

/* A delta restore removes and overwrites: it must be the right place. */
static omb_status
check_delta(const restore *r, omb_error *err)
{
	const omb_restore_config *config = r->config;
	char *version = omb_version_folder(&r->result->info);

	if (omb_restore_check_apart(&r->spaces, version,
								config->repo->store->location, "repository",
								err) == OMB_OK &&
		omb_restore_check_apart(&r->spaces, version, config->key_file,
								"key file", err) == OMB_OK)
		(void) omb_restore_check_users(&r->spaces, err);
	free(version);
	return err->status;
}

/* ---- reading the manifest before copying ---- */

static omb_status
add_space(restore *r, const omb_entry *link, omb_error *err)
{
	const omb_restore_config *config = r->config;
	const char *oid = link->path + strlen("pg_tblspc/");
	omb_tablespace_move move;
	char *path;

	if (config->space_dir == NULL)
		return omb_spaces_add(&r->spaces, oid, link->target, config->move,
							  config->move_count, err);
	path = omb_format("%s/%s", config->space_dir, oid);
	move.from = link->target;
	move.to = path;
	(void) omb_spaces_add(&r->spaces, oid, link->target, &move, 1, err);
	free(path);
	return err->status;
}

static omb_status
survey_entry(restore *r, omb_entry *entry, omb_error *err)
{
	const char *rest;

	if (entry->root == OMB_ROOT_FILES)
		return OMB_OK;
	if (entry->type == OMB_ENTRY_LINK)
	{
		/* links exist for tablespaces only */
		if (strncmp(entry->path, "pg_tblspc/", 10) != 0 ||
			strchr(entry->path + 10, '/') != NULL)
			return omb_error_set(err, OMB_DAMAGED,
								 "the backup has a link at \"%s\"",
								 entry->path);
		return add_space(r, entry, err);
	}
	if (entry->root == OMB_ROOT_LAST &&
		strcmp(entry->path, OMB_CONTROL_PATH) == 0)
	{
		r->control = *entry;
		memset(entry, 0, sizeof(*entry));
		r->spaces.item[0].bytes += r->control.size;
		return OMB_OK;
	}
	if (omb_databases_leave_out(&r->databases, entry))
	{
		r->result->left_out_bytes += entry->size;
		return OMB_OK;
	}
	r->result->total_bytes += entry->size;
	if (entry->type == OMB_ENTRY_FILE)
		r->result->total_files++;
	omb_spaces_find(&r->spaces, entry->path, &rest)->bytes += entry->size;
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
	if (r->control.size > CONTROL_MAX)
		(void) omb_error_set(err, OMB_DAMAGED, "pg_control is too large");
	return err->status;
}

static bool
leave_out(const omb_entry *entry, void *arg)
{
	const restore *r = arg;

	return omb_databases_leave_out(&r->databases, entry);
}

static void
report_removal(const char *path, uint64_t bytes, void *arg)
{
	const restore *r = arg;

	if (r->config->dry_run)
		r->config->removal(path, bytes, r->config->arg);
}

/* Compare the directory with the backup; with remove, make it fit. */
static omb_status
compare(restore *r, bool remove, omb_error *err)
{
	omb_delta_config delta;

	memset(&delta, 0, sizeof(delta));
	if (omb_manifest_open(r->config->repo, r->result->plan.backup,
						  &delta.manifest, err) != OMB_OK)
		return err->status;
	delta.spaces = &r->spaces;
	delta.remove = remove;
	delta.leave_out = leave_out;
	delta.removal = report_removal;
	delta.arg = r;
	(void) omb_delta_compare(&delta, &r->result->delta, err);
	omb_manifest_close(delta.manifest);
	return err->status;
}

/* Keep WAL that is nowhere else, or count it. */
static omb_status
save_wal(restore *r, bool apply, omb_error *err)
{
	return omb_save_wal(r->config->repo, &r->result->info, r->config->pgdata,
						r->wal_dir, apply, &r->result->wal_saved, err);
}

/* What a delta restore would do, and the room that it needs. */
static omb_status
plan_delta(restore *r, omb_error *err)
{
	uint64_t kept;
	size_t i;

	if (!r->delta)
		return OMB_OK;
	for (i = 0; i < r->spaces.count; i++)
		r->spaces.item[i].bytes = 0;
	r->config->progress("comparing with the backup", 0, 0, r->config->arg);
	if (check_delta(r, err) == OMB_OK && compare(r, false, err) == OMB_OK &&
		save_wal(r, false, err) == OMB_OK)
	{
		/* what is moved frees nothing */
		kept = r->result->wal_saved * r->result->info.wal_segment_size;
		r->spaces.item[0].freed -=
			kept < r->spaces.item[0].freed ? kept : r->spaces.item[0].freed;
	}
	r->result->is_delta = true;
	return err->status;
}

/* ---- copying ---- */

static char *
locate(const omb_entry *entry, void *arg)
{
	const restore *r = arg;

	/* the application's files are task/restore/restorefiles.h's */
	if (entry->root == OMB_ROOT_LAST || entry->root == OMB_ROOT_FILES)
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
	return omb_spaces_locate(&r->spaces, entry->path);
}

/* Make a tablespace's directory and the link to it. */
static omb_status
make_tablespace(const restore *r, const omb_entry *entry, omb_error *err)
{
	const char *rest;
	const omb_space *space = omb_spaces_find(&r->spaces, entry->path, &rest);
	char *link = omb_format("%s/%s", r->config->pgdata, entry->path);
	struct stat st;

	if (omb_directory_create(space->path, 0700, err) == OMB_OK)
	{
		if (chmod(space->path, entry->mode) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not set the mode of directory \"%s\"",
				space->path);
		/* a link that is there was found to fit */
		else if (!(r->delta && lstat(link, &st) == 0 && S_ISLNK(st.st_mode)) &&
				 symlink(space->path, link) != 0)
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
	if (!omb_databases_leave_out(&r->databases, entry))
	{
		r->result->files++;
		r->result->bytes += entry->size;
	}
	if (r->pg_manifest != NULL && entry->root == OMB_ROOT_PGDATA)
		omb_pg_manifest_add(r->pg_manifest, entry->path, entry->size,
							entry->mtime, entry->crc32c);
	return OMB_OK;
}

static void
copy_progress(uint64_t bytes, uint64_t files, void *arg)
{
	const restore *r = arg;

	r->config->progress("copying", bytes, r->result->total_bytes,
						r->config->arg);
}

static omb_status
copy_files(restore *r, omb_error *err)
{
	omb_place_config place;

	memset(&place, 0, sizeof(place));
	place.repo = r->config->repo;
	place.jobs = r->config->jobs;
	place.patch = r->delta;
	place.locate = locate;
	place.leave_out = leave_out;
	place.placed = placed;
	place.later = &r->control;
	place.later_content = &r->control_content;
	place.progress = copy_progress;
	place.arg = r;
	return omb_place_halves(&place, r->manifest, &r->middle, &r->result->place,
							err);
}

/* ---- the application's files ---- */

static omb_status
check_files(restore *r, omb_error *err)
{
	const omb_restore_config *config = r->config;

	if (config->files == NULL)
		return OMB_OK;
	r->files = *config->files;
	r->files.repo = config->repo;
	r->files.from = r->result->plan.not_before;
	r->files.until = r->result->plan.not_after;
	r->files.delta = config->delta;
	r->files.progress = config->progress;
	r->files.arg = config->arg;
	return omb_restore_files_check(&r->files, &r->result->files_result, err);
}

static omb_status
place_files(restore *r, omb_error *err)
{
	if (r->config->files == NULL)
		return OMB_OK;
	return omb_restore_files(&r->files, &r->result->files_result, err);
}

/* ---- finishing ---- */

static omb_status
sync_all(const restore *r, omb_error *err)
{
	r->config->progress("syncing to disk", 0, 0, r->config->arg);
	if (omb_spaces_sync(&r->spaces, err) == OMB_OK && r->result->config_files)
		(void) omb_tree_sync(r->config_dir, err);
	return err->status;
}

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

	for (i = 1; i < r->spaces.count; i++)
		omb_tablespace_map_add(&map, r->spaces.item[i].oid,
							   r->spaces.item[i].path);
	if (write_file(r, "backup_label", label, strlen(label), err) == OMB_OK &&
		map.len > 0)
		(void) write_file(r, "tablespace_map", map.data, map.len, err);
	omb_buf_free(&map);
	return err->status;
}

/* What the server reads when it starts: backend/quarantine.c. */
static omb_status
write_quarantine(restore *r, omb_error *err)
{
	omb_buf text = OMB_BUF_INIT;

	if (r->config->quarantine != NULL)
	{
		omb_text_put(&text, "database", r->config->quarantine);
		(void) write_file(r, "omsupply_backup.quarantine", text.data, text.len,
						  err);
	}
	omb_buf_free(&text);
	return err->status;
}

static omb_status
write_settings(const restore *r, omb_error *err)
{
	omb_recovery_settings settings;

	settings.program = r->config->program;
	settings.repository = r->config->location ?
							  r->config->location :
							  r->config->repo->store->location;
	settings.credentials = r->config->credentials;
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
	omb_buf *bytes = &r->control_content;
	omb_pg_manifest *pg_manifest;

	if (omb_control_invalidate(bytes->data, bytes->len, err) != OMB_OK)
		return err->status;
	/* the manifest first: pg_control makes the directory complete */
	pg_manifest = r->pg_manifest;
	if (pg_manifest != NULL)
	{
		omb_pg_manifest_add(pg_manifest, OMB_CONTROL_PATH, bytes->len,
							(uint64_t) omb_time_now() * 1000,
							omb_crc32c(0, bytes->data, bytes->len));
		r->pg_manifest = NULL;
		(void) omb_pg_manifest_finish(pg_manifest, err);
	}
	if (err->status == OMB_OK)
		(void) omb_directory_sync(r->config->pgdata, err);
	if (err->status == OMB_OK)
		(void) write_file(r, OMB_CONTROL_PATH, bytes->data, bytes->len, err);
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

/*
 * Make the directory unstartable and known as ours, then free of what is not
 * in the backup.
 */
static omb_status
prepare(restore *r, omb_error *err)
{
	const omb_backup_info *info = &r->manifest->info;

	if (omb_restore_mark_write(r->config->pgdata, info->system_identifier,
							   err) != OMB_OK ||
		!r->delta)
		return err->status;
	r->config->progress("removing what is not in the backup", 0, 0,
						r->config->arg);
	if (save_wal(r, true, err) == OMB_OK)
		(void) compare(r, true, err);
	return err->status;
}

static omb_status
copy_and_finish(restore *r, omb_error *err)
{
	const omb_restore_config *config = r->config;
	char *path = omb_format("%s/backup_manifest", config->pgdata);

	if (omb_manifest_open(config->repo, r->result->plan.backup, &r->manifest,
						  err) == OMB_OK &&
		prepare(r, err) == OMB_OK &&
		(!config->write_manifest ||
		 omb_pg_manifest_create(path, &r->manifest->info, &r->pg_manifest,
								err) == OMB_OK) &&
		copy_files(r, err) == OMB_OK && write_label(r, err) == OMB_OK &&
		write_quarantine(r, err) == OMB_OK &&
		write_settings(r, err) == OMB_OK && sync_all(r, err) == OMB_OK &&
		place_files(r, err) == OMB_OK &&
		(!config->take_over || take_over(r, err) == OMB_OK))
		(void) write_control(r, err);
	if (err->status != OMB_OK && r->manifest != NULL)
		omb_error_detail(err,
						 "Directory \"%s\" is incomplete and must not "
						 "be used; restore again with --delta, or remove it.",
						 config->pgdata);
	omb_pg_manifest_abort(r->pg_manifest);
	omb_manifest_close(r->manifest);
	free(path);
	return err->status;
}

/* Only one restore at a time works in a directory. */
static omb_status
lock_and_copy(restore *r, omb_error *err)
{
	const char *pgdata = r->config->pgdata;
	int fd;

	if (omb_directory_create(pgdata, 0700, err) != OMB_OK)
		return err->status;
	fd = open(pgdata, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return omb_error_set_errno(err, errno,
								   "could not open directory \"%s\"", pgdata);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		(void) omb_error_set(err, OMB_REFUSED,
							 "another restore works in directory \"%s\"",
							 pgdata);
	else
		(void) copy_and_finish(r, err);
	(void) close(fd);
	return err->status;
}

/* While the WAL is looked at the first files of the backup come already. */
static void
expect_backup(const char *backup, void *arg)
{
	restore *r = arg;
	const omb_restore_config *config = r->config;

	/* of a part of it, or for a comparison, others come first */
	if (r->expected || r->delta || config->dry_run ||
		config->database_count > 0)
		return;
	r->expected = true;
	omb_place_halves_expect(config->repo, backup, config->jobs, &r->middle);
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
	/* for looking through it, and then for copying */
	omb_manifest_expect(manifest);
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

	memset(result, 0, sizeof(*result));
	memset(&r, 0, sizeof(r));
	r.config = config;
	r.result = result;
	r.config_dir = omb_format("%s.config", config->pgdata);
	r.wal_dir = omb_format("%s.wal", config->pgdata);
	omb_spaces_init(&r.spaces, config->pgdata);
	if (check_pgdata(&r, err) == OMB_OK)
		config->progress("reading the repository", 0, 0, config->arg);
	if (err->status == OMB_OK &&
		omb_store_lock(config->repo->store, false, &lock, err) == OMB_OK &&
		omb_plan_make(config->repo, config->backup, &config->target,
					  expect_backup, &r, &result->plan, err) == OMB_OK &&
		read_info(config, result, err) == OMB_OK &&
		(!r.delta || omb_restore_check_cluster(config->pgdata,
											   result->info.system_identifier,
											   err) == OMB_OK) &&
		(config->database_count == 0 ||
		 omb_databases_find(config->repo, result->plan.backup,
							config->database, config->database_count,
							&r.databases, err) == OMB_OK) &&
		survey(&r, err) == OMB_OK &&
		omb_spaces_check(&r.spaces, config->move, config->move_count, err) ==
			OMB_OK &&
		omb_restore_check_spaces(&r.spaces, r.delta, err) == OMB_OK &&
		plan_delta(&r, err) == OMB_OK &&
		omb_spaces_check_room(&r.spaces, err) == OMB_OK &&
		check_files(&r, err) == OMB_OK && !config->dry_run)
		(void) lock_and_copy(&r, err);
	omb_databases_clear(&r.databases);
	omb_spaces_clear(&r.spaces);
	omb_entry_clear(&r.control);
	omb_buf_free(&r.control_content);
	free(r.wal_dir);
	free(r.config_dir);
	omb_store_unlock(lock);
	return err->status;
}
