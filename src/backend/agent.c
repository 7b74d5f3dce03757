/*
 * agent.c: the program as a child of a server process.
 *
 * The child shares nothing with the server: it gets two pipes, default
 * signals and no other descriptor (it closes what it inherited). Whatever
 * becomes of it, here it is a line that does not come.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/wait_event.h"

#include "backend/agent.h"
#include "backend/settings.h"
#include "backend/text.h"

extern char **environ;

#define PROGRAM "omsupply_backup"

/* How long a killed agent has for its end. */
#define REAP_MS 5000

/* The agent of this process. */
static struct
{
	pid_t pid;	 /* 0 when there is none */
	int in;		 /* its standard input */
	int out;	 /* its standard output */
	pid_t stuck; /* an earlier one that could not be ended, or 0 */
	bool exit_registered;
	bool took_wakeup;
	StringInfoData send;
	StringInfoData received; /* bytes not yet given out begin at used */
	int used;
	char death[256];
} agent;

static void
stop_at_exit(int code, Datum arg)
{
	omb_agent_stop();
}

/* The program lies beside the postgres executable. */
static void
program_path(char *path)
{
	strlcpy(path, my_exec_path, MAXPGPATH);
	get_parent_directory(path);
	strlcat(path, "/" PROGRAM, MAXPGPATH);
}

static int
spawn(const char *path, int child_in, int child_out, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all;
	sigset_t none;
	char name[] = PROGRAM;
	char command[] = "agent";
	char *argv[] = { name, command, NULL };
	int rc;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, child_in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, child_out, STDOUT_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes,
							 POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	rc = posix_spawn(pid, path, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

void
omb_agent_start(void)
{
	char path[MAXPGPATH];
	int to_child[2];
	int from_child[2];
	int rc;
	MemoryContext old;

	Assert(agent.pid == 0);
	/* or each attempt would leave one more behind */
	if (agent.stuck != 0 && waitpid(agent.stuck, &rc, WNOHANG) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("an earlier backup agent (process %d) could not be "
						"ended",
						(int) agent.stuck),
				 errdetail("It waits inside the operating system."),
				 errhint("Check that the file system of the repository "
						 "responds.")));
	agent.stuck = 0;
	if (!agent.exit_registered)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		initStringInfo(&agent.send);
		initStringInfo(&agent.received);
		MemoryContextSwitchTo(old);
		before_shmem_exit(stop_at_exit, (Datum) 0);
		agent.exit_registered = true;
	}
	resetStringInfo(&agent.received);
	agent.used = 0;
	agent.death[0] = '\0';
	program_path(path);
	if (pipe2(to_child, O_CLOEXEC) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create pipe for backup agent: %m")));
	if (pipe2(from_child, O_CLOEXEC) != 0)
	{
		int saved = errno;

		close(to_child[0]);
		close(to_child[1]);
		errno = saved;
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create pipe for backup agent: %m")));
	}
	rc = spawn(path, to_child[0], from_child[1], &agent.pid);
	close(to_child[0]);
	close(from_child[1]);
	agent.in = to_child[1];
	agent.out = from_child[0];
	if (rc != 0)
	{
		agent.pid = 0;
		close(agent.in);
		close(agent.out);
		errno = rc;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not start backup agent \"%s\": %m", path),
				 errhint("Install the program beside the server's own.")));
	}
	/* neither side may ever wait for the other inside a system call */
	(void) fcntl(agent.in, F_SETFL, O_NONBLOCK);
	(void) fcntl(agent.out, F_SETFL, O_NONBLOCK);
	ReserveExternalFD();
	ReserveExternalFD();
}

bool
omb_agent_running(void)
{
	return agent.pid != 0;
}

/*
 * Wait for the end of the child, but not for ever: a process that waits for a
 * file system inside the kernel cannot even be killed. 0 when time is up.
 */
static pid_t
wait_child(pid_t pid, int *status)
{
	int slept_ms = 0;

	for (;;)
	{
		pid_t rc = waitpid(pid, status, WNOHANG);
		int pause_ms = slept_ms < 100 ? 1 : 50;

		if (rc > 0 || (rc < 0 && errno != EINTR))
			return rc;
		if (slept_ms >= REAP_MS)
			return 0;
		pg_usleep(pause_ms * 1000L);
		slept_ms += pause_ms;
	}
}

