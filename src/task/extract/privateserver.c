/*
 * privateserver.c: a server for ourselves on a restored directory.
 *
 * Nothing of it is meant to last, so it does not sync. The socket is in a
 * directory that only this user may enter; that is all the authentication.
 */
#include "task/extract/privateserver.h"

#include "base/file.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT "5432"
#define SOCKET "/.s.PGSQL." PORT
#define LOG_MAX ((size_t) 256 * 1024 * 1024)
#define PID_FILE_MAX 4096
#define STATUS_LINE 8 /* of postmaster.pid */
#define TICK_NANOSECONDS (50 * 1000 * 1000)
#define STOP_MS 30000
#define ENVIRONMENT 5

struct omb_private_server
{
	char *bindir;
	char *pgdata;
	char *sockets; /* directory */
	char *log;
	char *user;
	char *variable[ENVIRONMENT];
	char last_transaction[64];
	pid_t pid; /* 0 when it has ended */
};

/* 'text' for a configuration file. */
static void
put_quoted(omb_buf *out, const char *text)
{
	omb_buf_put_u8(out, '\'');
	for (; *text; text++)
	{
		if (*text == '\'' || *text == '\\')
			omb_buf_put(out, text, 1);
		omb_buf_put(out, text, 1);
	}
	omb_buf_put_u8(out, '\'');
}

static omb_status
write_settings(const omb_private_server *s,
			   const omb_private_server_config *config, omb_error *err)
{
	static const char fixed[] =
		"listen_addresses = ''\n"
		"port = " PORT "\n"
		"unix_socket_permissions = 0700\n"
		"max_connections = 20\n"
		/* whatever the original had: recovery needs as many */
		"max_prepared_transactions = 200\n"
		"max_locks_per_transaction = 512\n"
		"max_wal_senders = 0\n"
		"shared_buffers = 256MB\n"
		"huge_pages = off\n"
		"shared_preload_libraries = ''\n"
		"session_preload_libraries = ''\n"
		"local_preload_libraries = ''\n"
		"archive_mode = off\n"
		/* it opens at the target, not before */
		"hot_standby = off\n"
		"autovacuum = off\n"
		"fsync = off\n"
		"full_page_writes = off\n"
		"synchronous_commit = off\n"
		"restart_after_crash = off\n"
		"ssl = off\n"
		"jit = off\n"
		"logging_collector = off\n"
		"log_destination = 'stderr'\n"
		"log_line_prefix = ''\n"
		"log_timezone = 'UTC'\n"
		"timezone = 'UTC'\n"
		"lc_messages = 'C'\n";
	char *conf = omb_format("%s/postgresql.conf", config->directory);
	char *hba = omb_format("%s/pg_hba.conf", config->directory);
	char *ident = omb_format("%s/pg_ident.conf", config->directory);
	static const char rule[] = "local all all trust\n";
	omb_buf text = OMB_BUF_INIT;

	omb_buf_printf(&text, "%sunix_socket_directories = ", fixed);
	put_quoted(&text, s->sockets);
	omb_buf_printf(&text, "\nhba_file = ");
	put_quoted(&text, hba);
	omb_buf_printf(&text, "\nident_file = ");
	put_quoted(&text, ident);
	omb_buf_printf(&text, "\nignore_invalid_pages = %s\n",
				   config->ignore_invalid_pages ? "on" : "off");
	if (omb_file_replace(conf, text.data, text.len, 0600, err) == OMB_OK &&
		omb_file_replace(hba, rule, strlen(rule), 0600, err) == OMB_OK)
		(void) omb_file_replace(ident, "", 0, 0600, err);
	omb_buf_free(&text);
	free(ident);
	free(hba);
	free(conf);
	return err->status;
}

static omb_status
check_socket(const omb_private_server *s, omb_error *err)
{
	struct sockaddr_un address;

	if (strlen(s->sockets) + strlen(SOCKET) < sizeof(address.sun_path) &&
		strpbrk(s->sockets, ",\"") == NULL)
		return omb_directory_create(s->sockets, 0700, err);
	(void) omb_error_set(err, OMB_USAGE,
						 "the path \"%s\" is too long for a socket",
						 s->sockets);
	omb_error_hint(err, "Name a directory with a shorter path, without "
						"commas and quotes, with --scratch.");
	return err->status;
}

static omb_status
launch(omb_private_server *s, const omb_private_server_config *config,
	   omb_error *err)
{
	char *program = omb_format("%s/postgres", config->bindir);
	char *setting =
		omb_format("config_file=%s/postgresql.conf", config->directory);
	const char *argv[] = {
		program, "-D", config->pgdata, "-c", setting, NULL
	};
	omb_process_config process;
	int log = open(s->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	memset(&process, 0, sizeof(process));
	process.argv = argv;
	process.without_pg = true;
	process.in = -1;
	process.out = log;
	process.err = log;
	process.death_signal = SIGQUIT;
	if (log < 0)
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   s->log);
	else if (omb_process_start(&process, &s->pid, err) != OMB_OK)
		s->pid = 0;
	if (log >= 0)
		(void) close(log);
	free(setting);
	free(program);
	return err->status;
}

