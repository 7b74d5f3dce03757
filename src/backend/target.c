/*
 * target.c: the table backup_target: what may be in it, and how it gets into
 * shared memory.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/location.h"
#include "base/window.h"

#include "backend/schedule.h"
#include "backend/settings.h"
#include "backend/shared.h"
#include "backend/target.h"
#include "backend/text.h"

#define TRANSFERS_MAX 16

PG_FUNCTION_INFO_V1(omb_target_row_check);
PG_FUNCTION_INFO_V1(omb_target_changed);

/* ---- what may be in a row ---- */

static bool
is_same_place(const char *a, const char *b)
{
	struct stat first, second;

	return strcmp(a, b) == 0 ||
		   (stat(a, &first) == 0 && stat(b, &second) == 0 &&
			first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

static void
check_directory(const char *url, const char *place)
{
	const char *problem = NULL;
	char *directory = pstrdup(place);
	char *repository = pstrdup(omb_repository);

	canonicalize_path(directory);
	canonicalize_path(repository);
	if (repository[0] != '\0' && is_same_place(directory, repository))
		problem = "It is the repository itself.";
	else if (repository[0] != '\0' &&
			 (path_is_prefix_of_path(directory, repository) ||
			  path_is_prefix_of_path(repository, directory)))
		problem = "The repository and it lie in one another.";
	else if (path_is_prefix_of_path(DataDir, directory))
		problem = "It is inside the data directory.";
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" cannot be a target", url),
						errdetail("%s", problem),
						errhint("Give a directory on another disk.")));
}

static void
check_url(const char *url)
{
	char directory[MAXPGPATH];
	const char *reason = "";

	/* not the text itself: somebody may have put a secret into it */
	if (!omb_location_check(url, directory, sizeof(directory), &reason))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid URL of a target"),
						errdetail("URL: %s.", reason)));
	if (directory[0] != '\0')
		check_directory(url, omb_text_from_server(directory));
}

static void
check_credentials(const char *path)
{
	char *place = pstrdup(path);

	if (path[0] != '/' || strlen(path) >= MAXPGPATH)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid file of credentials \"%s\"", path),
						errdetail("It must be an absolute path.")));
	canonicalize_path(place);
	if (path_is_prefix_of_path(DataDir, place))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("file of credentials \"%s\" is inside the data "
						"directory",
						path),
				 errdetail("It would be lost with the data, and be inside "
						   "the backups.")));
}

static void
check_window(const char *text)
{
	omb_window window;
	omb_window_error error;

	if (strlen(text) >= OMB_TARGET_WINDOW)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the window of a target is too long (at most %d "
						"bytes)",
						OMB_TARGET_WINDOW - 1)));
	if (!omb_window_parse(text, &window, &error))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid window \"%s\"", text),
			 errdetail("At position %d: %s.", error.position, error.reason),
			 errhint("Write times with limits, for example \"mon-fri "
					 "08:00-18:00 200kB; 22:00-06:00 5MB\".")));
}

static void
check_options(Datum options)
{
	Oid types[1] = { JSONBOID };
	uint64 i;

	if (SPI_execute_with_args(
			"SELECT key, value OPERATOR(pg_catalog.#>>) '{}' "
			"FROM pg_catalog.jsonb_each(CASE WHEN "
			"pg_catalog.jsonb_typeof($1) OPERATOR(pg_catalog.=) 'object' "
			"THEN $1 ELSE '{}' END)",
			1, types, &options, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the options of a target");
	for (i = 0; i < SPI_processed; i++)
	{
		char *name =
			SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		char *value =
			SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		char *end;
		long number;

		if (strcmp(name, "transfers") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a target has no option \"%s\"", name),
					 errhint("The only one is \"transfers\". Options of the "
							 "store, such as \"region\", are in the URL.")));
		number = value ? strtol(value, &end, 10) : 0;
		if (value == NULL || end == value || *end != '\0' || number < 1 ||
			number > TRANSFERS_MAX)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid value for option \"%s\": \"%s\"",
								   name, value ? value : "null"),
							errdetail("It must be a number from 1 to %d.",
									  TRANSFERS_MAX)));
	}
}

static char *
column(HeapTuple row, TupleDesc desc, const char *name)
{
	return SPI_getvalue(row, desc, SPI_fnumber(desc, name));
}

Datum
omb_target_row_check(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc;
	HeapTuple row;
	Datum options;
	char *value;
	bool isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is for a trigger before the insert "
						"or update of a row",
						"backup_target_row_check")));
	row = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigtuple :
													   trigger->tg_newtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if ((value = column(row, desc, "url")) != NULL)
		check_url(value);
	if ((value = column(row, desc, "credentials")) != NULL)
		check_credentials(value);
	if ((value = column(row, desc, "window")) != NULL)
		check_window(value);
	options = SPI_getbinval(row, desc, SPI_fnumber(desc, "options"), &isnull);
	if (!isnull)
		check_options(options);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not disconnect from SPI");
	return PointerGetDatum(row);
}

/* ---- a change takes effect ---- */

Datum
omb_target_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	char *table;
	uint64 count;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" is for a trigger after a "
							   "statement",
							   "backup_target_changed")));
	table = quote_qualified_identifier(
		get_namespace_name(RelationGetNamespace(trigger->tg_relation)),
		RelationGetRelationName(trigger->tg_relation));
	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute(psprintf("SELECT FROM %s WHERE is_enabled", table), false,
					0) != SPI_OK_SELECT)
		elog(ERROR, "could not read table %s", table);
	count = SPI_processed;
	(void) SPI_finish();
	if (count > OMB_TARGETS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d targets are enabled", OMB_TARGETS)));
	omb_schedule_note_change();
	return PointerGetDatum(NULL);
}

