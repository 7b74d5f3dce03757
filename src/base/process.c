/*
 * process.c: other programs as children, and a child that is watched over.
 *
 * A child never outlives us unnoticed: the kernel sends it a signal when its
 * parent dies, in whatever way. What only Linux has is in this file.
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t) 1024 * 1024)
#define READ_SIZE 8192

extern char **environ;

/* ---- one program ---- */

static void
set_environment(const omb_process_config *config)
{
	const char *const *item;
	char **old;

	for (old = environ; config->without_pg && *old != NULL;)
	{
		char name[128];
		size_t len = strcspn(*old, "=");

		(void) snprintf(name, sizeof(name), "%.*s", (int) len, *old);
		if (strncmp(*old, "PG", 2) == 0 && len < sizeof(name) &&
			unsetenv(name) == 0)
			old = environ;
		else
			old++;
	}
	for (item = config->set; item != NULL && *item != NULL; item++)
	{
		const char *equals = strchr(*item, '=');
		char *name = omb_format("%.*s", (int) (equals - *item), *item);

		(void) setenv(name, equals + 1, 1);
		free(name);
	}
}

static void
take_descriptor(int from, int to)
{
	if (from < 0)
		from = open("/dev/null", to == STDIN_FILENO ? O_RDONLY : O_WRONLY);
	/* those that are marked to be closed lose the mark */
	if (from != to)
		(void) dup2(from, to);
	else
		(void) fcntl(to, F_SETFD, 0);
}

/* In the child: become the program, or tell why not. */
static void
become(const omb_process_config *config, pid_t parent, int report)
{
	union
	{
		const char *const *in;
		char *const *out;
	} argv;
	sigset_t none;
	int rc;

	(void) prctl(PR_SET_PDEATHSIG, config->death_signal);
	/* it may have died before that */
	if (getppid() != parent)
		_exit(1);
	(void) sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	(void) signal(SIGPIPE, SIG_DFL);
	set_environment(config);
	take_descriptor(config->in, STDIN_FILENO);
	take_descriptor(config->out, STDOUT_FILENO);
	take_descriptor(config->err, STDERR_FILENO);
	argv.in = config->argv;
	(void) execv(argv.out[0], argv.out);
	rc = errno;
	(void) !write(report, &rc, sizeof(rc));
	_exit(127);
}

omb_status
omb_process_start(const omb_process_config *config, pid_t *pid, omb_error *err)
{
	pid_t parent = getpid();
	int report[2];
	int rc = 0;

	if (pipe2(report, O_CLOEXEC) != 0)
		return omb_error_set_errno(err, errno, "could not create pipe");
	*pid = fork();
	if (*pid == 0)
		become(config, parent, report[1]);
	if (*pid < 0)
		(void) omb_error_set_errno(err, errno, "could not create process");
	(void) close(report[1]);
	if (*pid > 0 && read(report[0], &rc, sizeof(rc)) == sizeof(rc))
	{
		(void) waitpid(*pid, NULL, 0);
		(void) omb_error_set_errno(err, rc, "could not execute \"%s\"",
								   config->argv[0]);
	}
	(void) close(report[0]);
	return err->status;
}

static bool
describe_end(int status, char how[OMB_PROCESS_TEXT])
{
	how[0] = '\0';
	if (WIFSIGNALED(status))
		(void) snprintf(how, OMB_PROCESS_TEXT,
						"it was terminated by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		(void) snprintf(how, OMB_PROCESS_TEXT, "it exited with status %d",
						WEXITSTATUS(status));
	return how[0] == '\0';
}

bool
omb_process_wait(pid_t pid, char how[OMB_PROCESS_TEXT])
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
	{
		if (errno != EINTR)
		{
			(void) snprintf(how, OMB_PROCESS_TEXT, "it vanished");
			return false;
		}
	}
	return describe_end(status, how);
}

