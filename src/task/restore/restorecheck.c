/*
 * restorecheck.c: whether a backup may be restored into a directory.
 */
#include "task/restore/restorecheck.h"

#include "base/buffer.h"
#include "base/file.h"
#include "pgfmt/control.h"
#include "task/restore/restoremark.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL_MAX 65536

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

omb_status
omb_restore_check_idle(const char *pgdata, omb_error *err)
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
	return check_not_running(pgdata, err);
}

omb_status
omb_restore_check_empty(const char *path, const char *what, omb_error *err)
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

/* ---- a delta restore's directory ---- */

omb_status
omb_restore_check_cluster(const char *pgdata, uint64_t system_identifier,
						  omb_error *err)
{
	char *version = omb_format("%s/PG_VERSION", pgdata);
	char *path = omb_format("%s/" OMB_CONTROL_PATH, pgdata);
	omb_buf bytes = OMB_BUF_INIT;
	omb_error problem = OMB_ERROR_INIT;
	omb_control control;
	uint64_t found = 0;

	memset(&control, 0, sizeof(control));
	(void) omb_file_read(path, CONTROL_MAX, &bytes, &problem);
	if (problem.status == OMB_OK &&
		omb_restore_mark_parse(bytes.data, bytes.len, &found))
		;
	else if (access(version, F_OK) != 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "directory \"%s\" is not a data directory",
							 pgdata);
		omb_error_hint(err, "Nothing was changed. A delta restore removes "
							"what is not in the backup. Give the data "
							"directory, or an empty one.");
	}
	else if (problem.status != OMB_OK ||
			 omb_control_parse(bytes.data, bytes.len, &control, &problem) !=
				 OMB_OK)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "cannot tell to which cluster directory \"%s\" "
							 "belongs: %s",
							 pgdata, problem.message);
		omb_error_hint(err, "Nothing was changed. Move the directory to "
							"another place and restore without --delta.");
	}
	else
		found = control.system_identifier;
	if (err->status == OMB_OK && found != system_identifier)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "directory \"%s\" belongs to another cluster: "
							 "its system identifier is %" PRIu64
							 ", that of the backup %" PRIu64,
							 pgdata, found, system_identifier);
		omb_error_hint(err, "Nothing was changed. Check --pgdata and "
							"--repository.");
	}
	omb_buf_free(&bytes);
	free(path);
	free(version);
	return err->status;
}

static bool
same_place(const char *a, const char *b)
{
	struct stat st, other;

	return stat(a, &st) == 0 && stat(b, &other) == 0 &&
		   st.st_dev == other.st_dev && st.st_ino == other.st_ino;
}

omb_status
omb_restore_check_spaces(const omb_spaces *spaces, bool delta, omb_error *err)
{
	size_t i;

	for (i = 1; i < spaces->count && err->status == OMB_OK; i++)
	{
		const omb_space *space = &spaces->item[i];
		char *link =
			omb_format("%s/pg_tblspc/%s", spaces->item[0].path, space->oid);

		if (!(delta && same_place(link, space->path)) &&
			omb_restore_check_empty(space->path, "tablespace directory",
									err) != OMB_OK)
			omb_error_hint(err,
						   "Nothing was changed. To put the tablespace "
						   "elsewhere, give --tablespace-map %s=NEW.",
						   space->from);
		free(link);
	}
	return err->status;
}

/* Is path at or below folder? Both exist. */
static bool
is_within(const char *path, const char *folder)
{
	char *real = realpath(path, NULL);
	char *real_folder = realpath(folder, NULL);
	bool within = false;

	if (real != NULL && real_folder != NULL)
	{
		size_t len = strlen(real_folder);

		within = strncmp(real, real_folder, len) == 0 &&
				 (real[len] == '/' || real[len] == '\0');
	}
	free(real);
	free(real_folder);
	return within;
}

omb_status
omb_restore_check_apart(const omb_spaces *spaces, const char *version,
						const char *path, const char *what, omb_error *err)
{
	size_t i;

	for (i = 0; i < spaces->count && path != NULL && err->status == OMB_OK;
		 i++)
	{
		char *folder = i == 0 ?
						   omb_strdup(spaces->item[0].path) :
						   omb_format("%s/%s", spaces->item[i].path, version);

		if (is_within(path, folder) || is_within(folder, path))
		{
			(void) omb_error_set(
				err, OMB_REFUSED,
				"the %s \"%s\" and directory \"%s\" are one in the other",
				what, path, folder);
			omb_error_hint(err, "Nothing was changed. A delta restore would "
								"remove it. Move one of them.");
		}
		free(folder);
	}
	return err->status;
}

/* ---- other servers ---- */

/* Does a link in the directory's pg_tblspc lead to one of the places? */
static char *
find_shared(const char *pgdata, const omb_spaces *spaces)
{
	char *folder = omb_format("%s/pg_tblspc", pgdata);
	char *own_folder = omb_format("%s/pg_tblspc", spaces->item[0].path);
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char *found = NULL;
	size_t i;

	while (dir != NULL && found == NULL && (entry = readdir(dir)) != NULL)
	{
		char *theirs = omb_format("%s/%s", folder, entry->d_name);
		/* tablespaces keep their oid in a copy */
		char *own = omb_format("%s/%s", own_folder, entry->d_name);

		if (entry->d_name[0] == '.')
			;
		else if (same_place(theirs, own))
			found = realpath(own, NULL);
		for (i = 1; i < spaces->count && found == NULL; i++)
		{
			if (entry->d_name[0] != '.' &&
				same_place(theirs, spaces->item[i].path))
				found = omb_strdup(spaces->item[i].path);
		}
		free(own);
		free(theirs);
	}
	if (dir != NULL)
		(void) closedir(dir);
	free(own_folder);
	free(folder);
	return found;
}

omb_status
omb_restore_check_users(const omb_spaces *spaces, omb_error *err)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	/* processes of a server work in its data directory */
	while (dir != NULL && err->status == OMB_OK &&
		   (entry = readdir(dir)) != NULL)
	{
		char *link;
		char *cwd;
		char *version;
		char *shared;

		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
			continue;
		link = omb_format("/proc/%s/cwd", entry->d_name);
		cwd = realpath(link, NULL);
		version = omb_format("%s/PG_VERSION", cwd ? cwd : "");
		if (cwd != NULL && access(version, F_OK) == 0 &&
			!same_place(cwd, spaces->item[0].path) &&
			(shared = find_shared(cwd, spaces)) != NULL)
		{
			(void) omb_error_set(err, OMB_REFUSED,
								 "the server that runs in \"%s\" uses "
								 "tablespace directory \"%s\"",
								 cwd, shared);
			omb_error_hint(err,
						   "Nothing was changed. Directory \"%s\" is a copy "
						   "of that server's: restore into an empty directory "
						   "with --tablespace-map.",
						   spaces->item[0].path);
			free(shared);
		}
		free(version);
		free(cwd);
		free(link);
	}
	if (dir != NULL)
		(void) closedir(dir);
	return err->status;
}
