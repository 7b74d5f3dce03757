/*
 * fileset.c: the table backup_file_set: what may be in it, and the way of its
 * rows to the agent.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/location.h"

#include "backend/agent.h"
#include "backend/fileset.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/text.h"

PG_FUNCTION_INFO_V1(omb_file_set_check);

/* ---- what may be in a row ---- */

static bool
is_plain(const char *text)
{
	const unsigned char *p;

	for (p = (const unsigned char *) text; *p; p++)
	{
		if (*p < 0x20 || *p == 0x7f)
			return false;
	}
	return true;
}

static void
check_name(const char *name)
{
	if (name[0] != '\0' &&
		strlen(omb_text_from_server(name)) < OMB_FILE_SET_NAME &&
		strchr(name, '/') == NULL && strchr(name, '=') == NULL &&
		is_plain(name) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid name of a file set: \"%s\"", name),
			 errdetail("It must have 1 to %d bytes and neither \"/\", \"=\" "
					   "nor control characters.",
					   OMB_FILE_SET_NAME - 1)));
}

/* As the system resolves it; as it is when it is not there. */
static char *
resolve(const char *path)
{
	char *real = realpath(path, NULL);
	char *copy = pstrdup(real ? real : path);

	free(real);
	return copy;
}

static bool
is_inside(const char *path, const char *directory)
{
	const char *outer = resolve(directory);

	return strcmp(outer, "/") == 0 ||
		   path_is_prefix_of_path(outer, resolve(path));
}

/* A set and a directory of ours must not lie in one another. */
static void
check_apart(const char *name, const char *path, const char *directory,
			const char *what)
{
	if (is_inside(path, directory))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("path \"%s\" of file set \"%s\" is inside the %s",
						path, name, what)));
	if (is_inside(directory, path))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("path \"%s\" of file set \"%s\" contains the %s", path,
						name, what),
				 errhint("Make sets of the directories beside it.")));
}

static void
check_path(const char *name, const char *path)
{
	char repository[MAXPGPATH];
	const char *reason = "";

	if (path[0] != '/' || !is_plain(path) ||
		strlen(omb_text_from_server(path)) >= OMB_FILE_SET_PATH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid path of file set \"%s\": \"%s\"", name, path),
				 errdetail("It must be absolute, shorter than %d bytes and "
						   "without control characters.",
						   OMB_FILE_SET_PATH)));
	check_apart(name, path, DataDir, "data directory");
	if (omb_repository[0] == '/')
		check_apart(name, path, omb_repository, "repository");
	else if (omb_location_check(omb_repository, repository, sizeof(repository),
								&reason) &&
			 repository[0] == '/')
		check_apart(name, path, repository, "repository");
}

/* Append the patterns of a set to where they are kept; checks them. */
static void
add_excludes(const char *name, ArrayType *array, OmbFileSet *set)
{
	size_t used = 0;
	Datum *values;
	bool *nulls;
	int count, i;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  &count);
	for (i = 0; i < count; i++)
	{
		const char *pattern =
			nulls[i] ? "" :
					   omb_text_from_server(TextDatumGetCString(values[i]));
		size_t size = strlen(pattern) + 1;

		if (pattern[0] == '\0' || pattern[0] == '/' || !is_plain(pattern) ||
			size > OMB_FILE_EXCLUDE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid pattern of file set \"%s\": \"%s\"", name,
							nulls[i] ? "" : TextDatumGetCString(values[i])),
					 errdetail("It must have 1 to %d bytes, no control "
							   "characters, and be relative to the path of "
							   "the set.",
							   OMB_FILE_EXCLUDE - 1),
					 errhint("\"*\" stands for anything but \"/\", \"**\" for "
							 "anything.")));
		if (i >= OMB_FILE_EXCLUDES || used + size > sizeof(set->exclude))
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many patterns for file set \"%s\"", name),
					 errdetail("A set has at most %d, of %d bytes together.",
							   OMB_FILE_EXCLUDES, OMB_FILE_EXCLUDE_BYTES)));
		memcpy(set->exclude + used, pattern, size);
		used += size;
	}
	set->exclude_count = count;
}

