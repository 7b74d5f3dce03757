/*
 * extract.c: one database, or tables of it, out of the repository.
 *
 *   check     programs, target, repository
 *   restore   into scratch/data, tablespaces into scratch/spaces
 *   recover   a private server, with settings of its own (privateserver.c)
 *   dump      pg_dump to a file, or to pg_restore, which loads all or nothing
 */
#include "task/extract/extract.h"

#include "base/file.h"
#include "base/process.h"
#include "task/extract/extractinto.h"
#include "task/extract/needs.h"
#include "task/extract/privateserver.h"
#include "task/restore/recoveryconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct extract
{
	const omb_extract_config *config;
	omb_extract_result *result;
	omb_restore_config from;
	char *pgdata;
	char *spaces;
	omb_private_server *server;
	omb_into into;
} extract;

static void
show(const extract *e, const char *step)
{
	e->from.progress(step, 0, 0, e->from.arg);
}

static void
show_recovery(void *arg)
{
	show(arg, "recovering");
}

/* ---- checks ---- */

static omb_status
check_programs(const extract *e, omb_error *err)
{
	static const char *const names[] = { "postgres", "psql", "pg_dump",
										 "pg_restore" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		char *path = omb_format("%s/%s", e->config->bindir, names[i]);

		if (err->status == OMB_OK && access(path, X_OK) != 0)
		{
			(void) omb_error_set(err, OMB_USAGE, "program \"%s\" is not there",
								 path);
			omb_error_hint(err, "Name the directory of PostgreSQL's programs "
								"with --bindir.");
		}
		free(path);
	}
	return err->status;
}

/* The server must be of the version of the backup. */
static omb_status
check_version(const extract *e, omb_error *err)
{
	char *program = omb_format("%s/postgres", e->config->bindir);
	const char *argv[] = { program, "-V", NULL };
	uint32_t wanted = e->result->restored.info.pg_version / 10000;
	omb_process_config process;
	omb_buf out = OMB_BUF_INIT;
	omb_buf messages = OMB_BUF_INIT;
	unsigned int found = 0;
	bool ok;

	memset(&process, 0, sizeof(process));
	process.argv = argv;
	process.in = -1;
	if (omb_process_run(&process, &out, &messages, &ok, err) == OMB_OK &&
		(sscanf(omb_buf_text(&out), "postgres (PostgreSQL) %u", &found) != 1 ||
		 found != wanted))
	{
		(void) omb_error_set(err, OMB_USAGE,
							 "\"%s\" is PostgreSQL %u, the backup is of "
							 "PostgreSQL %u",
							 program, found, wanted);
		omb_error_hint(err, "Name the directory of the programs of that "
							"version with --bindir.");
	}
	omb_buf_free(&messages);
	omb_buf_free(&out);
	free(program);
	return err->status;
}

/* What can be told without copying anything. */
static omb_status
check_all(extract *e, omb_error *err)
{
	omb_restore_config dry = e->from;

	dry.dry_run = true;
	if (check_programs(e, err) == OMB_OK &&
		omb_into_check(&e->into, err) == OMB_OK &&
		omb_restore(&dry, &e->result->restored, err) == OMB_OK)
		(void) check_version(e, err);
	return err->status;
}

/* ---- recovery ---- */

/* The settings of the original are not for us; only those of recovery are. */
static omb_status
write_settings(const extract *e, omb_error *err)
{
	const omb_restore_result *restored = &e->result->restored;
	char *path = omb_format("%s/postgresql.auto.conf", e->pgdata);
	omb_recovery_settings settings;

	settings.program = e->from.program;
	settings.repository = e->from.location;
	settings.credentials = e->from.credentials;
	settings.key_file = e->from.key_file;
	settings.target_action = e->from.target_action;
	settings.target = &e->from.target;
	settings.timeline = restored->plan.timeline;
	settings.last_segment = e->from.target.kind == OMB_TARGET_END ?
								"" :
								restored->plan.last_segment;
	if (omb_file_replace(path, "", 0, 0600, err) == OMB_OK)
		(void) omb_recovery_settings_write(e->pgdata, &settings, err);
	free(path);
	return err->status;
}

static omb_status
recover(extract *e, omb_error *err)
{
	omb_private_server_config config;

	memset(&config, 0, sizeof(config));
	config.bindir = e->config->bindir;
	config.pgdata = e->pgdata;
	config.directory = e->config->scratch;
	config.user = e->config->superuser;
	/* those of other databases are empty (task/restore/databases.h) */
	config.ignore_invalid_pages = true;
	if (write_settings(e, err) == OMB_OK &&
		omb_private_server_start(&config, &e->server, err) == OMB_OK &&
		omb_private_server_await(e->server, show_recovery, e, err) == OMB_OK)
		(void) snprintf(e->result->last_transaction,
						sizeof(e->result->last_transaction), "%s",
						omb_private_server_last_transaction(e->server));
	return err->status;
}