/* ---- into shared memory ---- */

static void
copy_column(char *to, size_t size, int row, int number)
{
	char *value =
		SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);

	omb_shared_text(to, size, value ? omb_text_from_server(value) : "");
}

static int64
number_column(int row, int number, int64 otherwise)
{
	char *value =
		SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);

	return value ? strtoll(value, NULL, 10) : otherwise;
}

/* The rules of a target are its own, or those of the repository. */
int
omb_target_read(const char *schema, OmbTargetConfig **configs)
{
	int count, i, k;

	StaticAssertStmt(OMB_TARGET_RULES == OMB_RULES, "rules of retention");

	if (SPI_execute(
			psprintf("SELECT t.name, t.url, t.credentials, t.\"window\", "
					 "t.upload_limit, t.options OPERATOR(pg_catalog.->>) "
					 "'transfers', r.keep_last, r.keep_days, r.keep_weeks, "
					 "r.keep_months, r.keep_years, r.keep_wal_days, r.minimum "
					 "FROM %s.backup_target AS t "
					 "LEFT JOIN LATERAL (SELECT * FROM %s.backup_retention "
					 "AS x WHERE x.store OPERATOR(pg_catalog.=) t.name "
					 "OR x.store OPERATOR(pg_catalog.=) 'local' "
					 "ORDER BY (x.store OPERATOR(pg_catalog.=) t.name) DESC "
					 "LIMIT 1) AS r ON true "
					 "WHERE t.is_enabled ORDER BY t.name LIMIT %d",
					 schema, schema, OMB_TARGETS),
			true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read table backup_target");
	count = (int) SPI_processed;
	*configs = palloc0((count + 1) * sizeof(OmbTargetConfig));
	for (i = 0; i < count; i++)
	{
		OmbTargetConfig *config = &(*configs)[i];

		copy_column(config->name, sizeof(config->name), i, 1);
		copy_column(config->url, sizeof(config->url), i, 2);
		copy_column(config->credentials, sizeof(config->credentials), i, 3);
		copy_column(config->window, sizeof(config->window), i, 4);
		config->upload_limit = number_column(i, 5, 0);
		config->transfers = (int32) number_column(i, 6, OMB_TARGET_TRANSFERS);
		for (k = 0; k < OMB_TARGET_RULES; k++)
			config->rules[k] = (int32) number_column(i, 7 + k, -1);
	}
	return count;
}

/* Does the agent have to begin anew? Limits can change while it works. */
static bool
is_other(const OmbTargetConfig *a, const OmbTargetConfig *b)
{
	return strcmp(a->url, b->url) != 0 ||
		   strcmp(a->credentials, b->credentials) != 0 ||
		   a->transfers != b->transfers ||
		   memcmp(a->rules, b->rules, sizeof(a->rules)) != 0;
}

static OmbTarget *
find_slot(const char *name)
{
	OmbTargetsShared *shared = &omb_shared->targets;
	OmbTarget *unused = NULL;
	int i;

	for (i = OMB_TARGETS - 1; i >= 0; i--)
	{
		OmbTarget *target = &shared->target[i];

		if (target->used && strcmp(target->config.name, name) == 0)
			return target;
		if (!target->used)
			unused = target;
	}
	return unused;
}

/* Begin with a target anew; its worker, if it has one, goes on with this. */
static void
begin_target(OmbTarget *target)
{
	OmbTargetsShared *shared = &omb_shared->targets;
	pid_t pid = target->pid;

	memset(target, 0, sizeof(*target));
	target->used = true;
	target->pid = pid;
	target->since = GetCurrentTimestamp();
	target->expires = shared->expires;
}

void
omb_target_apply(const OmbTargetConfig *configs, int count)
{
	OmbTargetsShared *shared = &omb_shared->targets;
	bool changed = false;
	int i, k;

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < OMB_TARGETS; i++)
	{
		OmbTarget *target = &shared->target[i];

		for (k = 0;
			 k < count && strcmp(target->config.name, configs[k].name) != 0;
			 k++)
			;
		if (target->used && k == count)
		{
			target->used = false;
			changed = true;
		}
	}
	for (k = 0; k < count; k++)
	{
		OmbTarget *target = find_slot(configs[k].name);
		bool is_new = !target->used;

		if (!is_new &&
			memcmp(&target->config, &configs[k], sizeof(configs[k])) == 0)
			continue;
		changed = true;
		if (is_new || strcmp(target->config.url, configs[k].url) != 0)
			begin_target(target);
		if (is_new || is_other(&target->config, &configs[k]))
			target->serial = ++shared->last_serial;
		target->config = configs[k];
	}
	LWLockRelease(omb_shared->lock);
	if (changed)
	{
		omb_target_wake();
		omb_wake(omb_shared->launcher_pid);
	}
}

void
omb_target_work(void)
{
	omb_shared->targets.work++;
}

void
omb_target_expire(void)
{
	omb_shared->targets.expires++;
}

void
omb_target_wake(void)
{
	int i;

	for (i = 0; i < OMB_TARGETS; i++)
		omb_wake(omb_shared->targets.target[i].pid);
}