/* Is there room for one more enabled set beside the others? */
static void
check_count(Relation relation, const char *name)
{
	Oid types[1] = { TEXTOID };
	Datum values[1];
	bool isnull;

	values[0] = CStringGetTextDatum(name);
	if (SPI_execute_with_args(
			psprintf("SELECT pg_catalog.count(*) FROM %s WHERE is_enabled "
					 "AND name OPERATOR(pg_catalog.<>) $1",
					 quote_qualified_identifier(
						 get_namespace_name(RelationGetNamespace(relation)),
						 RelationGetRelationName(relation))),
			1, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count file sets");
	if (DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, 1, &isnull)) >=
		OMB_FILE_SETS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many file sets"),
				 errdetail("At most %d can be enabled.", OMB_FILE_SETS)));
}

Datum
omb_file_set_check(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc;
	HeapTuple row;
	char *name, *path, *enabled;
	Datum exclude;
	bool isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is for a trigger before the insert "
						"or update of a row",
						"backup_file_set_check")));
	row = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigtuple :
													   trigger->tg_newtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	/* NULL is left to NOT NULL */
	name = SPI_getvalue(row, desc, SPI_fnumber(desc, "name"));
	path = SPI_getvalue(row, desc, SPI_fnumber(desc, "path"));
	enabled = SPI_getvalue(row, desc, SPI_fnumber(desc, "is_enabled"));
	exclude = SPI_getbinval(row, desc, SPI_fnumber(desc, "exclude"), &isnull);
	if (name != NULL)
		check_name(name);
	if (name != NULL && path != NULL)
		check_path(name, path);
	if (name != NULL && !isnull)
		add_excludes(name, DatumGetArrayTypeP(exclude),
					 palloc0(sizeof(OmbFileSet)));
	if (name != NULL && enabled != NULL && enabled[0] == 't')
		check_count(trigger->tg_relation, name);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not disconnect from SPI");
	return PointerGetDatum(row);
}

/* ---- to shared memory ---- */

OmbFileSets *
omb_file_sets_read(const char *schema)
{
	OmbFileSets *sets = palloc0(sizeof(OmbFileSets));
	uint64 i;

	sets->known = true;
	if (SPI_execute(
			psprintf("SELECT name, path, exclude FROM %s.backup_file_set "
					 "WHERE is_enabled ORDER BY name",
					 schema),
			true, OMB_FILE_SETS) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_file_set");
	for (i = 0; i < SPI_processed; i++)
	{
		OmbFileSet *set = &sets->set[sets->count++];
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		char *name = SPI_getvalue(row, desc, 1);
		bool isnull;
		Datum exclude = SPI_getbinval(row, desc, 3, &isnull);

		strlcpy(set->name, omb_text_from_server(name), sizeof(set->name));
		strlcpy(set->path, omb_text_from_server(SPI_getvalue(row, desc, 2)),
				sizeof(set->path));
		add_excludes(name, DatumGetArrayTypeP(exclude), set);
	}
	return sets;
}

void
omb_file_sets_put(const OmbFileSets *sets)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->file_sets = *sets;
	LWLockRelease(omb_shared->lock);
}

OmbFileSets *
omb_file_sets_get(void)
{
	OmbFileSets *sets = palloc(sizeof(OmbFileSets));

	LWLockAcquire(omb_shared->lock, LW_SHARED);
	*sets = omb_shared->file_sets;
	LWLockRelease(omb_shared->lock);
	return sets;
}

/* ---- to the agent ---- */

void
omb_file_sets_announce(const OmbFileSets *sets)
{
	omb_agent_put_u64("file_sets", (uint64) sets->count);
}

void
omb_file_sets_send(const OmbFileSets *sets, void (*send)(void))
{
	int i, k;

	for (i = 0; i < sets->count; i++)
	{
		const OmbFileSet *set = &sets->set[i];
		const char *exclude = set->exclude;

		omb_agent_begin("file_set");
		omb_agent_put("name", set->name);
		omb_agent_put("path", set->path);
		for (k = 0; k < set->exclude_count; k++)
		{
			omb_agent_put("exclude", exclude);
			exclude += strlen(exclude) + 1;
		}
		send();
	}
}