/* ---- what there is ---- */

/* Ask for one row; "" when there is none. The line's end is cut off. */
static omb_status
ask(extract *e, const char *database, const char *sql, omb_buf *out,
	omb_error *err)
{
	omb_buf_clear(out);
	if (omb_private_server_query(e->server, database, sql, out, err) ==
			OMB_OK &&
		out->len > 0 && out->data[out->len - 1] == '\n')
		out->len--;
	return err->status;
}

/* The database is there, and all of its pages were. */
static omb_status
check_database(extract *e, omb_error *err)
{
	omb_buf sql = OMB_BUF_INIT;
	omb_buf oid = OMB_BUF_INIT;

	omb_buf_printf(&sql, "SELECT oid FROM pg_catalog.pg_database "
						 "WHERE datname = ");
	omb_sql_literal(&sql, e->config->database);
	if (ask(e, "template1", omb_buf_text(&sql), &oid, err) == OMB_OK)
	{
		if (oid.len == 0)
			(void) omb_error_set(
				err, OMB_USAGE,
				"database \"%s\" does not exist at the target "
				"of recovery",
				e->config->database);
		else if (!omb_private_server_is_whole(e->server, omb_buf_text(&oid)))
			(void) omb_error_set(err, OMB_DAMAGED,
								 "pages of database \"%s\" are missing in the "
								 "backup or in the WAL",
								 e->config->database);
	}
	omb_buf_free(&sql);
	omb_buf_free(&oid);
	return err->status;
}

/* "schema"."table" of SCHEMA.TABLE; a table alone is one of public. */
static char *
quote_table(const char *name)
{
	const char *dot = strchr(name, '.');
	char *schema = dot ? omb_format("%.*s", (int) (dot - name), name) :
						 omb_strdup("public");
	omb_buf out = OMB_BUF_INIT;

	omb_sql_identifier(&out, schema);
	omb_buf_put_u8(&out, '.');
	omb_sql_identifier(&out, dot ? dot + 1 : name);
	free(schema);
	return omb_buf_text(&out);
}

/* The tables as a query with one column t, quoted. */
static void
put_tables(const extract *e, omb_buf *sql)
{
	size_t i;

	omb_buf_printf(sql, "pg_catalog.unnest('{}'::pg_catalog.text[]");
	for (i = 0; i < e->config->table_count; i++)
	{
		char *quoted = quote_table(e->config->table[i]);

		omb_buf_printf(sql, " || ");
		omb_sql_literal(sql, quoted);
		omb_buf_printf(sql, "::pg_catalog.text");
		free(quoted);
	}
	omb_buf_printf(sql, ") AS t");
}

static omb_status
check_tables(extract *e, omb_error *err)
{
	omb_buf sql = OMB_BUF_INIT;
	omb_buf missing = OMB_BUF_INIT;

	if (e->config->table_count == 0)
		return OMB_OK;
	omb_buf_printf(&sql, "SELECT pg_catalog.string_agg(t, ', ') FROM ");
	put_tables(e, &sql);
	omb_buf_printf(&sql, " WHERE pg_catalog.to_regclass(t) IS NULL");
	if (ask(e, e->config->database, omb_buf_text(&sql), &missing, err) ==
			OMB_OK &&
		missing.len > 0)
		(void) omb_error_set(
			err, OMB_USAGE,
			"database \"%s\" has no table %s at the target of "
			"recovery",
			e->config->database, omb_buf_text(&missing));
	omb_buf_free(&sql);
	omb_buf_free(&missing);
	return err->status;
}

/*
 * The tables with their partitions, a line each: pg_dump takes only what is
 * named.
 */
static omb_status
find_tables(extract *e, omb_buf *out, omb_error *err)
{
	omb_buf sql = OMB_BUF_INIT;

	if (e->config->table_count == 0)
		return OMB_OK;
	omb_buf_printf(&sql, "WITH RECURSIVE tables AS (SELECT "
						 "pg_catalog.to_regclass(t)::pg_catalog.oid AS id "
						 "FROM ");
	put_tables(e, &sql);
	omb_buf_printf(
		&sql, " UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN "
			  "tables ON i.inhparent = tables.id) "
			  "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM "
			  "tables JOIN pg_catalog.pg_class AS c ON c.oid = tables.id "
			  "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace");
	(void) ask(e, e->config->database, omb_buf_text(&sql), out, err);
	omb_buf_free(&sql);
	return err->status;
}

