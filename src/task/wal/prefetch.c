/*
 * prefetch.c: a process that fetches WAL segments ahead into the spool.
 *
 * Each thread fetches segments of its own. The window is what follows the
 * segment that was asked for last; a store far away is told of all of it, so
 * that several segments come within one round trip. The process ends when
 * everything that the repository has was taken, when nobody asks for anything
 * any more, or when it is told to; it takes what is left in the spool away.
 */
#include "task/wal/prefetch.h"

#include "base/text.h"
#include "pgfmt/walname.h"
#include "task/wal/walfetch.h"
#include "task/wal/walrange.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The window, in segments and in bytes. */
#define WINDOW_SEGMENTS 16
#define WINDOW_BYTES (UINT64_C(512) * 1024 * 1024)

/* Segments' worth of space that is left free: the server needs it more. */
#define SPARE_SEGMENTS 8

#define LOOK_NANOSECONDS 10000000
#define IDLE_SECONDS 30

typedef struct prefetch
{
	omb_repository *repo;
	omb_spool *spool;
	uint64_t segment_size;
	uint64_t window;
	int jobs;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	uint32_t timeline;
	uint64_t asked; /* segment numbers */
	uint64_t next;	/* the first that no thread has looked at */
	uint64_t end;	/* the first that is not there, or not to be had now */
	int busy;		/* threads that fetch */
	bool stopping;

	pthread_mutex_t look; /* of what follows; never taken with the other */
	omb_wal_finder *finder;
	uint32_t told_timeline;
	uint64_t told;		   /* the first segment the store was not told of */
	uint64_t told_in_vain; /* the end of the window that was not there whole */
} prefetch;

static volatile sig_atomic_t told_to_end;

static void
on_signal(int number)
{
	told_to_end = 1;
}

static uint64_t
window_of(uint64_t segment_size)
{
	uint64_t window = WINDOW_BYTES / segment_size;

	if (window > WINDOW_SEGMENTS)
		return WINDOW_SEGMENTS;
	return window < 2 ? 2 : window;
}

static bool
has_room(const prefetch *p)
{
	struct statvfs fs;

	return fstatvfs(p->spool->dir, &fs) == 0 &&
		   (uint64_t) fs.f_bavail * fs.f_frsize >
			   (SPARE_SEGMENTS + (uint64_t) p->jobs) * p->segment_size;
}

/* Tell a store far away of the segments from one to the end of the window. */
static void
tell(prefetch *p, uint32_t timeline, uint64_t segno, uint64_t end)
{
	char file[OMB_WAL_NAME_TEXT];

	if (!omb_store_is_far(p->repo->store) || end == p->told_in_vain)
		return;
	if (timeline != p->told_timeline || p->told < segno || p->told > end + 1)
		p->told = segno;
	p->told_timeline = timeline;
	for (; p->told <= end; p->told++)
	{
		omb_error ignored = OMB_ERROR_INIT;
		omb_wal_listed found;

		omb_wal_name_format(timeline, p->told, p->segment_size, file);
		if (omb_spool_has(p->spool, file))
			continue;
		if (omb_wal_finder_find(p->finder, file, &found, &ignored) != OMB_OK)
		{
			p->told_in_vain = end;
			return;
		}
		omb_wal_expect(p->repo, &found, found.size);
	}
}

/* What to fetch a segment from; false when it is not there. */
static bool
find_segment(prefetch *p, uint32_t timeline, uint64_t segno, uint64_t end,
			 const char *file, omb_wal_object *object)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_wal_listed found;
	bool is_there;

	(void) pthread_mutex_lock(&p->look);
	is_there =
		omb_wal_finder_find(p->finder, file, &found, &ignored) == OMB_OK;
	if (is_there)
	{
		*object = found.object;
		tell(p, timeline, segno, end);
	}
	(void) pthread_mutex_unlock(&p->look);
	return is_there;
}

/*
 * Fetch one segment of those up to the end of the window; false when that is
 * the end for now.
 */
static bool
fetch_segment(prefetch *p, omb_wal_fetcher *fetcher, uint32_t timeline,
			  uint64_t segno, uint64_t end)
{
	omb_error err = OMB_ERROR_INIT;
	char file[OMB_WAL_NAME_TEXT];
	omb_wal_object object;
	uint64_t size;
	int fd;

	omb_wal_name_format(timeline, segno, p->segment_size, file);
	if (omb_spool_has(p->spool, file))
		return true;
	if (!find_segment(p, timeline, segno, end, file, &object) || !has_room(p))
		return false;
	fd = omb_spool_begin(p->spool, &object);
	if (fd < 0)
		return false;
	if (omb_wal_fetch(fetcher, &object, fd, &size, &err) == OMB_OK)
		return omb_spool_commit(p->spool, &object, fd);
	omb_spool_abort(p->spool, &object, fd);
	return false;
}

