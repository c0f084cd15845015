/*-------------------------------------------------------------------------
 *
 * registry.c
 *	  Shared memory: the dispatchers of all databases and their counters.
 *
 * Locking: "lock" protects every field of the registry and of the slots, except
 * these.  Counters, the times of the last pass and verified_at are atomics; only
 * the slot's dispatcher writes them.  Counters only grow: to reset them is to
 * note what they are, which any process may do.  procno of a
 * slot and of the launcher are single words that are read without the lock to
 * set a latch: at worst this sets the latch of a process that has just taken the
 * place of another one, which is harmless.  "skipped" is the slot's dispatcher's
 * own.  The condition variable has its own lock.  A released slot can be taken
 * by another database, so a process that kept a pointer to a slot checks its
 * database again.
 *
 * At most max_databases slots are admitted, which means that their database
 * may have a dispatcher.  One slot more is for a database that the launcher has
 * not probed yet: it may turn out to have no extension.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/registry.h"
#include "common/shmem.h"
#include "common/timer.h"

/*
 * A dispatcher makes a pass every second, also while it reads a large backlog at
 * its start; without one for this long it is stalled.
 */
#define STALLED_MS 10000

typedef struct Registry
{
	LWLock	   *lock;
	int			launcher_pid;	/* 0: no launcher */
	int			launcher_procno;	/* of its latch; -1: none */
	pg_atomic_uint64 launcher_ms;	/* its last turn, monotonic clock */
	bool		request_missed; /* a request found no slot */
	int			nslots;			/* max_databases and one to probe with */
	MrbRegistrySlot slots[FLEXIBLE_ARRAY_MEMBER];
} Registry;

static Registry *registry = NULL;

static Size registry_size(void);
static void attach_registry(LWLock *lock);
static void create_slot(MrbRegistrySlot *slot);
static MrbRegistrySlot *find_slot(Oid database);
static MrbRegistrySlot *take_free_slot(Oid database);
static MrbRegistrySlot *find_free_slot(Oid database);
static bool admit(MrbRegistrySlot *slot);
static bool may_admit(void);
static int	count_admitted(void);
static void reset_slot(MrbRegistrySlot *slot);
static void reset_counters(MrbRegistrySlot *slot);
static void set_latch_of(int procno);
static bool is_overdue(pg_atomic_uint64 *ms);

static MrbShmem memory = {
	.name = MRB_EXTENSION,
	.size = registry_size,
	.attach = attach_registry,
};

/*
 * Request shared memory, while the server preloads libraries.
 */
void
mrb_registry_install(void)
{
	mrb_shmem_register(&memory);
}

/*
 * Whether the library was preloaded, so that there can be dispatchers.
 */
bool
mrb_registry_available(void)
{
	return registry != NULL;
}

/*
 * Return the slot of a database; NULL when it has none.
 */
MrbRegistrySlot *
mrb_registry_slot(Oid database)
{
	MrbRegistrySlot *slot;

	if (registry == NULL)
		return NULL;
	LWLockAcquire(registry->lock, LW_SHARED);
	slot = find_slot(database);
	LWLockRelease(registry->lock);
	return slot;
}

/*
 * Find or take the slot of a database, for which a worker is started now: that
 * answers a request, and a later one starts another worker.  A database that
 * has the extension gets no slot while max_databases others are admitted, and
 * gives back the one that it was probed with.
 */
MrbRegistrySlot *
mrb_registry_reserve(Oid database, bool probe)
{
	MrbRegistrySlot *slot;

	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	slot = find_slot(database);
	if (!probe && (slot == NULL || !slot->admitted) && !may_admit())
	{
		if (slot != NULL && slot->pid == 0)
			slot->database = InvalidOid;
		slot = NULL;
	}
	else if (slot == NULL)
		slot = take_free_slot(database);
	if (slot != NULL)
		slot->requested = false;
	LWLockRelease(registry->lock);
	return slot;
}

/*
 * Free the slots without a process of databases that the caller does not know.
 */
