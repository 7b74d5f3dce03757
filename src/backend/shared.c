/*
 * shared.c: the shared memory of the extension.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"

#include "backend/shared.h"

#define NAME "omsupply_backup"

OmbShared *omb_shared = NULL;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static void
request(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(OmbShared)));
	RequestNamedLWLockTranche(NAME, 1);
}

static void
startup(void)
{
	bool found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	omb_shared = ShmemInitStruct(NAME, sizeof(OmbShared), &found);
	if (!found)
	{
		memset(omb_shared, 0, sizeof(OmbShared));
		omb_shared->lock = &GetNamedLWLockTranche(NAME)->lock;
		ConditionVariableInit(&omb_shared->changed);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
omb_shared_request(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

void
omb_shared_finish(uint64 serial, const OmbResult *result)
{
	OmbJob *job = &omb_shared->job;
	OmbResult *slot = &omb_shared->result[serial % OMB_RESULTS];

	LWLockAcquire(omb_shared->lock, LW_EXCLUSIVE);
	/* whoever comes second, worker or launcher, changes nothing */
	if (job->state != OMB_JOB_NONE && job->serial == serial)
	{
		*slot = *result;
		slot->serial = serial;
		slot->warning_count = job->warning_count;
		memcpy(slot->warning, job->warning, sizeof(slot->warning));
		strlcpy(slot->backup_id, job->backup_id, sizeof(slot->backup_id));
		job->state = OMB_JOB_NONE;
		job->pid = 0;
	}
	LWLockRelease(omb_shared->lock);
	ConditionVariableBroadcast(&omb_shared->changed);
}

void
omb_shared_fail(uint64 serial, int sqlstate, const char *message,
				const char *detail, const char *hint)
{
	OmbResult result;

	memset(&result, 0, sizeof(result));
	result.sqlstate = sqlstate;
	strlcpy(result.message, message, sizeof(result.message));
	strlcpy(result.detail, detail ? detail : "", sizeof(result.detail));
	strlcpy(result.hint, hint ? hint : "", sizeof(result.hint));
	omb_shared_finish(serial, &result);
}

void
omb_wake(pid_t pid)
{
	PGPROC *proc = pid ? BackendPidGetProc(pid) : NULL;

	if (proc != NULL)
		SetLatch(&proc->procLatch);
}
