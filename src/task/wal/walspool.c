/*
 * walspool.c: WAL segments fetched ahead of being asked for, in a directory.
 */
#include "task/wal/walspool.h"

#include "base/file.h"
#include "base/text.h"
#include "codec/crypto.h"
#include "pgfmt/walname.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ASKED "asked"
#define PART ".part"

/* Waiting for a file under way: look this often. */
#define LOOK_NANOSECONDS 1000000

#define COPY_PIECE ((size_t) 256 * 1024)

/* ---- the directory ---- */

/* The kernel's id of the time since it was started, without dashes. */
static bool
read_boot_id(char out[OMB_BOOT_ID_SIZE])
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf text = OMB_BUF_INIT;
	size_t i;
	size_t n = 0;

	if (omb_file_read("/proc/sys/kernel/random/boot_id", 256, &text,
					  &ignored) == OMB_OK)
	{
		for (i = 0; i < text.len && n < OMB_BOOT_ID_SIZE - 1; i++)
		{
			if (strchr("0123456789abcdef", (char) text.data[i]) != NULL)
				out[n++] = (char) text.data[i];
		}
	}
	out[n] = '\0';
	omb_buf_free(&text);
	return n == 32;
}

bool
omb_spool_open(omb_spool *spool, const char *parent, const char *location,
			   bool create)
{
	char *absolute = omb_path_absolute(parent);
	uint8_t digest[OMB_SHA256_SIZE];
	struct stat st;

	omb_sha256(location, strlen(location), digest);
	(void) omb_hex_format(digest, (OMB_SPOOL_LOCATION_SIZE - 1) / 2,
						  spool->location);

	spool->path = omb_format("%s/" OMB_SPOOL_NAME, absolute);
	spool->dir = -1;
	free(absolute);
	if (!create || mkdir(spool->path, 0700) == 0 || errno == EEXIST)
		spool->dir =
			open(spool->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (spool->dir >= 0 && fstat(spool->dir, &st) == 0 &&
		st.st_uid == geteuid() && (st.st_mode & 077) == 0 &&
		read_boot_id(spool->boot))
		return true;
	omb_spool_close(spool);
	return false;
}

void
omb_spool_close(omb_spool *spool)
{
	if (spool->dir >= 0)
		(void) close(spool->dir);
	spool->dir = -1;
	free(spool->path);
	spool->path = NULL;
}

bool
omb_spool_is_gone(const omb_spool *spool)
{
	struct stat here, there;

	return fstat(spool->dir, &here) != 0 || lstat(spool->path, &there) != 0 ||
		   here.st_dev != there.st_dev || here.st_ino != there.st_ino;
}

bool
omb_spool_lock(omb_spool *spool)
{
	/* who had it before may have removed the directory */
	return flock(spool->dir, LOCK_EX | LOCK_NB) == 0 &&
		   !omb_spool_is_gone(spool);
}

bool
omb_spool_is_served(const omb_spool *spool)
{
	if (flock(spool->dir, LOCK_SH | LOCK_NB) != 0)
		return true;
	(void) flock(spool->dir, LOCK_UN);
	return false;
}

/* ---- what was asked for ---- */

void
omb_spool_ask(const omb_spool *spool, const char *file)
{
	char text[OMB_WAL_FILE_MAX + 2];
	int fd = openat(spool->dir, ASKED,
					O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	/* always of one length, so one write replaces all */
	(void) snprintf(text, sizeof(text), "%s\n", file);
	(void) omb_pwrite_full(fd, text, strlen(text), 0);
	(void) close(fd);
}

bool
omb_spool_asked(const omb_spool *spool, char file[OMB_WAL_FILE_MAX + 1])
{
	int fd = openat(spool->dir, ASKED, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	omb_wal_name name;
	ssize_t n;

	if (fd < 0)
		return false;
	n = omb_pread_full(fd, file, OMB_WAL_FILE_MAX, 0);
	(void) close(fd);
	if (n <= 0 || file[n - 1] != '\n')
		return false;
	file[n - 1] = '\0';
	return omb_wal_name_parse(file, &name) == OMB_WAL_SEGMENT;
}

/* ---- files ---- */

/* The name that a whole file of those facts has. */
static char *
spooled_name(const omb_spool *spool, const omb_wal_object *object,
			 const struct stat *st)
{
	return omb_format(
		"%s-%s.%s.%s.%" PRIx64 ".%" PRIx64 ".%" PRIx64 ".%" PRIx64 "-%lx",
		object->file, object->id, spool->boot, spool->location,
		(uint64_t) st->st_dev, (uint64_t) st->st_ino, (uint64_t) st->st_size,
		(uint64_t) st->st_mtim.tv_sec, (unsigned long) st->st_mtim.tv_nsec);
}

static char *
part_name(const omb_spool *spool, const omb_wal_object *object)
{
	return omb_format("%s-%s.%s" PART, object->file, object->id,
					  spool->location);
}

/* Is the name that of a spooled file or of a part? Tells the object. */
static bool
parse_name(const char *name, omb_wal_object *object)
{
	omb_wal_name parsed;
	size_t len = strcspn(name, "-");

	if (len != OMB_WAL_NAME_TEXT - 1 || name[len] != '-' ||
		strcspn(name + len + 1, ".") != OMB_WAL_ID_TEXT - 1 ||
		name[len + OMB_WAL_ID_TEXT] != '.')
		return false;
	memset(object, 0, sizeof(*object));
	memcpy(object->file, name, len);
	memcpy(object->id, name + len + 1, OMB_WAL_ID_TEXT - 1);
	return omb_wal_name_parse(object->file, &parsed) == OMB_WAL_SEGMENT;
}

static DIR *
read_begin(const omb_spool *spool)
{
	int fd = openat(spool->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL && fd >= 0)
		(void) close(fd);
	return dir;
}

/* The whole file of an object, in new memory; NULL when there is none. */
static char *
find_whole(const omb_spool *spool, const omb_wal_object *object)
{
	DIR *dir = read_begin(spool);
	char *prefix = omb_format("%s-%s.", object->file, object->id);
	char *found = NULL;
	struct dirent *entry;
	struct stat st;

	while (dir != NULL && found == NULL && (entry = readdir(dir)) != NULL)
	{
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
			fstatat(spool->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) !=
				0 ||
			!S_ISREG(st.st_mode))
			continue;
		found = spooled_name(spool, object, &st);
		if (strcmp(found, entry->d_name) != 0)
		{
			free(found);
			found = NULL;
		}
	}
	if (dir != NULL)
		(void) closedir(dir);
	free(prefix);
	return found;
}

/* To another file system: copy under a temporary name. */
static bool
copy_file(const omb_spool *spool, const char *name, const char *path)
{
	char *temporary = omb_format("%s.tmp", path);
	uint8_t *buffer = omb_malloc(COPY_PIECE);
	int from = openat(spool->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = 1;
	bool good = from >= 0 && to >= 0;

	while (good && n > 0)
	{
		n = omb_read_full(from, buffer, COPY_PIECE);
		good = n >= 0 && omb_write_full(to, buffer, (size_t) n) == 0;
	}
	if (from >= 0)
		(void) close(from);
	good = to >= 0 && close(to) == 0 && good && rename(temporary, path) == 0;
	if (good)
		(void) unlinkat(spool->dir, name, 0);
	else
		(void) unlink(temporary);
	free(buffer);
	free(temporary);
	return good;
}

static bool
take_whole(const omb_spool *spool, const omb_wal_object *object,
		   const char *path)
{
	char *name = find_whole(spool, object);
	bool taken =
		name != NULL && (renameat(spool->dir, name, AT_FDCWD, path) == 0 ||
						 (errno == EXDEV && copy_file(spool, name, path)));

	free(name);
	return taken;
}

bool
omb_spool_take(const omb_spool *spool, const omb_wal_object *object,
			   const char *path, int stuck_seconds)
{
	const struct timespec pause = { 0, LOOK_NANOSECONDS };
	char *part = part_name(spool, object);
	struct timespec start = { 0, 0 };
	struct timespec now;
	off_t size = -1;
	struct stat st;
	bool taken;

	while (!(taken = take_whole(spool, object, path)))
	{
		/* once more when the part has vanished: it may just have been named */
		if (fstatat(spool->dir, part, &st, AT_SYMLINK_NOFOLLOW) != 0)
		{
			taken = take_whole(spool, object, path);
			break;
		}
		if (!omb_spool_is_served(spool))
			break;
		(void) clock_gettime(CLOCK_MONOTONIC, &now);
		if (st.st_size != size)
		{
			size = st.st_size;
			start = now;
		}
		else if (now.tv_sec - start.tv_sec > stuck_seconds)
			break;
		(void) nanosleep(&pause, NULL);
	}
	free(part);
	return taken;
}

/* Tells an object of a file; false when there is none. */
static bool
find_file(const omb_spool *spool, const char *file, omb_wal_object *object,
		  bool *several)
{
	DIR *dir = read_begin(spool);
	omb_wal_object found;
	bool any = false;
	struct dirent *entry;

	*several = false;
	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		if (!parse_name(entry->d_name, &found) ||
			strcmp(found.file, file) != 0)
			continue;
		/* a file may be met under two names while it is given the second */
		*several = *several || (any && strcmp(found.id, object->id) != 0);
		*object = found;
		any = true;
	}
	if (dir != NULL)
		(void) closedir(dir);
	return any;
}

bool
omb_spool_has(const omb_spool *spool, const char *file)
{
	omb_wal_object ignored;
	bool several;

	return find_file(spool, file, &ignored, &several);
}

bool
omb_spool_find(const omb_spool *spool, const char *file,
			   omb_wal_object *object)
{
	bool several;
	char *whole, *part;
	bool found;

	if (!find_file(spool, file, object, &several) || several)
		return false;
	/* the part first: it may become the whole meanwhile */
	part = part_name(spool, object);
	found = faccessat(spool->dir, part, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	free(part);
	whole = find_whole(spool, object);
	found = found || whole != NULL;
	free(whole);
	return found;
}

int
omb_spool_begin(const omb_spool *spool, const omb_wal_object *object)
{
	char *part = part_name(spool, object);
	int fd;

	/* never go on with another's file */
	(void) unlinkat(spool->dir, part, 0);
	fd = openat(spool->dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
				0600);
	free(part);
	return fd;
}

bool
omb_spool_commit(const omb_spool *spool, const omb_wal_object *object, int fd)
{
	char *part = part_name(spool, object);
	char *name = NULL;
	struct stat st;
	bool good = fstat(fd, &st) == 0;

	good = close(fd) == 0 && good;
	if (good)
	{
		name = spooled_name(spool, object, &st);
		good = renameat(spool->dir, part, spool->dir, name) == 0;
	}
	if (!good)
		(void) unlinkat(spool->dir, part, 0);
	free(name);
	free(part);
	return good;
}

void
omb_spool_abort(const omb_spool *spool, const omb_wal_object *object, int fd)
{
	char *part = part_name(spool, object);

	(void) unlinkat(spool->dir, part, 0);
	(void) close(fd);
	free(part);
}

int
omb_spool_tidy(const omb_spool *spool, omb_spool_keep keep, void *arg)
{
	DIR *dir = read_begin(spool);
	omb_wal_object object;
	struct dirent *entry;
	int kept = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		if (!parse_name(entry->d_name, &object))
			continue;
		if (keep(object.file, arg))
			kept++;
		else
			(void) unlinkat(spool->dir, entry->d_name, 0);
	}
	if (dir != NULL)
		(void) closedir(dir);
	return kept;
}

static bool
keep_none(const char *file, void *arg)
{
	return false;
}

void
omb_spool_empty(const omb_spool *spool)
{
	(void) omb_spool_tidy(spool, keep_none, NULL);
}

void
omb_spool_remove(const omb_spool *spool)
{
	omb_spool_empty(spool);
	(void) unlinkat(spool->dir, ASKED, 0);
	/* fails when somebody else keeps things in it, and then it stays */
	(void) rmdir(spool->path);
}