/* Close, reap, and note how it ended; kill it first unless it ended itself. */
static void
reap(bool kill_it)
{
	int status = 0;
	pid_t rc = 0;

	if (agent.pid == 0)
		return;
	if (kill_it)
		(void) kill(agent.pid, SIGKILL);
	close(agent.in);
	close(agent.out);
	ReleaseExternalFD();
	ReleaseExternalFD();
	rc = wait_child(agent.pid, &status);
	if (rc == 0 && !kill_it)
	{
		(void) kill(agent.pid, SIGKILL);
		rc = wait_child(agent.pid, &status);
	}
	if (rc == 0)
		agent.stuck = agent.pid;
	agent.pid = 0;
	if (rc == 0)
		strlcpy(agent.death, "it does not react to being killed",
				sizeof(agent.death));
	else if (rc > 0)
	{
		char *words = wait_result_to_str(status);

		strlcpy(agent.death, words, sizeof(agent.death));
		pfree(words);
	}
	else
		strlcpy(agent.death, "it vanished", sizeof(agent.death));
}

void
omb_agent_stop(void)
{
	reap(true);
}

const char *
omb_agent_death(void)
{
	return agent.death;
}

void
omb_agent_begin(const char *verb)
{
	resetStringInfo(&agent.send);
	appendStringInfoString(&agent.send, verb);
}

void
omb_agent_put(const char *name, const char *value)
{
	appendStringInfo(&agent.send, " %s=", name);
	enlargeStringInfo(&agent.send, omb_fields_escaped_size(value));
	agent.send.len =
		omb_fields_escape(value, agent.send.data + agent.send.len) -
		agent.send.data;
}

void
omb_agent_put_u64(const char *name, uint64 value)
{
	appendStringInfo(&agent.send, " %s=" UINT64_FORMAT, name, value);
}

void
omb_agent_put_lsn(const char *name, uint64 lsn)
{
	appendStringInfo(&agent.send, " %s=%X/%X", name, LSN_FORMAT_ARGS(lsn));
}

void
omb_agent_begin_job(const char *type)
{
	omb_agent_begin("job");
	omb_agent_put("type", type);
	omb_agent_put("repository", omb_repository);
	omb_agent_put("key_file", omb_key_file);
	omb_agent_put("compression", omb_compression);
	omb_agent_put_u64("jobs", omb_settings_jobs());
	omb_agent_put("pgdata", DataDir);
	omb_agent_put_u64("system_identifier", GetSystemIdentifier());
	omb_agent_put_u64("wal_segment_size", wal_segment_size);
}

/* Wait for the pipe or the latch, whichever comes first. */
static int
wait_for(int event, int fd, long timeout_ms)
{
	int rc = WaitLatchOrSocket(
		MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | event, fd,
		timeout_ms, PG_WAIT_EXTENSION);

	if (rc & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		agent.took_wakeup = true;
	}
	return rc;
}

bool
omb_agent_took_wakeup(void)
{
	bool took = agent.took_wakeup;

	agent.took_wakeup = false;
	return took;
}

bool
omb_agent_send(void)
{
	int done = 0;

	appendStringInfoChar(&agent.send, '\n');
	while (done < agent.send.len)
	{
		ssize_t n;

		if (agent.pid == 0)
			return false;
		n = write(agent.in, agent.send.data + done, agent.send.len - done);
		if (n > 0)
			done += n;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		{
			/* only a line longer than a pipe holds comes here */
			(void) wait_for(WL_SOCKET_WRITEABLE, agent.in, 1000);
			CHECK_FOR_INTERRUPTS();
		}
		else if (n < 0 && errno != EINTR)
		{
			reap(true);
			return false;
		}
	}
	return true;
}

