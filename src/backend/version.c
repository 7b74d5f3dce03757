/*
 * version.c: do library and SQL objects belong together?
 *
 * The library is replaced by a package and takes effect when the server is
 * restarted, the SQL objects by ALTER EXTENSION, in each database. In between
 * functions would be called with arguments that they do not know.
 */
#include "postgres.h"

#include <stdlib.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "backend/checks.h"

#define EXTENSION "omsupply_backup"

/* Is version "a.b" older than "c.d"? */
static bool
is_older(const char *version, const char *than)
{
	char *end_a, *end_b;
	long a = strtol(version, &end_a, 10);
	long b = strtol(than, &end_b, 10);

	if (a != b)
		return a < b;
	a = *end_a == '.' ? strtol(end_a + 1, NULL, 10) : 0;
	b = *end_b == '.' ? strtol(end_b + 1, NULL, 10) : 0;
	return a < b;
}

void
omb_check_sql_version(const char *version)
{
	if (strcmp(version, OMB_SQL_VERSION) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("library and SQL objects of omsupply_backup have "
					"different versions"),
			 errdetail("The library works with version %s, the extension in "
					   "this database has version %s.",
					   OMB_SQL_VERSION, version),
			 is_older(version, OMB_SQL_VERSION) ?
				 errhint("Execute \"ALTER EXTENSION omsupply_backup "
						 "UPDATE\" in this database.") :
				 errhint("Restart the server to load the new library.")));
}

/* Of the extension in this database; NULL when there is none. */
static char *
find_version(void)
{
	Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	char *version = NULL;

	ScanKeyInit(&key[0], Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(EXTENSION));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1,
							  key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, Anum_pg_extension_extversion,
								   RelationGetDescr(extensions), &isnull);

		if (!isnull)
			version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return version;
}

void
omb_check_version(void)
{
	char *version = find_version();

	/* functions that were made by hand are their maker's business */
	if (version != NULL)
		omb_check_sql_version(version);
}
