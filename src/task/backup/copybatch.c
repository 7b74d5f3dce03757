/*
 * copybatch.c: the workers of a backup: batches of small files, whose
 * contents share one blob.
 */
#include "task/backup/copybatch.h"

#include "base/file.h"
#include "codec/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files that a worker has open at once. */
#define OPEN_AHEAD 32

typedef struct opened_file
{
	int fd; /* or -1 with errnum */
	int errnum;
	struct stat st;
} opened_file;

/* Those from the file in hand up to next, in a ring. */
typedef struct opened_files
{
	int next;
	opened_file file[OPEN_AHEAD];
} opened_files;

int
omb_copy_open(const omb_copy_item *item, struct stat *st)
{
	int fd;

	if (item->entry.root != OMB_ROOT_FILES)
		fd = open(item->source, O_RDONLY | O_CLOEXEC);
	else
		/* a pipe that took the file's name must not hold us up */
		fd = omb_open_below(item->directory, item->source + item->below,
							O_RDONLY | O_NONBLOCK, 0);
	if (fd >= 0 && fstat(fd, st) == 0 &&
		(S_ISREG(st->st_mode) || item->entry.root != OMB_ROOT_FILES))
		return fd;
	if (fd >= 0)
	{
		(void) close(fd);
		errno = ENOENT;
	}
	if (item->entry.root == OMB_ROOT_FILES &&
		(errno == ENOTDIR || errno == ELOOP || errno == ENXIO))
		errno = ENOENT;
	return -1;
}

bool
omb_copy_changed(int fd, const struct stat *st)
{
	struct stat now;

	return fstat(fd, &now) != 0 || now.st_size != st->st_size ||
		   omb_nanoseconds(&now.st_mtim) != omb_nanoseconds(&st->st_mtim) ||
		   omb_nanoseconds(&now.st_ctim) != omb_nanoseconds(&st->st_ctim);
}

static bool
is_to_read(const omb_copy_item *item)
{
	return item->entry.type == OMB_ENTRY_FILE && !item->is_taken &&
		   (item->entry.size > 0 || item->entry.root == OMB_ROOT_FILES);
}

/*
 * Open the files of the batch that come next, and have the system fetch them:
 * many small ones that are not in memory would else be waited for one by one.
 */
static void
open_ahead(const omb_copy_unit *unit, opened_files *files, int current)
{
	while (files->next < unit->count && files->next < current + OPEN_AHEAD)
	{
		const omb_copy_item *item = &unit->item[files->next];
		opened_file *f = &files->file[files->next++ % OPEN_AHEAD];

		if (!is_to_read(item))
			continue;
		f->fd = omb_copy_open(item, &f->st);
		f->errnum = f->fd < 0 ? errno : 0;
		if (f->fd >= 0)
			(void) posix_fadvise(f->fd, 0, f->st.st_size, POSIX_FADV_WILLNEED);
	}
}

/* After a failure: close those that were opened and not read. */
static void
close_rest(const omb_copy_unit *unit, const opened_files *files, int from)
{
	int i;

	for (i = from; i < files->next; i++)
	{
		const opened_file *f = &files->file[i % OPEN_AHEAD];

		if (is_to_read(&unit->item[i]) && f->fd >= 0)
			(void) close(f->fd);
	}
}

