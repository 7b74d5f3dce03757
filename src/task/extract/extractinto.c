/*
 * extractinto.c: where an extracted database goes.
 *
 * A file gets its name when it is complete. A database is loaded in one
 * transaction, so that a failure leaves it as empty as it was.
 */
#include "task/extract/extractinto.h"

#include "base/file.h"
#include "base/process.h"
#include "task/extract/conninfo.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGES_MAX 400 /* bytes of a program's messages that are shown */
#define MESSAGES_FILE_MAX (16 * 1024 * 1024)
#define ARGUMENTS 16

void
omb_sql_literal(omb_buf *out, const char *text)
{
	omb_buf_printf(out, "%s'", strchr(text, '\\') ? " E" : "");
	for (; *text; text++)
	{
		if (*text == '\'' || *text == '\\')
			omb_buf_put(out, text, 1);
		omb_buf_put(out, text, 1);
	}
	omb_buf_put_u8(out, '\'');
}

void
omb_sql_identifier(omb_buf *out, const char *text)
{
	omb_buf_put_u8(out, '"');
	for (; *text; text++)
	{
		if (*text == '"')
			omb_buf_put(out, text, 1);
		omb_buf_put(out, text, 1);
	}
	omb_buf_put_u8(out, '"');
}

/* ---- the server to load into ---- */

/* Without its last line's end, and not too much of it. */
static void
trim(omb_buf *text)
{
	while (text->len > 0 && text->data[text->len - 1] == '\n')
		text->len--;
	if (text->len > MESSAGES_MAX)
		text->len = MESSAGES_MAX;
}

/* Execute SQL there; *ok is false when that failed, for which messages are. */
static omb_status
query(const omb_into *into, const char *connection, const char *sql,
	  omb_buf *out, omb_buf *messages, bool *ok, omb_error *err)
{
	char *program = omb_format("%s/psql", into->bindir);
	const char *argv[] = { program, "-XAtqw",	"-v", "ON_ERROR_STOP=1",
						   "-d",	connection, "-c", sql,
						   NULL };
	omb_process_config process;

	memset(&process, 0, sizeof(process));
	process.argv = argv;
	process.in = -1;
	process.death_signal = SIGTERM;
	omb_buf_clear(out);
	omb_buf_clear(messages);
	(void) omb_process_run(&process, out, messages, ok, err);
	trim(out);
	trim(messages);
	free(program);
	return err->status;
}

/* Is there no database of that name? False when that cannot be told. */
static omb_status
look_for_database(omb_into *into, const char *name, omb_error *err)
{
	char *connection = omb_conninfo_with(into->connection, "postgres");
	omb_buf sql = OMB_BUF_INIT;
	omb_buf out = OMB_BUF_INIT;
	omb_buf messages = OMB_BUF_INIT;
	bool ok = false;

	omb_buf_printf(&sql, "SELECT pg_catalog.count(*) FROM "
						 "pg_catalog.pg_database WHERE datname = ");
	omb_sql_literal(&sql, name);
	if (query(into, connection, omb_buf_text(&sql), &out, &messages, &ok,
			  err) == OMB_OK)
		into->absent = ok && strcmp(omb_buf_text(&out), "0") == 0;
	omb_buf_free(&messages);
	omb_buf_free(&out);
	omb_buf_free(&sql);
	free(connection);
	return err->status;
}

static omb_status
check_database(omb_into *into, omb_error *err)
{
	static const char sql[] =
		"SELECT pg_catalog.count(*) FROM pg_catalog.pg_class AS c "
		"JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
		"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') "
		"AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' "
		"AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d "
		"WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass "
		"AND d.objid = c.oid AND d.deptype = 'e')";
	omb_buf out = OMB_BUF_INIT;
	omb_buf messages = OMB_BUF_INIT;
	bool ok = false;

	if (omb_conninfo_database(into->connection, &into->database, err) !=
			OMB_OK ||
		query(into, into->connection, sql, &out, &messages, &ok, err) !=
			OMB_OK)
		;
	else if (ok && strcmp(omb_buf_text(&out), "0") != 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "database \"%s\" is not empty: it has %s tables, "
							 "views and sequences",
							 into->database, omb_buf_text(&out));
		omb_error_hint(err, "Name a database that does not exist yet: it "
							"will be created.");
	}
	else if (!ok && look_for_database(into, into->database, err) == OMB_OK &&
			 !into->absent)
		(void) omb_error_set(err, OMB_FAILED,
							 "could not connect to the database to load: %s",
							 omb_buf_text(&messages));
	omb_buf_free(&messages);
	omb_buf_free(&out);
	return err->status;
}