void
mrb_registry_retain(bool (*is_known) (Oid database))
{
	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	for (int i = 0; i < registry->nslots; i++)
	{
		MrbRegistrySlot *slot = &registry->slots[i];

		if (OidIsValid(slot->database) && slot->pid == 0 &&
			!is_known(slot->database))
			slot->database = InvalidOid;
	}
	LWLockRelease(registry->lock);
}

/*
 * Free a database's slot, unless it has a process or a request for one.
 */
void
mrb_registry_release(Oid database)
{
	MrbRegistrySlot *slot;

	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	slot = find_slot(database);
	if (slot != NULL && slot->pid == 0 && !slot->requested)
		slot->database = InvalidOid;
	LWLockRelease(registry->lock);
}

/*
 * Request a dispatcher, when CREATE EXTENSION has committed.  When all slots
 * are taken, the launcher probes the databases without one again.
 */
void
mrb_registry_request_dispatcher(Oid database)
{
	MrbRegistrySlot *slot;

	if (registry == NULL)
		return;
	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	slot = find_slot(database);
	if (slot == NULL && may_admit())
		slot = take_free_slot(database);
	if (slot == NULL)
		registry->request_missed = true;
	else if (!slot->requested)
	{
		slot->requested = true;
		if (slot->pid == 0)
			pg_atomic_write_u64(&slot->last_pass_ms, mrb_timer_read() / 1000);
	}
	LWLockRelease(registry->lock);
	set_latch_of(registry->launcher_procno);
}

/*
 * Whether a request found no slot since the last call.
 */
bool
mrb_registry_request_missed(void)
{
	bool		missed;

	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	missed = registry->request_missed;
	registry->request_missed = false;
	LWLockRelease(registry->lock);
	return missed;
}

/*
 * Become the one dispatcher of the slot; false when there is one already, or
 * when max_databases others have one.  The latch of the launcher is set because
 * it may have another database to probe.
 */
bool
mrb_registry_claim(MrbRegistrySlot *slot)
{
	bool		mine;

	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	mine = slot->pid == 0 && slot->database == MyDatabaseId && admit(slot);
	if (mine)
	{
		slot->pid = MyProcPid;
		slot->procno = MRB_PROC_NUMBER(MyProc);
		slot->since = GetCurrentTimestamp();
		/* The first pass is still to come. */
		pg_atomic_write_u64(&slot->last_pass_ms, mrb_timer_read() / 1000);
		slot->state = MRB_DISPATCHER_STARTING;
		slot->requested = false;
	}
	LWLockRelease(registry->lock);
	if (mine)
		set_latch_of(registry->launcher_procno);
	return mine;
}

/*
 * Set the state of a slot.
 */
void
mrb_registry_set_state(MrbRegistrySlot *slot, MrbDispatcherState state)
{
	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	slot->state = state;
	LWLockRelease(registry->lock);
}

/*
 * Give the slot back when the process ends, and set the launcher's latch.
 */
void
mrb_registry_leave(MrbRegistrySlot *slot, MrbDispatcherState state)
{
	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	slot->pid = 0;
	slot->procno = -1;
	slot->state = state;
	LWLockRelease(registry->lock);
	ConditionVariableBroadcast(&slot->acknowledged);
	set_latch_of(registry->launcher_procno);
}

/*
 * Wake the slot's dispatcher, if there is one.
 */
void
mrb_registry_wake(MrbRegistrySlot *slot)
{
	set_latch_of(slot->procno);
}

/*
 * Record a pass of the dispatcher, and clear its error.
 */
void
mrb_registry_passed(MrbRegistrySlot *slot)
{
	pg_atomic_write_u64(&slot->last_pass_at, GetCurrentTimestamp());
	pg_atomic_write_u64(&slot->last_pass_ms, mrb_timer_read() / 1000);

	/* Reads without the lock: only the slot's dispatcher writes it now. */
	if (slot->error_at == 0)
		return;
	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	slot->error_at = 0;
	slot->error[0] = '\0';
	LWLockRelease(registry->lock);
}