/* Read what is there; false at the end. What is too much is thrown away. */
static bool
take_output(int fd, omb_buf *out)
{
	char bytes[READ_SIZE];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n > 0 && out->len + (size_t) n <= OUTPUT_MAX)
		omb_buf_put(out, bytes, (size_t) n);
	return n > 0 || (n < 0 && errno == EINTR);
}

omb_status
omb_process_run(const omb_process_config *config, omb_buf *out,
				omb_buf *messages, bool *ok, omb_error *err)
{
	omb_process_config with_pipes = *config;
	char how[OMB_PROCESS_TEXT];
	struct pollfd fds[2];
	int pipes[2][2];
	pid_t pid;
	int i;

	*ok = false;
	if (pipe2(pipes[0], O_CLOEXEC) != 0)
		return omb_error_set_errno(err, errno, "could not create pipe");
	if (pipe2(pipes[1], O_CLOEXEC) != 0)
	{
		(void) omb_error_set_errno(err, errno, "could not create pipe");
		(void) close(pipes[0][0]);
		(void) close(pipes[0][1]);
		return err->status;
	}
	with_pipes.out = pipes[0][1];
	with_pipes.err = pipes[1][1];
	(void) omb_process_start(&with_pipes, &pid, err);
	for (i = 0; i < 2; i++)
	{
		(void) close(pipes[i][1]);
		fds[i].fd = pipes[i][0];
		fds[i].events = POLLIN;
		fds[i].revents = 0;
	}
	while (err->status == OMB_OK && (fds[0].fd >= 0 || fds[1].fd >= 0))
	{
		(void) poll(fds, 2, -1);
		for (i = 0; i < 2; i++)
		{
			if (fds[i].fd >= 0 && fds[i].revents != 0 &&
				!take_output(fds[i].fd, i == 0 ? out : messages))
				fds[i].fd = -1;
		}
	}
	(void) close(pipes[0][0]);
	(void) close(pipes[1][0]);
	if (err->status == OMB_OK)
		*ok = omb_process_wait(pid, how);
	return err->status;
}

/* ---- a child that is watched over ---- */

static int
exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int
omb_process_supervise(int (*work)(void *arg), void *arg)
{
	sigset_t wanted, old;
	pid_t child, ended;
	pid_t parent = getpid();
	int number;
	int status = 0;
	int told = 0;

	(void) prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void) sigemptyset(&wanted);
	(void) sigaddset(&wanted, SIGINT);
	(void) sigaddset(&wanted, SIGTERM);
	(void) sigaddset(&wanted, SIGHUP);
	(void) sigaddset(&wanted, SIGCHLD);
	(void) sigprocmask(SIG_BLOCK, &wanted, &old);
	(void) fflush(NULL);
	child = fork();
	if (child < 0)
		return 1;
	if (child == 0)
	{
		int rc;

		(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		/* a terminal sends its signal to all: the parent decides */
		(void) signal(SIGINT, SIG_IGN);
		(void) sigprocmask(SIG_SETMASK, &old, NULL);
		rc = work(arg);
		(void) fflush(NULL);
		_exit(rc);
	}
	for (;;)
	{
		const struct timespec second = { 1, 0 };

		ended = waitpid(child, &status, WNOHANG);
		if (ended == child || (ended < 0 && errno != EINTR))
			break;
		number = sigtimedwait(&wanted, NULL, &second);
		if (number > 0 && number != SIGCHLD && told == 0)
		{
			told = number;
			(void) kill(child, SIGKILL);
		}
	}
	return told != 0 ? 128 + told : exit_status(status);
}

void
omb_process_reap(unsigned int milliseconds)
{
	const struct timespec pause = { 0, 10 * 1000 * 1000 };
	unsigned int waited;

	for (waited = 0; waited <= milliseconds; waited += 10)
	{
		pid_t pid;

		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0 && errno == ECHILD)
			return;
		(void) nanosleep(&pause, NULL);
	}
}