omb_status
omb_into_check(omb_into *into, omb_error *err)
{
	struct stat st;
	char *parent;

	if (into->file == NULL)
		return check_database(into, err);
	parent = omb_path_parent(into->file);
	if (lstat(into->file, &st) == 0)
		(void) omb_error_set(err, OMB_REFUSED, "file \"%s\" exists",
							 into->file);
	else if (access(parent, W_OK | X_OK) != 0)
		(void) omb_error_set_errno(
			err, errno, "could not write to directory \"%s\"", parent);
	free(parent);
	return err->status;
}

static omb_status
execute(const omb_into *into, const char *command, const char *like,
		omb_error *err)
{
	char *connection = omb_conninfo_with(into->connection, "postgres");
	omb_buf sql = OMB_BUF_INIT;
	omb_buf out = OMB_BUF_INIT;
	omb_buf messages = OMB_BUF_INIT;
	bool ok = false;

	omb_buf_printf(&sql, "%s DATABASE ", command);
	omb_sql_identifier(&sql, into->database);
	omb_buf_printf(&sql, "%s", like);
	if (query(into, connection, omb_buf_text(&sql), &out, &messages, &ok,
			  err) == OMB_OK &&
		!ok)
		(void) omb_error_set(err, OMB_FAILED, "%s", omb_buf_text(&messages));
	omb_buf_free(&messages);
	omb_buf_free(&out);
	omb_buf_free(&sql);
	free(connection);
	return err->status;
}

/* ---- programs ---- */

/* A file for what a program has to say. */
static int
open_messages(const omb_into *into, const char *name, omb_error *err)
{
	char *path = omb_format("%s/%s.messages", into->scratch, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   path);
	free(path);
	return fd;
}

static void
report(const omb_into *into, const char *name, const char *how, omb_error *err)
{
	char *path = omb_format("%s/%s.messages", into->scratch, name);
	omb_error ignored = OMB_ERROR_INIT;
	omb_buf messages = OMB_BUF_INIT;

	(void) omb_file_read(path, MESSAGES_FILE_MAX, &messages, &ignored);
	omb_error_clear(&ignored);
	trim(&messages);
	(void) omb_error_set(err, OMB_FAILED, "%s failed: %s", name, how);
	if (messages.len > 0)
		omb_error_detail(err, "%s", omb_buf_text(&messages));
	omb_buf_free(&messages);
	free(path);
}

static omb_status
start(const omb_into *into, const char *name, const char **argv,
	  const char *const *set, int in, int out, pid_t *pid, omb_error *err)
{
	char *program = omb_format("%s/%s", into->bindir, name);
	int messages = open_messages(into, name, err);
	omb_process_config process;

	memset(&process, 0, sizeof(process));
	argv[0] = program;
	process.argv = argv;
	process.set = set;
	process.without_pg = set != NULL;
	process.in = in;
	process.out = out;
	process.err = messages;
	process.death_signal = SIGTERM;
	if (err->status == OMB_OK)
		(void) omb_process_start(&process, pid, err);
	if (messages >= 0)
		(void) close(messages);
	free(program);
	return err->status;
}

static omb_status
start_dump(const omb_into *into, omb_private_server *server,
		   const char *database, const char *const *table,
		   const char *const *option, int out, pid_t *pid, omb_error *err)
{
	size_t count = 0;
	const char **argv;
	size_t n = 0;

	while (table[count] != NULL)
		count++;
	argv = omb_calloc(2 * count + ARGUMENTS, sizeof(*argv));
	n++;
	argv[n++] = "--format=custom";
	argv[n++] = "--no-password";
	argv[n++] = "--strict-names";
	if (into->no_owner)
	{
		argv[n++] = "--no-owner";
		argv[n++] = "--no-privileges";
		argv[n++] = "--no-tablespaces";
	}
	for (; *option != NULL; option++)
		argv[n++] = *option;
	for (; *table != NULL; table++)
	{
		argv[n++] = "--table";
		argv[n++] = *table;
	}
	(void) start(into, "pg_dump", argv,
				 omb_private_server_environment(server, database), -1, out,
				 pid, err);
	free(argv);
	return err->status;
}

/* ---- to a file ---- */

/*
 * A file without a name, which a kill leaves nothing of; where the file
 * system has none, one with a name that nothing else has.
 */
