/*-------------------------------------------------------------------------
 *
 * lock_wait.c
 *	  Limit waits for locks to miosa_rollback.lock_wait and report the holder.
 *
 * The server's error names neither the lock nor its holder, and after the wait
 * both are unknown.  So the blocker is searched among the locks that are held at
 * that moment: a transaction that has locked a whole table of the extension,
 * else the oldest one that has locked rows of one.  This reads only shared
 * memory and the catalog cache, so it can run while the error is handled.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/size_limit.h"
#include "common/lock_wait.h"
#include "common/uri_lock.h"

/* Modes that block readers or writers of a table. */
#define TABLE_MODES (LOCKBIT_ON(ShareLock) | \
					 LOCKBIT_ON(ShareRowExclusiveLock) | \
					 LOCKBIT_ON(ExclusiveLock) | \
					 LOCKBIT_ON(AccessExclusiveLock))

/* Modes of statements that lock or change rows. */
#define ROW_MODES (LOCKBIT_ON(RowShareLock) | LOCKBIT_ON(RowExclusiveLock))

/* The most probable holder of the lock. */
typedef struct Blocker
{
	int			pid;			/* 0: a prepared transaction */
	const char *what;			/* what it has locked, as the end of a
								 * sentence */
	bool		whole;			/* a table or an artifact, not rows */
	TimestampTz since;			/* when its transaction began; 0: unknown */
	const char *name;			/* application_name, or the type of process */
} Blocker;

PG_FUNCTION_INFO_V1(mrb_bound_waits);
PG_FUNCTION_INFO_V1(mrb_table_holder);

static Datum bounded_call(PGFunction function, FunctionCallInfo fcinfo);
pg_noreturn static void raise_busy(void);
static bool find_blocker(Blocker *found);
static bool judge_lock(const LockInstanceData *lock, Oid schema, Oid releases,
					   Blocker *blocker);
static char *describe(const Blocker *blocker);

/*
 * Return the HINT for a lock that was not free in time.
 */
const char *
mrb_lock_wait_hint(bool prepared)
{
	if (prepared)
		return "Call again with the same arguments; to see which prepared transactions are open, type "
			"SELECT gid, prepared, owner FROM pg_prepared_xacts;";
	return "Call again with the same arguments; to see what is in the way, type "
		"SELECT pid, application_name, state, xact_start, query "
		"FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start;";
}

/*
 * Call a function of the extension with limited waits.
 */
Datum
mrb_lock_wait_call(MrbAccess access, PGFunction function,
				   FunctionCallInfo fcinfo)
{
	MrbCaller	before = mrb_errors_enter(access);
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;

	PG_TRY();
	{
		if (access != MRB_INNER)
			mrb_size_limit_check_arguments(fcinfo);
		result = bounded_call(function, fcinfo);
	}
	PG_CATCH();
	{
		mrb_errors_leave_failed(access, before, fcinfo, context);
	}
	PG_END_TRY();
	mrb_errors_leave(before);
	return result;
}

/*
 * Limit waits for locks to lock_wait, or to the caller's lock_timeout if that is
 * shorter, until the calling SQL function returns if it has settings of its own,
 * else until the transaction ends.
 */