omb_status
omb_private_server_start(const omb_private_server_config *config,
						 omb_private_server **out, omb_error *err)
{
	omb_private_server *s = omb_calloc(1, sizeof(*s));

	s->bindir = omb_strdup(config->bindir);
	s->pgdata = omb_strdup(config->pgdata);
	s->sockets = omb_format("%s/s", config->directory);
	s->log = omb_format("%s/log", config->directory);
	s->user = config->user ? omb_strdup(config->user) : NULL;
	*out = s;
	if (check_socket(s, err) != OMB_OK ||
		write_settings(s, config, err) != OMB_OK ||
		launch(s, config, err) != OMB_OK)
	{
		omb_private_server_stop(s);
		*out = NULL;
	}
	return err->status;
}

/* ---- what it says ---- */

/* Visit the lines of its log. */
static void
read_log(const omb_private_server *s,
		 void (*line)(const char *text, void *arg), void *arg)
{
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf log = OMB_BUF_INIT;
	char *text, *end;

	(void) omb_file_read(s->log, LOG_MAX, &log, &ignored);
	omb_error_clear(&ignored);
	for (text = omb_buf_text(&log); *text; text = end)
	{
		end = strchr(text, '\n');
		if (end != NULL)
			*end++ = '\0';
		else
			end = text + strlen(text);
		line(text, arg);
	}
	omb_buf_free(&log);
}

/* The first line that says why it ended, and what follows that. */
static void
find_failure(const char *text, void *arg)
{
	omb_buf *out = arg;

	if (out->len == 0 && strncmp(text, "FATAL:  ", 8) != 0 &&
		strncmp(text, "PANIC:  ", 8) != 0)
		return;
	if (out->len > 0 && strncmp(text, "DETAIL:  ", 9) != 0 &&
		strncmp(text, "HINT:  ", 7) != 0)
		return;
	omb_buf_printf(out, "%s%s", out->len > 0 ? " " : "",
				   strchr(text, ':') + 3);
}

static omb_status
report_end(omb_private_server *s, const char *how, omb_error *err)
{
	omb_buf why = OMB_BUF_INIT;

	read_log(s, find_failure, &why);
	(void) omb_error_set(err, OMB_FAILED,
						 "the private server ended before it was open: %s",
						 why.len > 0 ? omb_buf_text(&why) : how);
	omb_buf_free(&why);
	return err->status;
}

static bool
is_open(const omb_private_server *s)
{
	char *path = omb_format("%s/postmaster.pid", s->pgdata);
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf content = OMB_BUF_INIT;
	char *line;
	bool open = false;
	int i;

	(void) omb_file_read(path, PID_FILE_MAX, &content, &ignored);
	omb_error_clear(&ignored);
	line = omb_buf_text(&content);
	for (i = 1; i < STATUS_LINE && line != NULL; i++)
	{
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (line != NULL)
		open = strncmp(line, "ready", 5) == 0;
	omb_buf_free(&content);
	free(path);
	return open;
}

/* ---- waiting and asking ---- */

static omb_status
run_psql(omb_private_server *s, const char *user, const char *database,
		 const char *sql, omb_buf *out, omb_buf *messages, bool *ok,
		 omb_error *err)
{
	char *program = omb_format("%s/psql", s->bindir);
	const char *argv[] = { program, "-XAtq", "-v", "ON_ERROR_STOP=1",
						   "-c",	sql,	 NULL };
	char *old = s->user;
	omb_process_config process;

	memset(&process, 0, sizeof(process));
	s->user = omb_strdup(user);
	process.argv = argv;
	process.set = omb_private_server_environment(s, database);
	process.without_pg = true;
	process.in = -1;
	process.death_signal = SIGTERM;
	(void) omb_process_run(&process, out, messages, ok, err);
	free(s->user);
	s->user = old;
	free(program);
	return err->status;
}

/* The superuser is mostly called as always, or as who runs the server. */
static omb_status
find_superuser(omb_private_server *s, omb_error *err)
{
	struct passwd *me = getpwuid(geteuid());
	const char *candidates[3];
	size_t i;

	candidates[0] = s->user ? s->user : "postgres";
	candidates[1] = s->user == NULL && me != NULL ? me->pw_name : NULL;
	candidates[2] = NULL;
	for (i = 0; candidates[i] != NULL && err->status == OMB_OK; i++)
	{
		omb_buf out = OMB_BUF_INIT;
		omb_buf messages = OMB_BUF_INIT;
		bool ok = false;

		if (run_psql(s, candidates[i], "template1",
					 "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname "
					 "= current_user",
					 &out, &messages, &ok, err) == OMB_OK &&
			ok && strcmp(omb_buf_text(&out), "t\n") == 0)
		{
			char *found = omb_strdup(candidates[i]);

			free(s->user);
			s->user = found;
			ok = true;
		}
		else
			ok = false;
		omb_buf_free(&out);
		omb_buf_free(&messages);
		if (ok)
			return OMB_OK;
	}
	if (err->status == OMB_OK)
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "\"%s\" is no superuser of the restored cluster",
							 candidates[0]);
		omb_error_hint(err, "Name one with --superuser.");
	}
	return err->status;
}