/*
 * Record an error, cut to the length that fits.
 */
void
mrb_registry_failed(MrbRegistrySlot *slot, const char *error)
{
	int			len = pg_mbcliplen(error, strlen(error), MRB_SLOT_ERROR - 1);
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	slot->error_at = now;
	memcpy(slot->error, error, len);
	slot->error[len] = '\0';
	LWLockRelease(registry->lock);
}

/*
 * Whether the last pass is too long ago.
 */
bool
mrb_registry_stalled(MrbRegistrySlot *slot)
{
	return is_overdue(&slot->last_pass_ms);
}

/*
 * Count the databases that may have a dispatcher.
 */
int
mrb_registry_admitted(void)
{
	int			admitted;

	if (registry == NULL)
		return 0;
	LWLockAcquire(registry->lock, LW_SHARED);
	admitted = count_admitted();
	LWLockRelease(registry->lock);
	return admitted;
}

/*
 * Copy the error of a slot, and return its time; 0: none.
 */
TimestampTz
mrb_registry_error(MrbRegistrySlot *slot, char error[MRB_SLOT_ERROR])
{
	TimestampTz at;

	LWLockAcquire(registry->lock, LW_SHARED);
	at = slot->error_at;
	memcpy(error, slot->error, MRB_SLOT_ERROR);
	LWLockRelease(registry->lock);
	return at;
}

/*
 * Register this process as the launcher.
 */
void
mrb_registry_launcher_register(void)
{
	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	registry->launcher_pid = MyProcPid;
	registry->launcher_procno = MRB_PROC_NUMBER(MyProc);
	mrb_registry_launcher_heartbeat();
	LWLockRelease(registry->lock);
}

/*
 * Unregister the launcher, if it is this process.
 */
void
mrb_registry_launcher_unregister(void)
{
	LWLockAcquire(registry->lock, LW_EXCLUSIVE);
	if (registry->launcher_pid == MyProcPid)
	{
		registry->launcher_pid = 0;
		registry->launcher_procno = -1;
	}
	LWLockRelease(registry->lock);
}

/*
 * Record the heartbeat of the launcher.
 */
void
mrb_registry_launcher_heartbeat(void)
{
	pg_atomic_write_u64(&registry->launcher_ms, mrb_timer_read() / 1000);
}

/*
 * Return the process id of the launcher; 0 when none runs.
 */
int
mrb_registry_launcher_pid(void)
{
	return registry != NULL ? registry->launcher_pid : 0;
}

/*
 * Whether the launcher runs and its heartbeat is recent.
 */
bool
mrb_registry_launcher_is_alive(void)
{
	return mrb_registry_launcher_pid() != 0 &&
		!is_overdue(&registry->launcher_ms);
}

/*
 * Create the registry, or attach to it.
 */
static void
attach_registry(LWLock *lock)
{
	bool		found;

	registry = ShmemInitStruct(MRB_EXTENSION, registry_size(), &found);
	if (found)
		return;
	registry->lock = lock;
	registry->launcher_pid = 0;
	registry->launcher_procno = -1;
	pg_atomic_init_u64(&registry->launcher_ms, 0);
	registry->request_missed = false;
	registry->nslots = mrb_max_databases + 1;
	for (int i = 0; i < registry->nslots; i++)
		create_slot(&registry->slots[i]);
}

/*
 * Create a slot.
 */
static void
create_slot(MrbRegistrySlot *slot)
{
	slot->database = slot->counted = InvalidOid;
	for (int c = 0; c < MRB_NUM_COUNTERS; c++)
	{
		pg_atomic_init_u64(&slot->counters[c], 0);
		pg_atomic_init_u64(&slot->reset[c], 0);
	}
	pg_atomic_init_u64(&slot->verified_at, 0);
	pg_atomic_init_u64(&slot->last_pass_at, 0);
	pg_atomic_init_u64(&slot->last_pass_ms, 0);
	ConditionVariableInit(&slot->acknowledged);
	reset_slot(slot);
}

/*
 * Return the size of the registry in bytes.
 */
