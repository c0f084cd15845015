/*-------------------------------------------------------------------------
 *
 * dispatcher_main.c
 *	  The dispatcher's process: start, signals, main loop, exit.
 *
 * The launcher starts it in every database; it exits at once where the
 * extension is missing.  It also exits when another session waits for a lock
 * on the whole database (DROP, CREATE ... TEMPLATE, ALTER DATABASE): the
 * launcher starts it again at once, and the new process waits for that lock
 * before it counts as connected.
 *
 * The wait event set is fixed: the latch, the postmaster's death, and two
 * epoll descriptors, which stand for all sockets to endpoints and to storage.
 * Sockets come and go, but none can be removed from a wait event set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/resource.h>

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/extension_version.h"
#include "base/compat.h"
#include "base/function_name.h"
#include "base/miosa_rollback.h"
#include "common/worker_settings.h"
#include "delivery/flush.h"
#include "delivery/item.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/dispatcher_main.h"
#include "dispatcher/steps.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/endpoint_stats.h"
#include "endpoint/inflight.h"
#include "verifier/verifier.h"

/* How often the lock on the database is checked for waiters. */
#define ASIDE_MS 400

/* How often a pass is made unwoken; COMMIT PREPARED sets no latch. */
#define POLL_MS 1000

/* How often the numbers in pg_stat_activity are updated. */
#define SHOW_MS 100

static MrbRegistrySlot *my_slot = NULL;
static emit_log_hook_type prev_emit_log_hook = NULL;
static MrbDispatcherState exit_state = MRB_DISPATCHER_STOPPED;
static const char *database_name = "";

static void become_dispatcher(Oid database);
static void warn_of_versions(void);
static void worker_exit(int code, Datum arg);
static void exit_dispatcher(MrbDispatcherState state);
static void note_error(ErrorData *error);
static void raise_descriptor_limit(void);
static void run(void);
static bool wait_for_work(WaitEventSet *set, long timeout);
static void show_activity(const MrbDispatcher *dispatcher);
static bool interval_passed(MrbTick *last, int interval_ms);
static bool database_wanted(void);
static void worker_context(void *arg);

/*
 * Entry point of the dispatcher of a database.
 */
void
mrb_dispatcher_main(Datum main_arg)
{
	Oid			database = DatumGetObjectId(main_arg);
	ErrorContextCallback context = {
		.callback = worker_context,
		.previous = error_context_stack,
	};

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	my_slot = mrb_registry_slot(database);
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = note_error;
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);

	error_context_stack = &context;
	become_dispatcher(database);
	run();
}

/*
 * Claim the database's slot; exit quietly without an extension or a slot.
 */
static void
become_dispatcher(Oid database)
{
	bool		present;

	if (my_slot == NULL)
		proc_exit(0);

	StartTransactionCommand();
	present = OidIsValid(get_extension_oid(MRB_EXTENSION, true));
	database_name = MemoryContextStrdup(TopMemoryContext,
										get_database_name(database));
	if (present)
	{
		mrb_worker_settings_apply();
		mrb_function_name_learn();
		warn_of_versions();
	}
	CommitTransactionCommand();
	SetConfigOption("application_name",
					MRB_EXTENSION " " MIOSA_ROLLBACK_VERSION " dispatcher",
					PGC_USERSET, PGC_S_SESSION);
	if (!present)
	{
		mrb_registry_set_state(my_slot, MRB_DISPATCHER_ABSENT);
		proc_exit(0);
	}
	if (!mrb_registry_claim(my_slot))
		proc_exit(0);
	before_shmem_exit(worker_exit, 0);
	raise_descriptor_limit();
	ereport(LOG,
			(errmsg("%s %s: dispatcher of database \"%s\" started",
					MRB_EXTENSION, MIOSA_ROLLBACK_VERSION, database_name)));
}

/*
 * Log that the SQL objects are of another version than the library.
 */
static void
warn_of_versions(void)
{
	MrbVersionProblem problem;

	if (mrb_extension_version_problem(&problem))
		ereport(WARNING,
				(errmsg_internal("%s", problem.message),
				 errdetail_internal("%s", problem.detail),
				 errhint("%s", problem.hint)));
}

/*
 * Show an error that ends this process in the slot, also when the process
 * could not even connect: miosa.stat_dispatcher reads it there.
 */
static void
note_error(ErrorData *error)
{
	if (error->elevel >= ERROR && my_slot != NULL && MyProc != NULL &&
		error->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN && error->message != NULL)
		mrb_registry_failed(my_slot, error->message);
	if (prev_emit_log_hook != NULL)
		prev_emit_log_hook(error);
}

/*
 * Before the process ends: give back its statistics and its slot.
 */
static void
worker_exit(int code, Datum arg)
{
	mrb_endpoint_stats_end();
	mrb_registry_leave(my_slot, exit_state);
}

/*
 * Exit in order; the launcher reads the reason in the slot.
 */
