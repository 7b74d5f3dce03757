/*
 * clockshim.c: a clock that is wrong. Preloaded into processes of a test, it
 * adds the seconds that the file OMB_CLOCK_FILE says, a number of eight bytes,
 * to what the time of day is. Changing the file in place sets the clock of all
 * processes at once. Durations (CLOCK_MONOTONIC) are as they are.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("OMB_CLOCK_FILE");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *map;

	real_clock_gettime = (int (*)(clockid_t, struct timespec *)) dlsym(
		RTLD_NEXT, "clock_gettime");
	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		offset = map;
	(void) close(fd);
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc;

	if (real_clock_gettime == NULL)
		begin();
	rc = real_clock_gettime(clock, ts);
	if (rc == 0 && offset != NULL &&
		(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += *offset;
	return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void) clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	(void) clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
