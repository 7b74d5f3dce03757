/*
 * checks.c: is everything there that backups need?
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/guc.h"

#include "backend/checks.h"
#include "backend/settings.h"
#include "backend/shared.h"

void
omb_check_preloaded(void)
{
	if (omb_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("omsupply_backup is not loaded at server start"),
				 errhint("Add \"omsupply_backup\" to "
						 "\"shared_preload_libraries\" and restart the "
						 "server.")));
}

void
omb_check_repository(void)
{
	if (omb_repository[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is not set", "omsupply_backup.repository"),
				 errhint("Make a repository with \"omsupply_backup init\", "
						 "set \"omsupply_backup.repository\" and "
						 "\"omsupply_backup.key_file\", and reload the "
						 "server.")));
}

/* Does the server archive WAL, and with us? */
static void
check_archiving(void)
{
	const char *library = GetConfigOption("archive_library", false, false);
	const char *name = library ? strrchr(library, '/') : NULL;

	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot take a backup during recovery")));
	if (!XLogIsNeeded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"wal_level\" is too low for a backup"),
				 errhint("Set \"wal_level\" to \"replica\" and restart the "
						 "server.")));
	if (!XLogArchivingActive())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"archive_mode\" is off"),
				 errdetail("A backup is useless without the WAL written "
						   "while it is taken."),
				 errhint("Set \"archive_mode\" to \"on\" and restart the "
						 "server.")));
	name = name ? name + 1 : library;
	if (name == NULL || strcmp(name, "omsupply_backup") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"archive_library\" is not \"omsupply_backup\""),
				 errhint("Set \"archive_library\" to \"omsupply_backup\" "
						 "and reload the server.")));
}

void
omb_check_ready(void)
{
	omb_check_preloaded();
	check_archiving();
	omb_check_repository();
}

void
omb_check_label(const char *label)
{
	const char *p;

	if (strlen(label) >= OMB_LABEL_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("backup label is too long (at most %d bytes)",
							   OMB_LABEL_MAX - 1)));
	for (p = label; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("backup label must not contain control "
								   "characters")));
	}
}
