/*
 * walget.c: fetching one WAL file for recovery.
 *
 * The file has a temporary name until all was checked.
 */
#include "task/wal/walget.h"

#include "base/file.h"
#include "pgfmt/walname.h"
#include "store/url.h"
#include "task/wal/prefetch.h"
#include "task/wal/walfetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Seconds after which a process that fetches ahead and gets nowhere is no
 * longer waited for. Over a slow line what it waits for comes in one piece,
 * and to fetch the same beside it would take as long again.
 */
#define STUCK 5
#define STUCK_FAR 300

/* What timeline are the objects of, and what segments? */
typedef struct neighbours
{
	uint64_t segno;
	uint64_t in_log;
	bool before;
	bool after;
} neighbours;

static omb_status
look(const omb_store_entry *entry, void *arg, omb_error *err)
{
	neighbours *n = arg;
	omb_wal_object object;
	omb_wal_name name;

	if (omb_wal_object_parse(entry->name, &object) &&
		omb_wal_name_parse(object.file, &name) == OMB_WAL_SEGMENT)
	{
		/* any number that orders segments will do */
		uint64_t segno = (uint64_t) name.log << 32 | name.seg;

		n->before = n->before || segno < n->segno;
		n->after = n->after || segno > n->segno;
	}
	return OMB_OK;
}

/*
 * A missing segment with others of its timeline before and behind it is a
 * gap: going on without it would end recovery early and lose what is behind.
 */
static omb_status
check_gap(omb_repository *repo, const omb_wal_request *request, omb_error *err)
{
	const char *file = request->file;
	omb_wal_name name;
	omb_wal_name last;
	neighbours n;
	char folder[32];

	if (omb_wal_name_parse(file, &name) != OMB_WAL_SEGMENT)
		return OMB_OK;
	memset(&n, 0, sizeof(n));
	n.segno = (uint64_t) name.log << 32 | name.seg;
	if (request->last_needed != NULL &&
		omb_wal_name_parse(request->last_needed, &last) == OMB_WAL_SEGMENT &&
		n.segno > ((uint64_t) last.log << 32 | last.seg))
		return OMB_OK;
	(void) snprintf(folder, sizeof(folder), OMB_WAL_FOLDER "/%08X",
					name.timeline);
	if (omb_store_list(repo->store, folder, true, look, &n, err) == OMB_OK &&
		n.before && n.after)
	{
		(void) omb_error_set(err, OMB_DAMAGED,
							 "WAL segment \"%s\" is missing although later "
							 "ones are in the repository",
							 file);
		omb_error_hint(err, "Recovery cannot go on behind the gap. Restore "
							"to an earlier target.");
	}
	return err->status;
}

bool
omb_wal_get_spooled(const omb_wal_request *request, bool *ahead)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_store *store;
	omb_wal_object object;
	omb_wal_name name;
	omb_spool spool;
	bool taken = false;

	*ahead = false;
	if (omb_wal_name_parse(request->file, &name) != OMB_WAL_SEGMENT ||
		!omb_spool_open(&spool, request->spool, request->location, false))
		return false;
	omb_spool_ask(&spool, request->file);
	if (omb_store_open_url(request->location, request->credentials, &store,
						   &ignored) == OMB_OK)
	{
		if (omb_store_is_far(store) && omb_spool_is_served(&spool))
			taken = omb_spool_find(&spool, request->file, &object) &&
					omb_spool_take(&spool, &object, request->path, STUCK_FAR);
		/* else only what the repository holds now is right */
		taken = taken ||
				(omb_wal_find_in(store, request->file, &object, &ignored) ==
					 OMB_OK &&
				 omb_spool_take(&spool, &object, request->path, STUCK));
	}
	*ahead = taken && !omb_spool_lock(&spool);
	omb_store_free(store);
	omb_spool_close(&spool);
	return taken;
}

omb_status
omb_wal_get(omb_repository *repo, const omb_wal_request *request,
			omb_error *err)
{
	omb_wal_object object;
	omb_error absent;
	omb_wal_fetcher *fetcher;
	uint64_t size;
	char *temporary;
	int fd;

	if (omb_wal_find(repo, request->file, &object, err) != OMB_OK)
	{
		if (err->status != OMB_NOT_FOUND)
			return err->status;
		absent = *err;
		omb_error_clear(err);
		if (check_gap(repo, request, err) == OMB_OK)
			*err = absent;
		return err->status;
	}
	temporary = omb_format("%s.tmp", request->path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   temporary);
	else
	{
		fetcher = omb_wal_fetcher_new(repo, request->jobs);
		(void) omb_wal_fetch(fetcher, &object, fd, &size, err);
		omb_wal_fetcher_free(fetcher);
		if (close(fd) != 0 && err->status == OMB_OK)
			(void) omb_error_set_errno(
				err, errno, "could not close file \"%s\"", temporary);
		if (err->status == OMB_OK && rename(temporary, request->path) != 0)
			(void) omb_error_set_errno(
				err, errno, "could not rename file \"%s\"", temporary);
		if (err->status != OMB_OK)
			(void) unlink(temporary);
	}
	free(temporary);
	return err->status;
}

/* Is the segment behind the one of that name in the repository? */
static bool
has_next(omb_repository *repo, const char *file, uint64_t segment_size)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_wal_object object;
	omb_wal_name name;
	char next[OMB_WAL_NAME_TEXT];

	(void) omb_wal_name_parse(file, &name);
	omb_wal_name_format(name.timeline, omb_wal_segno(&name, segment_size) + 1,
						segment_size, next);
	return omb_wal_find(repo, next, &object, &ignored) == OMB_OK;
}

void
omb_wal_get_ahead(omb_repository *repo, const omb_wal_request *request,
				  bool absent)
{
	omb_wal_name name;
	omb_spool spool;
	struct stat st;
	bool more;

	if (omb_wal_name_parse(request->file, &name) != OMB_WAL_SEGMENT)
		return;
	more = !absent && stat(request->path, &st) == 0 &&
		   omb_wal_segment_size_valid((uint64_t) st.st_size) &&
		   has_next(repo, request->file, (uint64_t) st.st_size);
	/* that of an earlier time is removed when there is nothing ahead */
	if (!omb_spool_open(&spool, request->spool, request->location, more))
		return;
	omb_spool_ask(&spool, request->file);
	if (omb_spool_lock(&spool))
	{
		/* who finds it served believes what is in it */
		if (omb_store_is_far(repo->store))
			omb_spool_empty(&spool);
		if (more)
			omb_prefetch_start(repo, &spool, request->file,
							   (uint64_t) st.st_size, request->jobs);
		else
			omb_spool_remove(&spool);
	}
	omb_spool_close(&spool);
}
