/*
 * sqlitecopy.c: a consistent copy of a database of SQLite that is in use.
 *
 * The only file that knows libsqlite3. Its backup interface copies pages under
 * a shared lock, some at a time; when another process writes in between it
 * begins anew by itself.
 */
#include "task/backup/sqlitecopy.h"

#include "base/buffer.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Pages copied under one lock: some MB, a few milliseconds. */
#define STEP_PAGES 1024
/* How often it may begin anew before all is copied under one lock. */
#define RESTARTS 3
#define COPY_SIZE (1024 * 1024)
/* Waiting for a lock: 0.1 s, so many times. */
#define BUSY_TRIES 150

bool
omb_sqlite_is(int fd)
{
	static const char magic[] = "SQLite format 3"; /* with its zero */
	char begin[sizeof(magic)];

	return omb_pread_full(fd, begin, sizeof(begin), 0) ==
			   (ssize_t) sizeof(begin) &&
		   memcmp(begin, magic, sizeof(magic)) == 0;
}

static omb_status
failed(const char *path, sqlite3 *db, int code, omb_error *err)
{
	return omb_error_set(
		err, OMB_FAILED, "could not copy database \"%s\": %s", path,
		db != NULL && sqlite3_errcode(db) == code ? sqlite3_errmsg(db) :
													sqlite3_errstr(code));
}

static int
copy_pages(sqlite3_backup *backup)
{
	int restarts = 0, busy = 0;
	int left = 0;
	int code;

	do
	{
		int before = left;

		code =
			sqlite3_backup_step(backup, restarts > RESTARTS ? -1 : STEP_PAGES);
		left = sqlite3_backup_remaining(backup);
		if (code == SQLITE_OK && before > 0 && left >= before)
			restarts++;
		if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
		{
			/* steps do not wait by themselves */
			struct timespec pause = { 0, 100000000 };

			(void) nanosleep(&pause, NULL);
			if (++busy <= BUSY_TRIES)
				code = SQLITE_OK;
		}
	} while (code == SQLITE_OK);
	return code;
}

/* A new empty file in a private directory, which is named. */
static char *
make_temporary(omb_error *err)
{
	const char *folder = getenv("TMPDIR");
	char *path = omb_format("%s/omsupply_backup.XXXXXX",
							folder && folder[0] ? folder : "/var/tmp");

	if (mkdtemp(path) == NULL)
	{
		(void) omb_error_set_errno(err, errno,
								   "could not create directory \"%s\"", path);
		free(path);
		return NULL;
	}
	return path;
}

/*
 * Copy what is there. *found is false when there is nothing, or when it
 * changed meanwhile.
 */
static omb_status
copy_file(const char *path, const char *to, bool *found, omb_error *err)
{
	uint8_t *buffer = omb_malloc(COPY_SIZE);
	int in = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int out = -1;
	struct stat before, after;
	ssize_t n = 1;

	*found = in >= 0 && fstat(in, &before) == 0;
	if (*found)
		out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	while (*found && n > 0)
	{
		n = read(in, buffer, COPY_SIZE);
		if (out < 0 || n < 0 ||
			omb_write_full(out, buffer, n > 0 ? (size_t) n : 0) != 0)
		{
			(void) omb_error_set_errno(err, errno,
									   "could not copy file \"%s\"", path);
			break;
		}
	}
	if (*found && fstat(in, &after) == 0)
		*found = before.st_size == after.st_size &&
				 omb_nanoseconds(&before.st_mtim) ==
					 omb_nanoseconds(&after.st_mtim);
	if (in >= 0)
		(void) close(in);
	if (out >= 0)
		(void) close(out);
	free(buffer);
	return err->status;
}

/*
 * A crash has left a log, and we may not write there, which is needed to take
 * it into account: do so in a copy. As nobody uses the database that is one of
 * one moment.
 */
static omb_status
copy_with_logs(const char *path, const char *folder, bool *found,
			   omb_error *err)
{
	static const char *const ends[] = { "-journal", "-wal", "" };
	size_t i;

	for (i = 0; i < 3 && err->status == OMB_OK; i++)
	{
		char *from = omb_format("%s%s", path, ends[i]);
		char *to = omb_format("%s/plain%s", folder, ends[i]);

		(void) copy_file(from, to, found, err);
		free(from);
		free(to);
	}
	return err->status;
}

static omb_status
copy(const char *path, const char *to, bool own, int *why, omb_error *err)
{
	sqlite3 *from_db = NULL, *to_db = NULL;
	sqlite3_backup *backup = NULL;
	int code =
		sqlite3_open_v2(path, &from_db,
						(own ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
							SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
						NULL);

	if (code == SQLITE_OK)
		code = sqlite3_open_v2(to, &to_db,
							   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
								   SQLITE_OPEN_NOMUTEX,
							   NULL);
	/* nobody needs the copy after a crash */
	if (code == SQLITE_OK)
		code = sqlite3_exec(to_db,
							"PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF",
							NULL, NULL, NULL);
	if (code == SQLITE_OK)
	{
		backup = sqlite3_backup_init(to_db, "main", from_db, "main");
		code = backup == NULL ? sqlite3_errcode(to_db) : copy_pages(backup);
	}
	if (code != SQLITE_OK && code != SQLITE_DONE)
		(void) failed(path, backup == NULL ? from_db : to_db, code, err);
	if (backup != NULL)
	{
		code = sqlite3_backup_finish(backup);
		if (code != SQLITE_OK && err->status == OMB_OK)
			(void) failed(path, to_db, code, err);
	}
	*why = code & 0xff;
	(void) sqlite3_close(to_db);
	(void) sqlite3_close(from_db);
	return err->status;
}

omb_status
omb_sqlite_copy(const char *path, int *fd, omb_error *err)
{
	static const char *const made[] = { "copy",		 "copy-journal",
										"copy-wal",	 "copy-shm",
										"plain",	 "plain-journal",
										"plain-wal", "plain-shm" };
	char *folder = make_temporary(err);
	char *to, *plain;
	bool found = false;
	int why = SQLITE_OK;
	size_t i;

	*fd = -1;
	if (folder == NULL)
		return err->status;
	to = omb_format("%s/copy", folder);
	plain = omb_format("%s/plain", folder);
	(void) copy(path, to, false, &why, err);
	if (why == SQLITE_READONLY || why == SQLITE_CANTOPEN)
	{
		omb_error problem = OMB_ERROR_INIT;

		(void) unlink(to);
		if (copy_with_logs(path, folder, &found, &problem) == OMB_OK &&
			found && copy(plain, to, true, &why, &problem) == OMB_OK)
			omb_error_clear(err);
	}
	free(plain);
	if (err->status == OMB_OK)
	{
		*fd = open(to, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (*fd < 0)
			(void) omb_error_set_errno(err, errno,
									   "could not open file \"%s\"", to);
	}
	free(to);
	for (i = 0; i < sizeof(made) / sizeof(made[0]); i++)
	{
		to = omb_format("%s/%s", folder, made[i]);
		(void) unlink(to);
		free(to);
	}
	(void) rmdir(folder);
	free(folder);
	return err->status;
}