static int
open_nameless(const omb_into *into, char **name, omb_error *err)
{
	char *parent = omb_path_parent(into->file);
	int fd = open(parent, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	*name = NULL;
	if (fd < 0)
	{
		*name = omb_format("%s.XXXXXX", into->file);
		fd = mkostemp(*name, O_CLOEXEC);
	}
	if (fd < 0)
		(void) omb_error_set_errno(
			err, errno, "could not create a file in \"%s\"", parent);
	free(parent);
	return fd;
}

/* Give the complete file its name, unless something has it meanwhile. */
static omb_status
publish(omb_into *into, int fd, const char *name, omb_error *err)
{
	char *parent = omb_path_parent(into->file);
	char *path = name ? omb_strdup(name) : omb_format("/proc/self/fd/%d", fd);
	struct stat st;

	if (fsync(fd) != 0 || fstat(fd, &st) != 0 ||
		linkat(AT_FDCWD, path, AT_FDCWD, into->file, AT_SYMLINK_FOLLOW) != 0)
		(void) omb_error_set_errno(err, errno, "could not create file \"%s\"",
								   into->file);
	else
	{
		into->file_bytes = (uint64_t) st.st_size;
		(void) omb_directory_sync(parent, err);
	}
	free(path);
	free(parent);
	return err->status;
}

static omb_status
load_file(omb_into *into, omb_private_server *server, const char *database,
		  const char *const *table, omb_error *err)
{
	static const char *const options[] = { NULL };
	char how[OMB_PROCESS_TEXT];
	char *name;
	pid_t pid;
	int fd = open_nameless(into, &name, err);

	if (fd >= 0 && start_dump(into, server, database, table, options, fd, &pid,
							  err) == OMB_OK)
	{
		if (!omb_process_wait(pid, how))
			report(into, "pg_dump", how, err);
		else
			(void) publish(into, fd, name, err);
	}
	if (fd >= 0)
		(void) close(fd);
	if (name != NULL)
		(void) unlink(name);
	free(name);
	return err->status;
}

/* ---- to a database ---- */

static omb_status
load_database(const omb_into *into, omb_private_server *server,
			  const char *database, const char *const *table, omb_error *err)
{
	static const char *const options[] = { "--compress=0", NULL };
	const char *argv[10] = {
		NULL,		"--single-transaction", "--exit-on-error", "--no-password",
		"--dbname", into->connection
	};
	char how_dump[OMB_PROCESS_TEXT], how_load[OMB_PROCESS_TEXT];
	bool dumped = false;
	bool loaded = false;
	pid_t dump = 0, load = 0;
	int fds[2];

	if (into->no_owner)
	{
		argv[6] = "--no-owner";
		argv[7] = "--no-privileges";
		argv[8] = "--no-tablespaces";
	}
	if (pipe2(fds, O_CLOEXEC) != 0)
		return omb_error_set_errno(err, errno, "could not create pipe");
	if (start(into, "pg_restore", argv, NULL, fds[0], -1, &load, err) ==
		OMB_OK)
		(void) start_dump(into, server, database, table, options, fds[1],
						  &dump, err);
	else
		load = 0;
	(void) close(fds[0]);
	(void) close(fds[1]);
	if (err->status == OMB_OK)
		dumped = omb_process_wait(dump, how_dump);
	/* without the end of the dump nothing is committed */
	if (load > 0)
		loaded = omb_process_wait(load, how_load);
	if (err->status != OMB_OK || (dumped && loaded))
		return err->status;
	/* a dump that ends because nobody reads is not the cause */
	if (loaded || (!dumped && strstr(how_dump, "signal") == NULL))
		report(into, "pg_dump", how_dump, err);
	else
	{
		report(into, "pg_restore", how_load, err);
		if (!into->no_owner)
			omb_error_hint(err, "Where roles or tablespaces are missing, "
								"--no-owner leaves them out.");
	}
	return err->status;
}

omb_status
omb_into_load(omb_into *into, omb_private_server *server, const char *database,
			  const char *const *table, const char *like, omb_error *err)
{
	if (into->file != NULL)
		return load_file(into, server, database, table, err);
	if (into->absent && execute(into, "CREATE", like, err) != OMB_OK)
		return err->status;
	if (load_database(into, server, database, table, err) != OMB_OK &&
		into->absent)
	{
		omb_error ignored = OMB_ERROR_INIT;

		/* it is ours and empty */
		(void) execute(into, "DROP", "", &ignored);
		omb_error_clear(&ignored);
	}
	return err->status;
}
