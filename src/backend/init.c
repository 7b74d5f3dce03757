/*
 * init.c: loading of the library.
 *
 * Preloaded it has shared memory and a launcher. Loaded by the archiver alone
 * it can archive and nothing else.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "backend/quarantine.h"
#include "backend/schedule.h"
#include "backend/settings.h"
#include "backend/shared.h"

PG_MODULE_MAGIC;

#if PG_VERSION_NUM < 160000
extern PGDLLEXPORT void _PG_init(void);
#endif

void
_PG_init(void)
{
	omb_settings_define();
	if (!process_shared_preload_libraries_in_progress)
		return;
	omb_shared_request();
	omb_quarantine_hook();
	omb_drop_hook();
	omb_launcher_register();
}