void
mrb_lock_wait_bound(void)
{
	int			wait = mrb_lock_wait;
	char		limit[32];

	if (LockTimeout > 0 && LockTimeout <= wait)
		return;
	snprintf(limit, sizeof(limit), "%d", wait);
	(void) set_config_option("lock_timeout", limit, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Limit the waits, and call the function.  The time-out's error is replaced by
 * DEPLOYMENT_BUSY, which is an error again, so no subtransaction is needed.
 */
static Datum
bounded_call(PGFunction function, FunctionCallInfo fcinfo)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		result = (Datum) 0;

	mrb_lock_wait_bound();
	PG_TRY();
	{
		result = function(fcinfo);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		raise_busy();
	}
	PG_END_TRY();
	return result;
}

/*
 * miosa.bound_waits(): limit waits, and return the limit in milliseconds.
 */
Datum
mrb_bound_waits(PG_FUNCTION_ARGS)
{
	mrb_lock_wait_bound();
	PG_RETURN_INT32(LockTimeout);
}

/*
 * miosa.table_holder(): the process that has locked a whole table of the
 * extension, or an artifact; nulls if none has.
 */
Datum
mrb_table_holder(PG_FUNCTION_ARGS)
{
	Blocker		blocker;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (find_blocker(&blocker) && blocker.whole)
	{
		values[0] = Int32GetDatum(blocker.pid);
		nulls[0] = blocker.pid == 0;
		values[1] = CStringGetTextDatum(describe(&blocker));
		nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/*
 * Raise DEPLOYMENT_BUSY with the holder of the lock.
 */
static void
raise_busy(void)
{
	Blocker		blocker;
	bool		found = find_blocker(&blocker);

	mrb_raise(MRB_ERR_DEPLOYMENT_BUSY,
			  psprintf("could not obtain a lock within %d ms", LockTimeout),
			  found ? describe(&blocker) :
			  "The lock is free now; its holder has ended.",
			  mrb_lock_wait_hint(found && blocker.pid == 0));
}

/*
 * Find the most probable holder of the lock; false when there is none.
 */
static bool
find_blocker(Blocker *found)
{
	Oid			schema = get_namespace_oid("miosa", false);
	Oid			releases = get_relname_relid("releases", schema);
	LockData   *data = GetLockStatusData();
	bool		any = false;

	for (int i = 0; i < data->nelements; i++)
	{
		Blocker		blocker = {0};

		if (!judge_lock(&data->locks[i], schema, releases, &blocker) ||
			(any && found->whole && !blocker.whole))
			continue;
		blocker.name = mrb_lock_wait_process(blocker.pid, &blocker.since);
		if (any && found->whole == blocker.whole &&
			found->since <= blocker.since)
			continue;
		*found = blocker;
		any = true;
	}
	return any;
}

/*
 * Whether this process may have waited for a lock, and if so what it locks.
 */
static bool
judge_lock(const LockInstanceData *lock, Oid schema, Oid releases,
		   Blocker *blocker)
{
	const LOCKTAG *tag = &lock->locktag;
	char	   *table;

	if (lock->holdMask == 0 || lock->pid == MyProcPid ||
		tag->locktag_field1 != MyDatabaseId)
		return false;
	blocker->pid = lock->pid;
	if (tag->locktag_type == LOCKTAG_OBJECT && OidIsValid(releases) &&
		tag->locktag_field2 == releases)
	{
		blocker->whole = (lock->holdMask & LOCKBIT_ON(ExclusiveLock)) != 0;
		blocker->what = "has locked an artifact";
		return !mrb_uri_lock_is_intention(lock);
	}
	if (tag->locktag_type != LOCKTAG_RELATION ||
		(lock->holdMask & (TABLE_MODES | ROW_MODES)) == 0 ||
		get_rel_namespace(tag->locktag_field2) != schema ||
		get_rel_relkind(tag->locktag_field2) == RELKIND_INDEX)
		return false;
	table = get_rel_name(tag->locktag_field2);
	blocker->whole = (lock->holdMask & TABLE_MODES) != 0;
	blocker->what = psprintf("has locked %s miosa.%s",
							 blocker->whole ? "the table" : "rows of",
							 table ? table : "?");
	return true;
}

/*
 * Find a process in pg_stat_activity.
 */
const char *
mrb_lock_wait_process(int pid, TimestampTz *since)
{
	int			count = pgstat_fetch_stat_numbackends();

	*since = 0;
	for (int i = 1; i <= count && pid != 0; i++)
	{
		LocalPgBackendStatus *local = MRB_LOCAL_BEENTRY(i);
		PgBackendStatus *entry = local ? &local->backendStatus : NULL;

		if (entry == NULL || entry->st_procpid != pid)
			continue;
		*since = entry->st_xact_start_timestamp;
		return entry->st_appname != NULL && entry->st_appname[0] != '\0' ?
			pstrdup(entry->st_appname) :
			GetBackendTypeDesc(entry->st_backendType);
	}
	return "unknown";
}

/*
 * Describe the blocker in a sentence.
 */
static char *
describe(const Blocker *blocker)
{
	if (blocker->pid == 0)
		return psprintf("A prepared transaction %s; it waits for COMMIT PREPARED or ROLLBACK PREPARED.",
						blocker->what);
	if (blocker->since == 0)
		return psprintf("Process %d (%s) %s.", blocker->pid, blocker->name,
						blocker->what);
	return psprintf("Process %d (%s) %s; its transaction has been open for %.1f s.",
					blocker->pid, blocker->name, blocker->what,
					TimestampDifferenceMilliseconds(blocker->since,
													GetCurrentTimestamp()) / 1000.0);
}
