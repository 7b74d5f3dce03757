/*
 * quarantine.c: a restored server starts with omSupply's sync turned off.
 *
 * A restore leaves the file omsupply_backup.quarantine with the name of the
 * database. As long as it is there:
 *
 *   from the first instant on no application is let into that database (a hook
 *   of client authentication; psql is for whoever repairs);
 *   when recovery has ended a worker sets omSupply's key
 *   SETTINGS_SYNC_IS_DISABLED, and then the database is open.
 *
 * omSupply reads the key when it starts to sync, and keeps it in memory: set
 * later it would be of no use. Each start of the server does the same again,
 * until backup_release_quarantine() removes the file.
 */
#include "postgres.h"

/* its header need not be there; what uses it has the same size without */
#undef ENABLE_GSS

#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "libpq/auth.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/fields.h"

#include "backend/quarantine.h"
#include "backend/scheduler.h"
#include "backend/shared.h"
#include "backend/worker.h"

#define NOTE "omsupply_backup.quarantine"
#define NOTE_MAX 8192

/* After it could not be done. */
#define RETRY_MS (10 * 1000)
#define SLEEP_MS (5 * 60 * 1000)

PG_FUNCTION_INFO_V1(omb_backup_quarantine_state);
PG_FUNCTION_INFO_V1(omb_backup_quarantine_end);

static ClientAuthentication_hook_type previous_hook = NULL;

void
omb_quarantine_read(OmbQuarantine *quarantine)
{
	char text[NOTE_MAX + 1];
	omb_fields fields;
	const char *database;
	FILE *file = AllocateFile(NOTE, PG_BINARY_R);
	size_t len;

	memset(quarantine, 0, sizeof(*quarantine));
	if (file == NULL && errno == ENOENT)
		return;
	/* what cannot be read keeps applications out of all databases */
	quarantine->state = OMB_QUARANTINE_WAITS;
	if (file == NULL)
		return;
	len = fread(text, 1, NOTE_MAX, file);
	FreeFile(file);
	if (omb_fields_parse_text(text, len, &fields) &&
		(database = omb_fields_get(&fields, "database")) != NULL)
		strlcpy(quarantine->database, database, sizeof(quarantine->database));
	else
		ereport(WARNING, (errmsg("file \"%s\" makes no sense", NOTE),
						  errhint("No application is let in. Remove the file "
								  "and restart the server to do without "
								  "quarantine.")));
}

static void
keep_out(Port *port, int status)
{
	const OmbQuarantine *quarantine = &omb_shared->quarantine;
	bool waits;

	if (previous_hook)
		previous_hook(port, status);
	if (status != STATUS_OK)
		return;
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	waits = quarantine->state == OMB_QUARANTINE_WAITS &&
			(quarantine->database[0] == '\0' || port->database_name == NULL ||
			 strcmp(quarantine->database, port->database_name) == 0);
	LWLockRelease(omb_shared->lock);
	if (!waits || (port->application_name != NULL &&
				   strcmp(port->application_name, "psql") == 0))
		return;
	ereport(FATAL,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("database \"%s\" is being put into quarantine after a "
					"restore",
					port->database_name ? port->database_name : ""),
			 errhint("Try again in a moment. If this does not end, see the "
					 "server log.")));
}

void
omb_quarantine_hook(void)
{
	previous_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = keep_out;
}

static OmbQuarantine
get_quarantine(void)
{
	OmbQuarantine quarantine;

	memset(&quarantine, 0, sizeof(quarantine));
	if (omb_shared == NULL)
		return quarantine;
	LWLockAcquire(omb_shared->lock, LW_SHARED);
	quarantine = omb_shared->quarantine;
	LWLockRelease(omb_shared->lock);
	return quarantine;
}

static void
set_state(OmbQuarantineState state)
{
	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	omb_shared->quarantine.state = state;
	LWLockRelease(omb_shared->lock);
}

/* ---- the worker ---- */

/* Turn it off, unless it is, and log that; one statement. */
static const char turn_off[] =
	"WITH old AS MATERIALIZED (SELECT (SELECT k.value_bool "
	"FROM public.key_value_store AS k WHERE k.id::pg_catalog.text "
	"OPERATOR(pg_catalog.=) 'SETTINGS_SYNC_IS_DISABLED') AS value), "
	"change AS (INSERT INTO public.key_value_store AS k (id, value_bool) "
	"SELECT 'SETTINGS_SYNC_IS_DISABLED', true FROM old "
	"WHERE old.value IS NOT TRUE "
	"ON CONFLICT (id) DO UPDATE SET value_bool = true, value_string = NULL, "
	"value_int = NULL, value_bigint = NULL, value_float = NULL "
	"RETURNING 1) "
	"INSERT INTO %s.backup_realign_log (scenario, object, old_value, "
	"new_value, why) "
	"SELECT 'quarantine', 'key SETTINGS_SYNC_IS_DISABLED', "
	"old.value::pg_catalog.text, 'true', 'the server was restored' "
	"FROM old, change";

void
omb_quarantine_main(Datum arg)
{
	OmbQuarantine quarantine = get_quarantine();

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(quarantine.database, NULL, 0);
	omb_scheduler_prepare();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute(psprintf(turn_off, omb_scheduler_schema()), false, 0) !=
		SPI_OK_INSERT)
		elog(ERROR, "could not turn off the sync of omSupply");
	PopActiveSnapshot();
	(void) SPI_finish();
	/* durable before anybody is let in */
	SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	CommitTransactionCommand();
	set_state(OMB_QUARANTINE_ON);
	ereport(LOG, (errmsg("database \"%s\" is in quarantine after a restore: "
						 "the sync of omSupply is turned off",
						 quarantine.database),
				  errhint("Execute \"SELECT * FROM backup_realign_report()\" "
						  "there, and in the end \"SELECT "
						  "backup_release_quarantine()\".")));
}

/* ---- the launcher's part ---- */

static BackgroundWorkerHandle *worker = NULL;
static TimestampTz started_at = 0;

long
omb_quarantine_step(void)
{
	OmbQuarantine quarantine = get_quarantine();
	TimestampTz now = GetCurrentTimestamp();

	if (omb_look_at_worker(&worker) == OMB_WORKER_RUNS)
		return SLEEP_MS;
	if (quarantine.state != OMB_QUARANTINE_WAITS ||
		quarantine.database[0] == '\0')
		return SLEEP_MS;
	if (started_at != 0 && started_at <= now &&
		!TimestampDifferenceExceeds(started_at, now, RETRY_MS))
		return RETRY_MS;
	started_at = now;
	(void) omb_start_worker("omb_quarantine_main", "quarantine", 0, &worker);
	return RETRY_MS;
}

/* ---- SQL ---- */

Datum
omb_backup_quarantine_state(PG_FUNCTION_ARGS)
{
	static const char *const words[] = { "none", "waits", "on" };

	PG_RETURN_TEXT_P(cstring_to_text(words[get_quarantine().state]));
}

/* The file goes first: without it the next start is a normal one. */
Datum
omb_backup_quarantine_end(PG_FUNCTION_ARGS)
{
	struct stat st;

	if (omb_shared == NULL)
		PG_RETURN_VOID();
	if (stat(NOTE, &st) == 0)
		(void) durable_unlink(NOTE, ERROR);
	set_state(OMB_QUARANTINE_NONE);
	PG_RETURN_VOID();
}
