/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Requests the parts of shared memory and their locks, and attaches to them.
 *
 * The postmaster creates the parts at its start, and again after a crash, since
 * then shared memory is a new one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "common/shmem.h"

static MrbShmem *parts = NULL;
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void request_parts(void);
static void attach_parts(void);

/*
 * Register a part; the first one installs the hooks.
 */
void
mrb_shmem_register(MrbShmem *part)
{
	if (parts == NULL)
	{
		prev_shmem_request_hook = shmem_request_hook;
		shmem_request_hook = request_parts;
		prev_shmem_startup_hook = shmem_startup_hook;
		shmem_startup_hook = attach_parts;
	}
	part->next = parts;
	parts = part;
}

/*
 * Hook: request shared memory and locks.
 */
static void
request_parts(void)
{
	if (prev_shmem_request_hook != NULL)
		prev_shmem_request_hook();
	for (MrbShmem *part = parts; part != NULL; part = part->next)
	{
		RequestAddinShmemSpace(part->size());
		RequestNamedLWLockTranche(part->name, 1);
	}
}

/*
 * Hook: create the parts, or attach to them.
 */
static void
attach_parts(void)
{
	if (prev_shmem_startup_hook != NULL)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (MrbShmem *part = parts; part != NULL; part = part->next)
		part->attach(&(GetNamedLWLockTranche(part->name))->lock);
	LWLockRelease(AddinShmemInitLock);
}
