/*
 * drophook.c: noticing at once that the extension, or the database it is in, is
 * dropped. Its tables have triggers for all other changes; dropping fires none.
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"

#include "backend/schedule.h"
#include "backend/settings.h"

static object_access_hook_type previous_hook;

static bool
is_ours(Oid class, Oid object)
{
	char *name = NULL;
	bool ours;

	if (class == ExtensionRelationId)
		name = get_extension_name(object);
	else if (class == DatabaseRelationId)
		name = get_database_name(object);
	if (name == NULL)
		return false;
	ours = strcmp(name, class == ExtensionRelationId ? "omsupply_backup" :
													   omb_database) == 0;
	pfree(name);
	return ours;
}

/* What is read when the transaction has committed is that it is gone. */
static void
note_drop(ObjectAccessType access, Oid class, Oid object, int part, void *arg)
{
	if (previous_hook != NULL)
		previous_hook(access, class, object, part, arg);
	if (access == OAT_DROP && part == 0 && is_ours(class, object))
		omb_schedule_note_change();
}

void
omb_drop_hook(void)
{
	previous_hook = object_access_hook;
	object_access_hook = note_drop;
}