/* Give out the next whole line if there is one. */
static bool
next_line(omb_fields *fields, bool *nonsense)
{
	char *start = agent.received.data + agent.used;
	int left = agent.received.len - agent.used;
	char *end = left > 0 ? memchr(start, '\n', left) : NULL;

	*nonsense = false;
	if (end == NULL)
	{
		*nonsense = left > OMB_LINE_MAX;
		return false;
	}
	agent.used = end + 1 - agent.received.data;
	*nonsense = !omb_fields_parse_line(start, end - start, fields);
	return !*nonsense;
}

/* Move what is left to the front and read more. */
static ssize_t
read_more(void)
{
	ssize_t n;

	if (agent.used > 0)
	{
		memmove(agent.received.data, agent.received.data + agent.used,
				agent.received.len - agent.used);
		agent.received.len -= agent.used;
		agent.used = 0;
	}
	enlargeStringInfo(&agent.received, 8192);
	n = read(agent.out, agent.received.data + agent.received.len, 8192);
	if (n > 0)
		agent.received.len += n;
	return n;
}

OmbAgentRead
omb_agent_receive(omb_fields *fields, long timeout_ms)
{
	bool waited = false;

	for (;;)
	{
		bool nonsense;
		ssize_t n;

		if (agent.pid == 0)
			return OMB_AGENT_DEAD;
		if (next_line(fields, &nonsense))
			return OMB_AGENT_LINE;
		if (nonsense)
		{
			reap(true);
			strlcpy(agent.death, "it sent a line that makes no sense",
					sizeof(agent.death));
			return OMB_AGENT_DEAD;
		}
		n = read_more();
		if (n > 0)
			continue;
		if (n == 0 ||
			(errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
		{
			/* its end: it is dying or has closed what it should not */
			reap(n != 0);
			return OMB_AGENT_DEAD;
		}
		if (waited)
			return OMB_AGENT_TIMEOUT;
		(void) wait_for(WL_SOCKET_READABLE, agent.out, timeout_ms);
		waited = true;
	}
}

const char *
omb_agent_text(const omb_fields *fields, const char *name)
{
	const char *value = omb_fields_get(fields, name);

	return value ? value : "";
}

uint64
omb_agent_u64(const omb_fields *fields, const char *name)
{
	uint64_t value;

	return omb_fields_get_u64(fields, name, &value) ? value : 0;
}

/* The SQLSTATE for the word that the agent uses. */
static int
sqlstate_of(const char *status)
{
	static const struct
	{
		const char *word;
		int sqlstate;
	} words[] = { { "damaged", ERRCODE_DATA_CORRUPTED },
				  { "exists", ERRCODE_DUPLICATE_FILE },
				  { "wrong_key", ERRCODE_CONFIG_FILE_ERROR },
				  { "no_space", ERRCODE_DISK_FULL },
				  { "unsupported", ERRCODE_FEATURE_NOT_SUPPORTED },
				  { "refused", ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE },
				  { "usage", ERRCODE_INVALID_PARAMETER_VALUE },
				  { "busy", ERRCODE_OBJECT_IN_USE },
				  { "not_found", ERRCODE_UNDEFINED_FILE } };
	int i;

	for (i = 0; i < (int) lengthof(words); i++)
	{
		if (strcmp(words[i].word, status) == 0)
			return words[i].sqlstate;
	}
	return ERRCODE_SYSTEM_ERROR;
}

void
omb_agent_report(const omb_fields *fields, int elevel, const char *prefix,
				 const char *detail)
{
	const char *own = omb_text_to_server(omb_agent_text(fields, "detail"));
	const char *hint = omb_text_to_server(omb_agent_text(fields, "hint"));

	if (own[0] != '\0' || detail == NULL)
		detail = own;
	ereport(elevel,
			(errcode(sqlstate_of(omb_agent_text(fields, "status"))),
			 errmsg("%s%s%s", prefix ? prefix : "", prefix ? ": " : "",
					omb_text_to_server(omb_agent_text(fields, "message"))),
			 detail[0] ? errdetail("%s", detail) : 0,
			 hint[0] ? errhint("%s", hint) : 0));
}

void
omb_agent_report_death(int elevel)
{
	ereport(elevel,
			(errcode(ERRCODE_SYSTEM_ERROR),
			 errmsg("backup agent ended unexpectedly: %s", agent.death),
			 errhint("See the server log for its messages.")));
}
