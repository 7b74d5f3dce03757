/*
 * databases.c: choosing databases of a backup by name.
 *
 * A backup copies pg_database while it changes, so rows of all ages are
 * taken: choosing too much does no harm.
 */
#include "task/restore/databases.h"

#include "pgfmt/heap.h"
#include "pgfmt/page.h"
#include "pgfmt/relfile.h"
#include "pgfmt/relmap.h"
#include "task/restore/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP_PATH "global/pg_filenode.map"
/* Some 100,000 databases. */
#define FILE_MAX (64 * 1024 * 1024)

typedef struct row
{
	uint32_t oid;
	char name[OMB_NAME_SIZE + 1];
} row;

typedef struct rows
{
	row *item;
	size_t count;
} rows;

/* The content of a file of the backup, found by walking over the entries. */
static omb_status
read_entry(omb_repository *repo, const char *backup, const char *path,
		   omb_buf *out, omb_error *err)
{
	omb_manifest *manifest;
	bool found = false;
	bool end = false;

	if (omb_manifest_open(repo, backup, &manifest, err) != OMB_OK)
		return err->status;
	while (!end && !found && err->status == OMB_OK)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) != OMB_OK || end)
			break;
		found = entry.root == OMB_ROOT_PGDATA &&
				entry.type == OMB_ENTRY_FILE && strcmp(entry.path, path) == 0;
		if (found && entry.size > FILE_MAX)
			(void) omb_error_set(err, OMB_UNSUPPORTED,
								 "file \"%s\" is too large", path);
		else if (found)
			(void) omb_place_read(repo, manifest, &entry, out, err);
		omb_entry_clear(&entry);
	}
	if (err->status == OMB_OK && !found)
		(void) omb_error_set(err, OMB_DAMAGED,
							 "backup \"%s\" does not have file \"%s\"", backup,
							 path);
	omb_manifest_close(manifest);
	return err->status;
}

static void
add_row(uint32_t oid, const char *name, void *arg)
{
	rows *all = arg;
	row *one;
	size_t i;

	for (i = 0; i < all->count; i++)
	{
		if (all->item[i].oid == oid && strcmp(all->item[i].name, name) == 0)
			return;
	}
	all->item = omb_realloc(all->item, (all->count + 1) * sizeof(row));
	one = &all->item[all->count++];
	one->oid = oid;
	(void) snprintf(one->name, sizeof(one->name), "%s", name);
}

static omb_status
read_rows(omb_repository *repo, const char *backup, rows *all, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	uint32_t relnumber = 0;
	char path[32];
	size_t at;

	if (read_entry(repo, backup, MAP_PATH, &content, err) == OMB_OK &&
		omb_relmap_find(content.data, content.len, OMB_DATABASE_RELATION,
						&relnumber, err) == OMB_OK)
	{
		omb_buf_clear(&content);
		(void) snprintf(path, sizeof(path), "global/%u", relnumber);
		(void) read_entry(repo, backup, path, &content, err);
	}
	for (at = 0; err->status == OMB_OK && at + OMB_PAGE_SIZE <= content.len;
		 at += OMB_PAGE_SIZE)
		omb_database_rows(content.data + at, add_row, all);
	omb_buf_free(&content);
	return err->status;
}

/* Choose all databases of that name; false when there is none. */
static bool
choose(const rows *all, const char *name, omb_databases *out)
{
	bool found = false;
	size_t i;

	for (i = 0; i < all->count; i++)
	{
		if (strcmp(all->item[i].name, name) != 0)
			continue;
		out->oid = omb_realloc(out->oid, (out->count + 1) * sizeof(*out->oid));
		out->oid[out->count++] = all->item[i].oid;
		found = true;
	}
	return found;
}

static omb_status
report_missing(const rows *all, const char *name, omb_error *err)
{
	omb_buf names = OMB_BUF_INIT;
	size_t i;

	for (i = 0; i < all->count; i++)
		omb_buf_printf(&names, "%s\"%s\"", i > 0 ? ", " : "",
					   all->item[i].name);
	(void) omb_error_set(err, OMB_USAGE,
						 "database \"%s\" is not in the backup", name);
	omb_error_detail(err, "The backup has %s.", omb_buf_text(&names));
	omb_buf_free(&names);
	return err->status;
}

omb_status
omb_databases_find(omb_repository *repo, const char *backup,
				   const char *const *name, size_t count, omb_databases *out,
				   omb_error *err)
{
	static const char *const always[] = { "template0", "template1",
										  "postgres" };
	rows all = { NULL, 0 };
	size_t i;

	memset(out, 0, sizeof(*out));
	if (read_rows(repo, backup, &all, err) == OMB_OK)
	{
		for (i = 0; i < count && err->status == OMB_OK; i++)
		{
			if (!choose(&all, name[i], out))
				(void) report_missing(&all, name[i], err);
		}
		for (i = 0; i < sizeof(always) / sizeof(always[0]); i++)
			(void) choose(&all, always[i], out);
	}
	free(all.item);
	return err->status;
}

void
omb_databases_clear(omb_databases *databases)
{
	free(databases->oid);
	memset(databases, 0, sizeof(*databases));
}

bool
omb_databases_leave_out(const omb_databases *databases, const omb_entry *entry)
{
	const char *slash = strrchr(entry->path, '/');
	uint32_t tablespace, database;
	char *directory;
	bool is_database;
	size_t i;

	if (databases->count == 0 || entry->root != OMB_ROOT_PGDATA ||
		entry->type != OMB_ENTRY_FILE || slash == NULL ||
		strcmp(slash, "/PG_VERSION") == 0 ||
		strcmp(slash, "/pg_filenode.map") == 0)
		return false;
	directory = omb_format("%.*s", (int) (slash - entry->path), entry->path);
	/* of "global" the database is 0 */
	is_database = omb_relfile_directory(directory, &tablespace, &database) &&
				  database != 0;
	free(directory);
	for (i = 0; i < databases->count && is_database; i++)
	{
		if (databases->oid[i] == database)
			return false;
	}
	return is_database;
}