static void *
fetch_main(void *arg)
{
	prefetch *p = arg;
	omb_wal_fetcher *fetcher = omb_wal_fetcher_new(p->repo, 1);

	(void) pthread_mutex_lock(&p->lock);
	while (!p->stopping)
	{
		uint32_t timeline = p->timeline;
		uint64_t segno = p->next;
		uint64_t end = p->asked + p->window;
		bool more;

		if (segno >= p->end || segno > end)
		{
			(void) pthread_cond_wait(&p->changed, &p->lock);
			continue;
		}
		p->next++;
		p->busy++;
		(void) pthread_mutex_unlock(&p->lock);
		more = fetch_segment(p, fetcher, timeline, segno, end);
		(void) pthread_mutex_lock(&p->lock);
		p->busy--;
		/* it may have begun before the last request: nobody may want it */
		if (!more && timeline == p->timeline && segno > p->asked &&
			segno < p->end)
		{
			p->end = segno;
			if (segno < p->next)
				p->next = segno;
		}
	}
	(void) pthread_mutex_unlock(&p->lock);
	omb_wal_fetcher_free(fetcher);
	return NULL;
}

/* Look what is asked for now; true when that has changed. The lock is held. */
static bool
follow(prefetch *p)
{
	char file[OMB_WAL_FILE_MAX + 1];
	omb_wal_name name;
	uint64_t asked;

	if (!omb_spool_asked(p->spool, file))
		return false;
	(void) omb_wal_name_parse(file, &name);
	asked = omb_wal_segno(&name, p->segment_size);
	if (name.timeline == p->timeline && asked == p->asked)
		return false;
	/* also when it goes back or elsewhere: what is there is not done again */
	if (name.timeline != p->timeline || asked < p->asked || p->next <= asked)
		p->next = asked + 1;
	p->timeline = name.timeline;
	p->asked = asked;
	p->end = UINT64_MAX;
	(void) pthread_cond_broadcast(&p->changed);
	return true;
}

/* Does a spooled file stay? The lock is held. */
static bool
in_window(const char *file, void *arg)
{
	const prefetch *p = arg;
	omb_wal_name name;
	uint64_t segno;

	(void) omb_wal_name_parse(file, &name);
	segno = omb_wal_segno(&name, p->segment_size);
	return name.timeline == p->timeline && segno >= p->asked &&
		   segno <= p->asked + p->window;
}

/* Watch until there is nothing left to do. */
static void
watch(prefetch *p)
{
	const struct timespec pause = { 0, LOOK_NANOSECONDS };
	struct timespec now, active;
	bool useful = true;

	(void) clock_gettime(CLOCK_MONOTONIC, &active);
	while (useful && !told_to_end && !omb_spool_is_gone(p->spool))
	{
		(void) nanosleep(&pause, NULL);
		(void) clock_gettime(CLOCK_MONOTONIC, &now);
		(void) pthread_mutex_lock(&p->lock);
		if (follow(p))
			active = now;
		useful = now.tv_sec - active.tv_sec <= IDLE_SECONDS &&
				 (omb_spool_tidy(p->spool, in_window, p) > 0 ||
				  p->next < p->end || p->busy > 0);
		(void) pthread_mutex_unlock(&p->lock);
	}
}

static void
run(prefetch *p)
{
	pthread_t *thread = omb_calloc((size_t) p->jobs, sizeof(*thread));
	int started = 0;

	(void) pthread_mutex_init(&p->lock, NULL);
	(void) pthread_mutex_init(&p->look, NULL);
	p->finder = omb_wal_finder_new(p->repo);
	(void) pthread_cond_init(&p->changed, NULL);
	while (started < p->jobs &&
		   pthread_create(&thread[started], NULL, fetch_main, p) == 0)
		started++;
	if (started > 0)
		watch(p);
	(void) pthread_mutex_lock(&p->lock);
	p->stopping = true;
	(void) pthread_cond_broadcast(&p->changed);
	(void) pthread_mutex_unlock(&p->lock);
	while (started > 0)
		(void) pthread_join(thread[--started], NULL);
	omb_spool_remove(p->spool);
	omb_wal_finder_free(p->finder);
	free(thread);
}

/* Keep the spool only: others wait for the end of what we inherited. */
static void
close_inherited(int keep)
{
	DIR *dir = opendir("/proc/self/fd");
	int null = open("/dev/null", O_RDWR);
	struct dirent *entry;
	uint64_t number;
	int fd;

	for (fd = 0; null >= 0 && fd <= 2; fd++)
		(void) dup2(null, fd);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		if (!omb_u64_parse(entry->d_name, &number) || number > INT_MAX)
			continue;
		fd = (int) number;
		if (fd > 2 && fd != keep && fd != dirfd(dir))
			(void) close(fd);
	}
	if (dir != NULL)
		(void) closedir(dir);
}

void
omb_prefetch_start(omb_repository *repo, omb_spool *spool, const char *file,
				   uint64_t segment_size, int jobs)
{
	omb_wal_name name;
	prefetch p;
	pid_t child;

	memset(&p, 0, sizeof(p));
	(void) omb_wal_name_parse(file, &name);
	p.repo = repo;
	p.spool = spool;
	p.segment_size = segment_size;
	p.window = window_of(segment_size);
	p.jobs = jobs;
	p.timeline = name.timeline;
	p.asked = omb_wal_segno(&name, segment_size);
	p.next = p.asked + 1;
	p.end = UINT64_MAX;

	child = fork();
	if (child > 0)
		(void) waitpid(child, NULL, 0);
	if (child != 0)
		return;
	/* the child of a child belongs to nobody who would wait for it */
	if (setsid() < 0 || fork() != 0)
		_exit(0);
	(void) signal(SIGTERM, on_signal);
	(void) signal(SIGINT, on_signal);
	close_inherited(spool->dir);
	/* hold no file system but the spool's */
	if (fchdir(spool->dir) == 0)
		run(&p);
	_exit(0);
}