/* Read a small file behind what is in the buffer already. */
static void
read_small(omb_copy_unit *unit, const omb_copy_context *context,
		   omb_copy_worker *worker, const opened_file *opened, int number,
		   size_t used)
{
	omb_copy_item *item = &unit->item[number];
	bool is_set = item->entry.root == OMB_ROOT_FILES;
	uint8_t *data = worker->buffer + used;
	struct stat st = opened->st;
	ssize_t n = 0;
	int fd = opened->fd;

	errno = opened->errnum;
	if (fd < 0 && errno == ENOENT)
	{
		item->vanished = true;
		return;
	}
	if (fd < 0 ||
		(n = omb_pread_full(fd, data, (size_t) item->entry.size, 0)) < 0)
	{
		if (is_set)
			item->unreadable = errno;
		else
			(void) omb_error_set_errno(&unit->error, errno,
									   "could not read file \"%s\"",
									   item->source);
		if (fd >= 0)
			(void) close(fd);
		return;
	}
	/* no WAL makes a file of a set whole */
	if (is_set)
		item->changed = n != st.st_size || omb_copy_changed(fd, &st);
	/* it may have shrunk; what it grew by is in the WAL */
	item->entry.size = (uint64_t) n;
	item->entry.mtime = omb_nanoseconds(&st.st_mtim);
	item->entry.ctime = omb_nanoseconds(&st.st_ctim);
	item->entry.inode = (uint64_t) st.st_ino;
	if (context->verify_pages && item->is_relation)
		omb_copy_check_pages(unit, context, number, fd, data, (size_t) n, 0);
	item->entry.crc32c = omb_crc32c(0, data, (size_t) n);
	unit->read += (uint64_t) n;
	(void) close(fd);
}

/*
 * Note the fingerprints of a small file. True when the parent has the same:
 * then its extents are taken over.
 */
static bool
compare_small(const omb_copy_context *context, omb_copy_item *item,
			  const uint8_t *data)
{
	size_t count = omb_fingerprint_count(item->entry.size);
	uint64_t *fingerprint = omb_calloc(count, sizeof(uint64_t));
	bool same;
	size_t i;

	(void) omb_fingerprint(context->fingerprinter, data,
						   (size_t) item->entry.size, fingerprint);
	same =
		item->old_count > 0 && item->fingerprint_count == count &&
		memcmp(item->fingerprint, fingerprint, count * sizeof(uint64_t)) == 0;
	for (i = 0; same && i < item->old_count; i++)
		omb_entry_add_extent(&item->entry, &item->old[i]);
	free(item->fingerprint);
	item->fingerprint = fingerprint;
	item->fingerprint_count = count;
	return same;
}

void
omb_copy_batch(omb_copy_unit *unit, const omb_copy_context *context,
			   omb_copy_worker *worker)
{
	uint64_t fingerprint[OMB_FINGERPRINT_BLOCKS];
	uint32_t start[OMB_COPY_BATCH];
	bool is_stored[OMB_COPY_BATCH];
	opened_files files;
	size_t used = 0;
	omb_extent shared;
	int i;

	files.next = 0;
	for (i = 0; i < unit->count && unit->error.status == OMB_OK; i++)
	{
		omb_copy_item *item = &unit->item[i];

		is_stored[i] = false;
		open_ahead(unit, &files, i);
		if (item->entry.type != OMB_ENTRY_FILE || item->is_taken)
			continue;
		if (is_to_read(item))
			read_small(unit, context, worker, &files.file[i % OPEN_AHEAD], i,
					   used);
		if (unit->error.status != OMB_OK)
			break;
		/* what changed is read again by the collecting thread */
		if (item->vanished || item->unreadable != 0 || item->changed ||
			item->entry.size == 0 ||
			compare_small(context, item, worker->buffer + used))
			continue;
		is_stored[i] = true;
		start[i] = (uint32_t) used;
		used += (size_t) item->entry.size;
	}
	if (unit->error.status != OMB_OK)
	{
		close_rest(unit, &files, i + 1);
		return;
	}
	(void) omb_fingerprint(context->fingerprinter, worker->buffer, used,
						   fingerprint);
	if (omb_copy_store(unit, context, worker, worker->buffer, used,
					   fingerprint, &shared) != OMB_OK)
		return;
	for (i = 0; i < unit->count; i++)
	{
		omb_extent extent = shared;

		if (!is_stored[i])
			continue;
		extent.start = extent.is_zero ? 0 : start[i];
		extent.length = unit->item[i].entry.size;
		omb_entry_add_extent(&unit->item[i].entry, &extent);
	}
}