static void
exit_dispatcher(MrbDispatcherState state)
{
	exit_state = state;
	proc_exit(0);
}

/*
 * Raise the soft limit of open files to the hard limit: the usual 1024 are too
 * few for a thousand edges.
 */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
}

/*
 * The main loop.
 */
static void
run(void)
{
	WaitEventSet *set = MRB_CREATE_WAIT_EVENT_SET(4);
	MemoryContext cycle = AllocSetContextCreate(TopMemoryContext,
												MRB_EXTENSION " cycle",
												ALLOCSET_DEFAULT_SIZES);
	MrbDispatcher *dispatcher;
	MrbTick		last_poll = 0;
	MrbTick		last_aside = 0;
	bool		woken = true;

	dispatcher = mrb_dispatcher_create(my_slot);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, mrb_inflight_descriptor(),
					  NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, mrb_verifier_descriptor(),
					  NULL, NULL);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			woken = true;
		}
		if (mrb_fence_check(&dispatcher->fence))
		{
			MemoryContextSwitchTo(cycle);
			mrb_fence_lower(&dispatcher->fence);
			MemoryContextSwitchTo(TopMemoryContext);
			MemoryContextReset(cycle);
			woken = true;
			continue;
		}
		if (interval_passed(&last_aside, ASIDE_MS) && database_wanted())
		{
			mrb_flush_run();
			mrb_convergence_log_run(&dispatcher->convergence_log);
			exit_dispatcher(MRB_DISPATCHER_ASIDE);
		}
		if (woken || interval_passed(&last_poll, POLL_MS))
		{
			MemoryContextSwitchTo(cycle);
			if (!mrb_dispatcher_pass(dispatcher))
				exit_dispatcher(MRB_DISPATCHER_ABSENT);
			last_poll = mrb_timer_read();
		}
		MemoryContextSwitchTo(cycle);
		mrb_steps_run(dispatcher);
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(cycle);
		show_activity(dispatcher);
		woken = wait_for_work(set, mrb_steps_wait(dispatcher, ASIDE_MS));
	}
}

/*
 * Wait; true when the latch was set, so that there may be new work.
 */
static bool
wait_for_work(WaitEventSet *set, long timeout)
{
	WaitEvent	events[4];
	bool		woken = false;
	int			n;

	if (timeout > 0)
	{
		/* Without this, autovacuum never sees the rows that we changed. */
		pgstat_report_stat(false);
	}
	n = WaitEventSetWait(set, timeout, events, lengthof(events),
						 PG_WAIT_EXTENSION);
	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			woken = true;
		}
	}
	return woken;
}

/*
 * Update pg_stat_activity: active while requests are sent, idle when there is
 * nothing to send or all of it waits for endpoints.  Updates are no more
 * frequent than a person could read, but the end of the work shows at once.
 */
static void
show_activity(const MrbDispatcher *dispatcher)
{
	static char shown[256] = "";
	static bool shown_running = false;
	static MrbTick shown_at = 0;
	static uint64 shown_sent = 0;
	uint64		sent = pg_atomic_read_u64(&my_slot->counters[MRB_COUNTER_SENT]);
	bool		recent = !mrb_timer_passed(shown_at, mrb_timer_now(),
										   SHOW_MS);
	bool		running = mrb_inflight_in_flight() > 0 || mrb_item_pending() > 0;
	char		activity[256];

	if (recent && (running || !shown_running))
		return;

	if (dispatcher->paused != NULL)
		snprintf(activity, sizeof(activity), "paused: %s", dispatcher->paused);
	else
		snprintf(activity, sizeof(activity),
				 "%d endpoints, %d in flight, " INT64_FORMAT " pending",
				 mrb_endpoint_list_count(), mrb_inflight_in_flight(),
				 mrb_item_pending());
	running = running && sent != shown_sent;
	shown_at = mrb_timer_now();
	shown_sent = sent;
	if (running == shown_running && strcmp(activity, shown) == 0)
		return;
	strlcpy(shown, activity, sizeof(shown));
	shown_running = running;
	pgstat_report_activity(running ? STATE_RUNNING : STATE_IDLE, activity);
}

/*
 * Whether the interval has passed; then the next one begins.
 */
static bool
interval_passed(MrbTick *last, int interval_ms)
{
	MrbTick		now = mrb_timer_read();

	if (!mrb_timer_passed(*last, now, interval_ms))
		return false;
	*last = now;
	return true;
}

/*
 * Whether another session holds or awaits a lock on the whole database.
 */
static bool
database_wanted(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	if (LockAcquire(&tag, RowExclusiveLock, true, true) ==
		LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, RowExclusiveLock, true);
	return false;
}

/*
 * Error context: names the worker.
 */
static void
worker_context(void *arg)
{
	errcontext("%s dispatcher of database \"%s\"",
			   MRB_EXTENSION, database_name);
}
