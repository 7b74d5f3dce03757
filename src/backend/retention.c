/*
 * retention.c: the trigger of the table backup_retention.
 *
 * CREATE EXTENSION makes a row for the local repository, and a dump of the
 * database has it too, perhaps changed. Restoring the dump creates the
 * extension first, so a row that comes takes the old one's place.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(omb_backup_retention_replace);

/* Remove the row of that store, if there is one. */
static void
remove_row(Relation relation, Datum store)
{
	Oid types[1] = { TEXTOID };
	char *table = quote_qualified_identifier(
		get_namespace_name(RelationGetNamespace(relation)),
		RelationGetRelationName(relation));
	char *command = psprintf(
		"DELETE FROM %s WHERE store OPERATOR(pg_catalog.=) $1", table);

	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args(command, 1, types, &store, NULL, false, 0) !=
			SPI_OK_DELETE ||
		SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not remove the old row of table %s", table);
}

Datum
omb_backup_retention_replace(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Datum store;
	bool isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is for a trigger before the insert "
						"of a row",
						"backup_retention_replace")));
	store = SPI_getbinval(
		trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation),
		SPI_fnumber(RelationGetDescr(trigger->tg_relation), "store"), &isnull);
	if (!isnull)
		remove_row(trigger->tg_relation, store);
	return PointerGetDatum(trigger->tg_trigtuple);
}
