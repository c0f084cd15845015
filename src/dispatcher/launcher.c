/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: starts a dispatcher in each database that has the extension.
 *
 * It is connected to no database, so that it blocks no DROP DATABASE, and
 * reads only shared catalogs.  Whether a database has the extension can only
 * be seen from inside: a dispatcher is started in each new database, one new
 * database at a time, and exits if it finds no extension.  Such a database is
 * not probed again before CREATE EXTENSION requests a dispatcher.
 *
 * The registry in shared memory, and not our worker handles, says which
 * dispatchers are running, because they survive a restart of the launcher.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/miosa_rollback.h"
#include "common/backoff.h"
#include "common/registry.h"
#include "common/timer.h"
#include "dispatcher/launcher.h"
#include "operation/operation_stats.h"

/* How often pg_database is read. */
#define POLL_MS 1000

/* A new database that is locked delays the next new one at most this long. */
#define PROBE_PATIENCE_MS 2000

/* A dispatcher that exits sooner than this backs off before it restarts. */
#define QUICK_EXIT_MS 1000
#define MIN_DELAY_MS 100
#define MAX_DELAY_MS 30000

/* What the launcher knows about a database. */
typedef struct Entry
{
	Oid			database;		/* hash key */
	bool		listed;			/* the last reading of pg_database has it */
	bool		known;			/* has been probed for the extension */
	bool		absent;			/* has no extension */
	bool		alive;			/* its dispatcher was seen running */
	BackgroundWorkerHandle *handle; /* of the worker that we started, or NULL */
	MrbTick		started;		/* when that was */
	MrbTick		not_before;		/* earliest time of the next start */
	int			quick_exits;	/* in a row */
} Entry;

static HTAB *entries = NULL;
static bool reported = false;	/* that slots are missing */

static void launcher_exit(int code, Datum arg);
static void read_databases(void);
static void forget_dropped(void);
static bool is_known(Oid database);
static long start_due(void);
static void probe_again(void);
static bool is_probing(Entry *entry, MrbTick now);
static long start_if_due(Entry *entry, MrbTick now, bool *probing);
static bool worker_ended(Entry *entry);
static void plan_restart(Entry *entry, MrbRegistrySlot *slot, MrbTick now);
static bool start_worker(Entry *entry, MrbTick now);
static void report_once(MrbRegistrySlot *slot, const char *message, const char *hint);

/*
 * Register the launcher with the postmaster.
 */
void
mrb_launcher_register(void)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = 1,
		.bgw_library_name = MRB_EXTENSION,
		.bgw_function_name = "mrb_launcher_main",
		.bgw_name = MRB_EXTENSION " launcher",
		.bgw_type = MRB_EXTENSION " launcher",
	};

	RegisterBackgroundWorker(&worker);
}

/*
 * Entry point of the launcher.
 */
void
mrb_launcher_main(Datum main_arg)
{
	HASHCTL		info = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(Entry),
	};
	MemoryContext cycle;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	entries = hash_create(MRB_EXTENSION " databases", 64, &info,
						  HASH_ELEM | HASH_BLOBS);
	cycle = AllocSetContextCreate(TopMemoryContext,
								  MRB_EXTENSION " launcher cycle",
								  ALLOCSET_DEFAULT_SIZES);
	before_shmem_exit(launcher_exit, 0);
	mrb_registry_launcher_register();

	for (;;)
	{
		long		wait;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		mrb_registry_launcher_heartbeat();
		MemoryContextSwitchTo(cycle);
		read_databases();
		forget_dropped();
		wait = start_due();
		MemoryContextReset(cycle);

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * Before the process ends: say so in shared memory.
 */
static void
launcher_exit(int code, Datum arg)
{
	mrb_registry_launcher_unregister();
}

/*
 * Bring the list of databases up to date with pg_database.
 */
static void
read_databases(void)
{
	MemoryContext cycle = CurrentMemoryContext;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		Entry	   *entry;
		bool		found;

		/* A database whose DROP was interrupted accepts no connections. */
		if (!form->datallowconn || form->datistemplate ||
			form->datconnlimit == DATCONNLIMIT_INVALID_DB)
			continue;
		entry = hash_search(entries, &form->oid, HASH_ENTER, &found);
		if (!found)
		{
			MemSet(entry, 0, sizeof(Entry));
			entry->database = form->oid;
		}
		entry->listed = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(cycle);
	pgstat_report_stat(true);
}

/*
 * Forget databases that were dropped or accept no connections any more; their
 * dispatchers exit by themselves.
 */
static void
forget_dropped(void)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		if (!entry->listed)
		{
			MrbRegistrySlot *slot = mrb_registry_slot(entry->database);

			if (slot != NULL && slot->pid != 0)
				continue;		/* until its dispatcher has exited */
			if (entry->handle != NULL)
				pfree(entry->handle);
			hash_search(entries, &entry->database, HASH_REMOVE, NULL);
			continue;
		}
		entry->listed = false;
	}

	/* Also those of templates, and of what was dropped while none ran. */
	mrb_registry_retain(is_known);
	mrb_operation_stats_retain(is_known);
}

/*
 * Whether the list has the database.
 */
static bool
is_known(Oid database)
{
	return hash_search(entries, &database, HASH_FIND, NULL) != NULL;
}

/*
 * Start the dispatchers that are due; returns how long to wait, in
 * milliseconds.
 */
