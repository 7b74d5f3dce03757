/*
 * needs.c: what a dump needs of the server that it is loaded into.
 *
 * pg_dump says nothing of it, and pg_restore fails at the first thing that is
 * not there, which may be on another day.
 */
#include "task/extract/needs.h"

/* Names as one line, or no row; the query has a column "name", quoted where it must be. */
static void
put_line(omb_buf *sql, const char *what, const char *query)
{
	omb_buf_printf(sql,
				   "%sSELECT '%s: ' || pg_catalog.string_agg(DISTINCT name, "
				   "', ') AS line FROM (%s) "
				   "AS q HAVING pg_catalog.count(*) > 0",
				   sql->len > 0 ? " UNION ALL " : "", what, query);
}

static void
put_roles(omb_buf *sql, const char *tables)
{
	omb_buf query = OMB_BUF_INIT;

	omb_buf_printf(
		&query,
		"SELECT pg_catalog.quote_ident(r.rolname) AS name FROM pg_catalog.pg_shdepend AS d "
		"JOIN pg_catalog.pg_roles AS r ON r.oid = d.refobjid "
		"WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass "
		"AND d.dbid = (SELECT oid FROM pg_catalog.pg_database "
		"WHERE datname = pg_catalog.current_database())");
	if (tables != NULL)
		omb_buf_printf(&query,
					   " AND d.classid = "
					   "'pg_catalog.pg_class'::pg_catalog.regclass AND "
					   "d.objid IN (%s)",
					   tables);
	put_line(sql, "roles", omb_buf_text(&query));
	omb_buf_free(&query);
}

static void
put_tablespaces(omb_buf *sql, const char *tables)
{
	omb_buf query = OMB_BUF_INIT;

	omb_buf_printf(
		&query,
		"SELECT pg_catalog.quote_ident(t.spcname) AS name FROM pg_catalog.pg_class AS c "
		"JOIN pg_catalog.pg_tablespace AS t "
		"ON t.oid = c.reltablespace "
		"WHERE t.spcname <> 'pg_global'");
	if (tables != NULL)
		omb_buf_printf(&query, " AND c.oid IN (%s)", tables);
	put_line(sql, "tablespaces", omb_buf_text(&query));
	omb_buf_free(&query);
}

/* Of a table neither its types nor large objects are dumped. */
static void
put_for_tables(omb_buf *sql, const char *tables)
{
	omb_buf query = OMB_BUF_INIT;

	omb_buf_printf(
		&query,
		"SELECT pg_catalog.format_type(t.oid, NULL) AS name "
		"FROM pg_catalog.pg_attribute AS a "
		"JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid "
		"JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace "
		"WHERE a.attnum > 0 AND NOT a.attisdropped "
		"AND n.nspname <> 'pg_catalog' AND a.attrelid IN (%s)",
		tables);
	put_line(sql, "types", omb_buf_text(&query));
	omb_buf_clear(&query);
	omb_buf_printf(
		&query,
		"SELECT pg_catalog.quote_ident(n.nspname) AS name FROM pg_catalog.pg_class AS c "
		"JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
		"WHERE n.nspname <> 'public' AND c.oid IN (%s)",
		tables);
	put_line(sql, "schemas", omb_buf_text(&query));
	omb_buf_printf(sql, " UNION ALL SELECT 'large objects, which are not in a "
						"dump of tables' WHERE EXISTS (SELECT FROM "
						"pg_catalog.pg_largeobject_metadata)");
	omb_buf_free(&query);
}

omb_status
omb_extract_needs(omb_private_server *server, const char *database,
				  const char *tables, bool no_owner, omb_buf *out,
				  omb_error *err)
{
	omb_buf sql = OMB_BUF_INIT;

	if (!no_owner)
	{
		put_roles(&sql, tables);
		put_tablespaces(&sql, tables);
	}
	if (tables != NULL)
		put_for_tables(&sql, tables);
	else
		put_line(
			&sql, "extensions",
			"SELECT pg_catalog.quote_ident(extname) AS name FROM pg_catalog.pg_extension "
			"WHERE extname <> 'plpgsql'");
	(void) omb_private_server_query(server, database, omb_buf_text(&sql), out,
									err);
	omb_buf_free(&sql);
	return err->status;
}