omb_status
omb_private_server_await(omb_private_server *s, void (*tick)(void *arg),
						 void *arg, omb_error *err)
{
	const struct timespec pause = { 0, TICK_NANOSECONDS };
	char how[OMB_PROCESS_TEXT];

	while (!is_open(s))
	{
		siginfo_t info;

		info.si_pid = 0;
		if (waitid(P_PID, (id_t) s->pid, &info, WEXITED | WNOHANG | WNOWAIT) !=
				0 ||
			info.si_pid != 0)
		{
			if (omb_process_wait(s->pid, how))
				(void) snprintf(how, sizeof(how), "it shut down");
			s->pid = 0;
			return report_end(s, how, err);
		}
		tick(arg);
		(void) nanosleep(&pause, NULL);
	}
	return find_superuser(s, err);
}

const char *const *
omb_private_server_environment(omb_private_server *s, const char *database)
{
	union
	{
		char **in;
		const char *const *out;
	} variables;
	size_t i;

	for (i = 0; i < ENVIRONMENT; i++)
		free(s->variable[i]);
	s->variable[0] = omb_format("PGHOST=%s", s->sockets);
	s->variable[1] = omb_strdup("PGPORT=" PORT);
	s->variable[2] = omb_format("PGUSER=%s", s->user);
	s->variable[3] = omb_format("PGDATABASE=%s", database);
	s->variable[4] = NULL;
	variables.in = s->variable;
	return variables.out;
}

omb_status
omb_private_server_query(omb_private_server *s, const char *database,
						 const char *sql, omb_buf *out, omb_error *err)
{
	omb_buf messages = OMB_BUF_INIT;
	bool ok = false;

	if (run_psql(s, s->user, database, sql, out, &messages, &ok, err) ==
			OMB_OK &&
		!ok)
		(void) omb_error_set(err, OMB_FAILED, "the private server says: %s",
							 omb_buf_text(&messages));
	omb_buf_free(&messages);
	return err->status;
}

/* ---- what the log tells of recovery ---- */

typedef struct page_search
{
	char *folder; /* of the database, "/<oid>/" */
	bool found;
} page_search;

static void
find_page(const char *text, void *arg)
{
	page_search *search = arg;

	if (strncmp(text, "WARNING:  page ", 15) == 0 &&
		(strstr(text, search->folder) != NULL ||
		 strstr(text, " global/") != NULL))
		search->found = true;
}

bool
omb_private_server_is_whole(omb_private_server *s, const char *oid)
{
	page_search search;

	search.folder = omb_format("/%s/", oid);
	search.found = false;
	read_log(s, find_page, &search);
	free(search.folder);
	return !search.found;
}

static void
find_transaction(const char *text, void *arg)
{
	static const char words[] =
		"LOG:  last completed transaction was at log time ";

	if (strncmp(text, words, strlen(words)) == 0)
		(void) snprintf(arg, 64, "%s", text + strlen(words));
}

const char *
omb_private_server_last_transaction(omb_private_server *s)
{
	read_log(s, find_transaction, s->last_transaction);
	return s->last_transaction;
}

/* ---- the end ---- */

void
omb_private_server_stop(omb_private_server *s)
{
	const struct timespec pause = { 0, 10 * 1000 * 1000 };
	int waited;
	size_t i;

	if (s == NULL)
		return;
	if (s->pid != 0)
		(void) kill(s->pid, SIGQUIT);
	for (waited = 0; s->pid != 0 && waitpid(s->pid, NULL, WNOHANG) == 0;
		 waited += 10)
	{
		if (waited == STOP_MS)
			(void) kill(s->pid, SIGKILL);
		(void) nanosleep(&pause, NULL);
	}
	for (i = 0; i < ENVIRONMENT; i++)
		free(s->variable[i]);
	free(s->user);
	free(s->log);
	free(s->sockets);
	free(s->pgdata);
	free(s->bindir);
	free(s);
}