/* How to make an empty database like that one, for omb_into_load(). */
static omb_status
describe_database(extract *e, omb_buf *statement, omb_error *err)
{
	omb_buf sql = OMB_BUF_INIT;

	omb_buf_printf(
		&sql,
		"SELECT pg_catalog.format(' TEMPLATE template0 ENCODING %%L "
		"LC_COLLATE %%L LC_CTYPE %%L', pg_catalog.pg_encoding_to_char("
		"d.encoding), d.datcollate, d.datctype) || CASE WHEN "
		"d.datlocprovider = 'i' THEN pg_catalog.format(' LOCALE_PROVIDER icu "
		"ICU_LOCALE %%L', coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', "
		"pg_catalog.to_jsonb(d) ->> 'daticulocale')) ELSE '' END "
		"FROM pg_catalog.pg_database AS d WHERE d.datname = ");
	omb_sql_literal(&sql, e->config->database);
	(void) ask(e, "template1", omb_buf_text(&sql), statement, err);
	omb_buf_free(&sql);
	return err->status;
}

/* What the dump needs of the server that it is loaded into. */
static omb_status
find_needs(extract *e, omb_error *err)
{
	omb_buf tables = OMB_BUF_INIT;
	omb_buf needs = OMB_BUF_INIT;

	omb_buf_printf(&tables,
				   "SELECT pg_catalog.to_regclass(t)::pg_catalog.oid FROM ");
	put_tables(e, &tables);
	if (omb_extract_needs(e->server, e->config->database,
						  e->config->table_count > 0 ? omb_buf_text(&tables) :
													   NULL,
						  e->config->no_owner, &needs, err) == OMB_OK)
		e->result->needs = omb_strdup(omb_buf_text(&needs));
	omb_buf_free(&needs);
	omb_buf_free(&tables);
	return err->status;
}

/* ---- dumping ---- */

static omb_status
dump(extract *e, omb_error *err)
{
	omb_buf like = OMB_BUF_INIT;
	omb_buf names = OMB_BUF_INIT;
	const char **table = omb_calloc(1, sizeof(*table));
	size_t count = 0;
	char *line, *next;

	show(e, e->into.file != NULL ? "writing the dump" : "loading");
	if (find_needs(e, err) == OMB_OK &&
		describe_database(e, &like, err) == OMB_OK &&
		find_tables(e, &names, err) == OMB_OK)
	{
		for (line = omb_buf_text(&names); *line != '\0'; line = next)
		{
			next = line + strcspn(line, "\n");
			if (*next == '\n')
				*next++ = '\0';
			table = omb_realloc(table, (count + 2) * sizeof(*table));
			table[count++] = line;
			table[count] = NULL;
		}
		(void) omb_into_load(&e->into, e->server, e->config->database, table,
							 omb_buf_text(&like), err);
	}
	free(table);
	omb_buf_free(&names);
	omb_buf_free(&like);
	e->result->file_bytes = e->into.file_bytes;
	return err->status;
}

omb_status
omb_extract(const omb_extract_config *config, omb_extract_result *result,
			omb_error *err)
{
	extract e;

	memset(result, 0, sizeof(*result));
	memset(&e, 0, sizeof(e));
	e.config = config;
	e.result = result;
	e.pgdata = omb_format("%s/data", config->scratch);
	e.spaces = omb_format("%s/spaces", config->scratch);
	e.from = config->from;
	e.from.pgdata = e.pgdata;
	e.from.space_dir = e.spaces;
	e.from.target_action = "promote";
	e.from.database = &config->database;
	e.from.database_count = 1;
	e.into.bindir = config->bindir;
	e.into.scratch = config->scratch;
	e.into.file = config->file;
	e.into.connection = config->connection;
	e.into.no_owner = config->no_owner;
	if (check_all(&e, err) == OMB_OK && !config->from.dry_run)
	{
		omb_backup_info_clear(&result->restored.info);
		if (omb_restore(&e.from, &result->restored, err) == OMB_OK &&
			recover(&e, err) == OMB_OK && check_database(&e, err) == OMB_OK &&
			check_tables(&e, err) == OMB_OK)
			(void) dump(&e, err);
	}
	show(&e, "cleaning up");
	omb_private_server_stop(e.server);
	result->into = e.into.database;
	result->created = e.into.absent;
	free(e.pgdata);
	free(e.spaces);
	return err->status;
}

void
omb_extract_result_clear(omb_extract_result *result)
{
	omb_backup_info_clear(&result->restored.info);
	free(result->needs);
	free(result->into);
	result->needs = result->into = NULL;
}