static Size
registry_size(void)
{
	return add_size(offsetof(Registry, slots),
					mul_size(sizeof(MrbRegistrySlot), mrb_max_databases + 1));
}

/*
 * Find the slot of a database; NULL when it has none.  The caller holds the lock.
 */
static MrbRegistrySlot *
find_slot(Oid database)
{
	for (int i = 0; i < registry->nslots; i++)
		if (registry->slots[i].database == database)
			return &registry->slots[i];
	return NULL;
}

/*
 * Take a free slot; NULL when there is none.  The caller holds the lock.
 */
static MrbRegistrySlot *
take_free_slot(Oid database)
{
	MrbRegistrySlot *slot = find_free_slot(database);

	if (slot == NULL)
		return NULL;
	reset_slot(slot);
	if (slot->counted != database)
		reset_counters(slot);
	slot->database = slot->counted = database;
	return slot;
}

/*
 * Find a free slot, best the one that the database had before: its counters go on
 * when the extension is dropped and created again.  One that never had a dispatcher
 * comes next, so that other databases keep their counters as long as there is room.
 */
static MrbRegistrySlot *
find_free_slot(Oid database)
{
	MrbRegistrySlot *found = NULL;

	for (int i = 0; i < registry->nslots; i++)
	{
		MrbRegistrySlot *slot = &registry->slots[i];

		if (OidIsValid(slot->database))
			continue;
		if (slot->counted == database)
			return slot;
		if (found == NULL || (found->since != 0 && slot->since == 0))
			found = slot;
	}
	return found;
}

/*
 * Let the slot's database have a dispatcher, if max_databases allows.  The
 * caller holds the lock.
 */
static bool
admit(MrbRegistrySlot *slot)
{
	slot->admitted = slot->admitted || may_admit();
	return slot->admitted;
}

/*
 * Whether one more database may have a dispatcher.  The caller holds the lock.
 */
static bool
may_admit(void)
{
	return count_admitted() < registry->nslots - 1;
}

/*
 * Count the admitted slots.  The caller holds the lock.
 */
static int
count_admitted(void)
{
	int			admitted = 0;

	for (int i = 0; i < registry->nslots; i++)
		if (OidIsValid(registry->slots[i].database) &&
			registry->slots[i].admitted)
			admitted++;
	return admitted;
}

/*
 * Reset a slot for its next database.
 */
static void
reset_slot(MrbRegistrySlot *slot)
{
	slot->requested = false;
	slot->admitted = false;
	slot->state = MRB_DISPATCHER_NONE;
	slot->pid = 0;
	slot->procno = -1;
	slot->skipped = false;
	slot->since = 0;
	slot->error_at = 0;
	slot->error[0] = '\0';
	pg_atomic_write_u64(&slot->last_pass_at, 0);
	pg_atomic_write_u64(&slot->last_pass_ms, mrb_timer_read() / 1000);
	pg_atomic_write_u64(&slot->verified_at, 0);
	for (int c = MRB_FIRST_GAUGE; c < MRB_NUM_COUNTERS; c++)
		pg_atomic_write_u64(&slot->counters[c], 0);
}

/*
 * Set the counters of a slot to zero, for another database.
 */
static void
reset_counters(MrbRegistrySlot *slot)
{
	for (int c = 0; c < MRB_NUM_COUNTERS; c++)
	{
		pg_atomic_write_u64(&slot->counters[c], 0);
		pg_atomic_write_u64(&slot->reset[c], 0);
	}
}

/*
 * Set the latch of a process; -1 is no process.
 */
static void
set_latch_of(int procno)
{
	if (procno >= 0)
		SetLatch(&GetPGProcByNumber(procno)->procLatch);
}

/*
 * Whether a heartbeat is so old that its process must be stopped, stuck or
 * failing.
 */
static bool
is_overdue(pg_atomic_uint64 *ms)
{
	uint64		last = pg_atomic_read_u64(ms);
	uint64		now = mrb_timer_read() / 1000;

	return now > last && now - last > STALLED_MS;
}
