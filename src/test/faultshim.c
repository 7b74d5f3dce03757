/*
 * faultshim.c: makes the Nth operation on files fail, or kills the process
 * there. Loaded with LD_PRELOAD into the program by tests.
 *
 *   FAULT_AT=N          which operation, from 1; 0 counts only
 *   FAULT_MODE=errno    fail with EIO, or with ENOSPC for odd N
 *   FAULT_MODE=kill     SIGKILL before the operation, as a power cut
 *   FAULT_LOG=FILE      gets "fired NAME" or "counted N" at the end
 *
 * Counted are operations that change something: creating, writing, syncing,
 * renaming, linking, removing, truncating, making directories, locking. Those
 * on standard output are not.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long counter;

static void
note(const char *text)
{
	const char *log = getenv("FAULT_LOG");
	int fd;
	ssize_t (*real_write)(int, const void *, size_t) = NULL;

	if (log == NULL)
		return;
	*(void **) &real_write = dlsym(RTLD_NEXT, "write");
	fd = (int) openat(AT_FDCWD, log, O_WRONLY | O_APPEND);
	if (fd >= 0)
	{
		(void) real_write(fd, text, strlen(text));
		(void) close(fd);
	}
}

/* Whether this operation is to fail; errno is set then. */
static bool
fails(const char *name)
{
	const char *at = getenv("FAULT_AT");
	const char *mode = getenv("FAULT_MODE");
	long wanted = at ? atol(at) : 0;
	long number = __sync_add_and_fetch(&counter, 1);
	char text[128];

	if (number != wanted)
		return false;
	(void) snprintf(text, sizeof(text), "fired %s\n", name);
	note(text);
	if (mode != NULL && strcmp(mode, "kill") == 0)
		(void) kill(getpid(), SIGKILL);
	errno = wanted % 2 ? ENOSPC : EIO;
	return true;
}

#define REAL(type, name, ...)         \
	static type (*real)(__VA_ARGS__); \
	if (real == NULL)                 \
	*(void **) &real = dlsym(RTLD_NEXT, #name)

int
open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	REAL(int, open, const char *, int, ...);
	if (flags & O_CREAT)
	{
		va_start(args, flags);
		mode = (mode_t) va_arg(args, int);
		va_end(args);
		if (fails("open"))
			return -1;
	}
	return real(path, flags, mode);
}

ssize_t
write(int fd, const void *data, size_t len)
{
	REAL(ssize_t, write, int, const void *, size_t);
	if (fd > 2 && fails("write"))
		return -1;
	return real(fd, data, len);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
	return fails("pwrite") ? -1 : real(fd, data, len, offset);
}

int
fsync(int fd)
{
	REAL(int, fsync, int);
	return fails("fsync") ? -1 : real(fd);
}

int
syncfs(int fd)
{
	REAL(int, syncfs, int);
	return fails("syncfs") ? -1 : real(fd);
}

int
rename(const char *from, const char *to)
{
	REAL(int, rename, const char *, const char *);
	return fails("rename") ? -1 : real(from, to);
}

int
renameat2(int from_dir, const char *from, int to_dir, const char *to,
		  unsigned int flags)
{
	REAL(int, renameat2, int, const char *, int, const char *, unsigned int);
	return fails("renameat2") ? -1 : real(from_dir, from, to_dir, to, flags);
}

int
unlink(const char *path)
{
	REAL(int, unlink, const char *);
	return fails("unlink") ? -1 : real(path);
}

int
mkdir(const char *path, mode_t mode)
{
	REAL(int, mkdir, const char *, mode_t);
	return fails("mkdir") ? -1 : real(path, mode);
}

int
flock(int fd, int operation)
{
	REAL(int, flock, int, int);
	return fails("flock") ? -1 : real(fd, operation);
}

int
symlink(const char *target, const char *path)
{
	REAL(int, symlink, const char *, const char *);
	return fails("symlink") ? -1 : real(target, path);
}

int
ftruncate(int fd, off_t size)
{
	REAL(int, ftruncate, int, off_t);
	return fails("ftruncate") ? -1 : real(fd, size);
}

int
chmod(const char *path, mode_t mode)
{
	REAL(int, chmod, const char *, mode_t);
	return fails("chmod") ? -1 : real(path, mode);
}
