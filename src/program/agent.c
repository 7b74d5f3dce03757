/*
 * agent.c: talking to the server that started us.
 *
 * A thread reads standard input all the time, so that its end is seen also
 * while a job is busy. Lines wait in a queue of one: the server sends the next
 * only when it was answered.
 */
#include "program/agent.h"

#include "base/buffer.h"
#include "base/file.h"
#include "pgfmt/lsn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Steps aside; with a much higher value a busy server would starve it. */
#define NICE 10
/* ioprio_set(2): best effort, lowest level; there is no header for it */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_LOWEST (2 << 13 | 7)

/*
 * Since Linux 6.6 who has a processor keeps it for a slice of some milliseconds,
 * whatever its priority, unless one with a shorter slice wakes up. A server
 * process that answers a client and waits for its disk in turns then waits for
 * us each time. Since 6.12 a slice can be chosen (sched_setattr(2), not in the C
 * library): the longest there is lets everybody go first.
 */
#define SLICE_NS 100000000
typedef struct sched_attributes
{
	uint32_t size;
	uint32_t policy; /* 0: the usual one */
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime; /* of the usual policy: the slice, in ns */
	uint64_t deadline;
	uint64_t period;
} sched_attributes;

/*
 * The process is the agent: these are its standard input and output, and as
 * single as they are.
 */
static struct
{
	pthread_mutex_t lock;
	pthread_cond_t changed;
	char *line; /* waiting to be received, or NULL */
	size_t len;
	omb_buf out;
	/* lines that do not wait; see omb_agent_handle() */
	char verb[16];
	void (*handle)(const omb_fields *fields, void *arg);
	void *arg;
} agent = { PTHREAD_MUTEX_INITIALIZER,
			PTHREAD_COND_INITIALIZER,
			NULL,
			0,
			OMB_BUF_INIT,
			"",
			NULL,
			NULL };

/* True when the line was dealt with at once. */
static bool
handle_now(char *line, size_t len)
{
	void (*handle)(const omb_fields *fields, void *arg) = NULL;
	omb_fields fields;
	size_t verb;
	void *arg;

	(void) pthread_mutex_lock(&agent.lock);
	verb = strlen(agent.verb);
	if (agent.handle != NULL && len > verb &&
		strncmp(line, agent.verb, verb) == 0 && line[verb] == ' ')
		handle = agent.handle;
	arg = agent.arg;
	(void) pthread_mutex_unlock(&agent.lock);
	if (handle == NULL)
		return false;
	if (!omb_fields_parse_line(line, len, &fields))
		_exit(1);
	handle(&fields, arg);
	return true;
}

static void *
reader_main(void *arg)
{
	char *line = NULL;
	size_t cap = 0;

	for (;;)
	{
		ssize_t len = getline(&line, &cap, stdin);

		if (len <= 0 || len > OMB_LINE_MAX || line[len - 1] != '\n')
			_exit(1);
		if (handle_now(line, (size_t) len))
			continue;
		(void) pthread_mutex_lock(&agent.lock);
		while (agent.line != NULL)
			(void) pthread_cond_wait(&agent.changed, &agent.lock);
		agent.line = line;
		agent.len = (size_t) len;
		(void) pthread_cond_broadcast(&agent.changed);
		(void) pthread_mutex_unlock(&agent.lock);
		line = NULL;
		cap = 0;
	}
	return NULL;
}

omb_status
omb_agent_receive(omb_fields *fields, char **line, omb_error *err)
{
	size_t len;

	(void) pthread_mutex_lock(&agent.lock);
	while (agent.line == NULL)
		(void) pthread_cond_wait(&agent.changed, &agent.lock);
	*line = agent.line;
	len = agent.len;
	agent.line = NULL;
	(void) pthread_cond_broadcast(&agent.changed);
	(void) pthread_mutex_unlock(&agent.lock);
	if (!omb_fields_parse_line(*line, len, fields))
		return omb_error_set(err, OMB_USAGE,
							 "the server sent a line that makes no sense");
	return OMB_OK;
}

void
omb_agent_handle(const char *verb,
				 void (*handle)(const omb_fields *fields, void *arg),
				 void *arg)
{
	(void) pthread_mutex_lock(&agent.lock);
	(void) snprintf(agent.verb, sizeof(agent.verb), "%s", verb);
	agent.handle = handle;
	agent.arg = arg;
	(void) pthread_mutex_unlock(&agent.lock);
}

void
omb_agent_begin(const char *verb)
{
	omb_buf_clear(&agent.out);
	omb_buf_printf(&agent.out, "%s", verb);
}

void
omb_agent_text(const char *name, const char *value)
{
	size_t size = omb_fields_escaped_size(value);

	omb_buf_printf(&agent.out, " %s=", name);
	(void) omb_fields_escape(value,
							 (char *) omb_buf_reserve(&agent.out, size + 1));
	agent.out.len += size;
}

void
omb_agent_u64(const char *name, uint64_t value)
{
	omb_buf_printf(&agent.out, " %s=%" PRIu64, name, value);
}

void
omb_agent_i64(const char *name, int64_t value)
{
	omb_buf_printf(&agent.out, " %s=%" PRId64, name, value);
}

void
omb_agent_lsn(const char *name, uint64_t lsn)
{
	char text[OMB_LSN_TEXT];

	omb_agent_text(name, omb_lsn_format(lsn, text));
}

void
omb_agent_end(void)
{
	omb_buf_put_u8(&agent.out, '\n');
	/* nobody reads: the server is gone */
	if (omb_write_full(STDOUT_FILENO, agent.out.data, agent.out.len) != 0)
		_exit(1);
}

const char *
omb_agent_status_word(omb_status status)
{
	static const char *const words[] = {
		"ok",	   "failed",	"not_found", "exists",
		"damaged", "wrong_key", "no_space",	 "unsupported",
		"refused", "cancelled", "usage",	 "busy"
	};

	return words[status];
}

void
omb_agent_error_fields(const omb_error *err)
{
	omb_agent_text("status", omb_agent_status_word(err->status));
	omb_agent_text("message", err->message);
	if (err->detail[0] != '\0')
		omb_agent_text("detail", err->detail);
	if (err->hint[0] != '\0')
		omb_agent_text("hint", err->hint);
}

/*
 * Each server process has a session of its own, and the kernel may share the
 * processors among sessions first (sched_autogroup_enabled): the priority of
 * the group counts, too.
 */
void
omb_agent_step_aside(void)
{
	char *text = omb_format("%d", NICE);
	int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	sched_attributes attributes = { .size = sizeof(attributes),
									.nice = NICE,
									.runtime = SLICE_NS };

	(void) setpriority(PRIO_PROCESS, 0, NICE);
	(void) syscall(SYS_sched_setattr, 0, &attributes, 0U);
	(void) syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_LOWEST);
	if (fd >= 0)
	{
		/* no reason to fail where there are no such groups */
		(void) omb_write_full(fd, text, strlen(text));
		(void) close(fd);
	}
	free(text);
}

void
omb_agent_start(void)
{
	pthread_t reader;
	int fd;

	/* sockets and files of the server that were not marked close-on-exec */
	(void) syscall(SYS_close_range, 3U, ~0U, 0U);
	/* when memory is short we go before the server */
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
	{
		(void) omb_write_full(fd, "800", 3);
		(void) close(fd);
	}
	if (pthread_create(&reader, NULL, reader_main, NULL) != 0)
		_exit(1);
	(void) pthread_detach(reader);
}