static long
start_due(void)
{
	HASH_SEQ_STATUS seq;
	MrbTick		now = mrb_timer_read();
	Entry	   *entry;
	long		wait = POLL_MS;
	bool		probing = false;

	if (mrb_registry_request_missed())
		probe_again();
	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (is_probing(entry, now))
			probing = true;

	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
		wait = Min(wait, start_if_due(entry, now, &probing));
	return wait;
}

/*
 * Probe every database without the extension again.
 */
static void
probe_again(void)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	hash_seq_init(&seq, entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		if (entry->absent)
			entry->absent = entry->known = false;
	}
}

/*
 * Whether a worker is probing a new database for the extension; the next new
 * database waits for it.
 */
static bool
is_probing(Entry *entry, MrbTick now)
{
	MrbRegistrySlot *slot;

	if (entry->known || entry->handle == NULL ||
		mrb_timer_passed(entry->started, now, PROBE_PATIENCE_MS))
		return false;
	slot = mrb_registry_slot(entry->database);
	return (slot == NULL || slot->pid == 0) && !worker_ended(entry);
}

/*
 * Handle one database: its dispatcher is running, is starting, or is started
 * when it is due.  Returns how long to wait, in milliseconds.
 */
static long
start_if_due(Entry *entry, MrbTick now, bool *probing)
{
	MrbRegistrySlot *slot = mrb_registry_slot(entry->database);

	if (slot != NULL && slot->pid != 0)
	{
		entry->known = true;
		entry->absent = false;
		entry->alive = true;
		return POLL_MS;
	}
	if (entry->handle != NULL || entry->alive)
	{
		if (!worker_ended(entry))
			return POLL_MS;
		plan_restart(entry, slot, now);
		slot = mrb_registry_slot(entry->database);
	}
	if (slot != NULL && slot->requested)
	{
		entry->absent = false;
		entry->known = true;
		entry->not_before = 0;
	}
	if (entry->absent)
		return POLL_MS;
	if (entry->not_before > now)
		return mrb_timer_ms_between(now, entry->not_before) + 1;
	if (!entry->known && *probing)
		return POLL_MS;
	if (start_worker(entry, now) && !entry->known)
		*probing = true;
	return POLL_MS;
}

/*
 * Whether the worker that we started has exited.
 */
static bool
worker_ended(Entry *entry)
{
	pid_t		pid;

	if (entry->handle == NULL)
		return true;
	return GetBackgroundWorkerPid(entry->handle, &pid) == BGWH_STOPPED;
}

/*
 * The worker has exited: decide when it is started again.
 */
static void
plan_restart(Entry *entry, MrbRegistrySlot *slot, MrbTick now)
{
	MrbDispatcherState state = slot ? slot->state : MRB_DISPATCHER_STOPPED;
	int			delay = MIN_DELAY_MS;

	if (entry->handle != NULL)
		pfree(entry->handle);
	entry->handle = NULL;
	entry->known = true;
	entry->alive = false;

	if (state == MRB_DISPATCHER_ABSENT)
	{
		entry->absent = true;
		entry->quick_exits = 0;
		mrb_registry_release(entry->database);
		return;
	}
	if (state == MRB_DISPATCHER_ASIDE ||
		mrb_timer_passed(entry->started, now, QUICK_EXIT_MS))
		entry->quick_exits = 0;
	else
	{
		entry->quick_exits++;
		delay = mrb_backoff_delay(MIN_DELAY_MS, MAX_DELAY_MS,
								  entry->quick_exits);
	}
	entry->not_before = mrb_timer_add_ms(now, delay);
}

/*
 * Register the dispatcher of a database; false when no slot is free for it.
 */
static bool
start_worker(Entry *entry, MrbTick now)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = MRB_EXTENSION,
		.bgw_function_name = "mrb_dispatcher_main",
		.bgw_type = MRB_EXTENSION " dispatcher",
		.bgw_main_arg = ObjectIdGetDatum(entry->database),
		.bgw_notify_pid = MyProcPid,
	};
	MrbRegistrySlot *slot = mrb_registry_reserve(entry->database,
												 !entry->known);
	MemoryContext old;
	bool		registered;

	entry->started = now;
	entry->not_before = mrb_timer_add_ms(now, POLL_MS);
	if (slot == NULL)
	{
		report_once(NULL, "more databases than miosa_rollback.max_databases",
					"Raise miosa_rollback.max_databases and restart the server.");
		return false;
	}
	mrb_registry_set_state(slot, MRB_DISPATCHER_STARTING);
	snprintf(worker.bgw_name, BGW_MAXLEN,
			 MRB_EXTENSION " dispatcher of database %u", entry->database);
	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &entry->handle);
	MemoryContextSwitchTo(old);
	if (!registered)
	{
		entry->handle = NULL;
		entry->not_before = mrb_timer_add_ms(now, 5 * POLL_MS);
		mrb_registry_set_state(slot, MRB_DISPATCHER_STOPPED);
		report_once(slot, "no background worker slot is free for a dispatcher",
					"Raise max_worker_processes and restart the server.");
	}
	else
		reported = false;
	return registered;
}

/*
 * Log a lack of slots once; miosa_doctor() shows it as long as it lasts.
 */
static void
report_once(MrbRegistrySlot *slot, const char *message, const char *hint)
{
	if (slot != NULL)
		mrb_registry_failed(slot, message);
	if (reported)
		return;
	reported = true;
	ereport(LOG,
			(errmsg("%s: %s", MRB_EXTENSION, message),
			 errhint("%s", hint)));
}
