/*-------------------------------------------------------------------------
 *
 * deployment_lock.c
 *	  Locking of a deployment.
 *
 * Everything that moves a deployment's pointer, and everything that could take
 * its target away (archiving, collecting, draining), first locks the
 * deployment's row FOR NO KEY UPDATE.  The lock has no condition but the key: a
 * join or a further condition would be evaluated again after the wait, on a newer
 * row, and could lose the row.
 *
 * The queues.  The server queues those who wait for a row on the place of its
 * version.  An update moves the row, so each commit wakes all of them, only to
 * queue again in the next place.  Operations that find the row locked therefore
 * first take the deployment's turn, a lock in the lock table for which they queue
 * in order, and keep it until they have the row's lock.  So those who wait for
 * the row are few, whatever waits behind them: of 64 clients of one deployment
 * each took a third of the processor's time.  They are TURNS and not one, because
 * on a busy machine the one might wait for a processor while nobody may have the
 * row.  Operations that find the row free take no turn.  Only C code can take
 * one, because every role can take advisory locks.
 *
 * The wait is bounded by the server's timer for lock_timeout and not by a
 * subtransaction, which would cost every operation its own transaction id.  The
 * server would set it for each lock that is waited for (the turn, the place in the
 * server's queue, the holder's transaction); here it is set once for all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "common/index_lookup.h"
#include "common/lock_wait.h"
#include "common/query.h"
#include "operation/deployment_lock.h"

/* Turns of a deployment. */
#define TURNS 4

/* The holder of the row's lock, when a wait for it began. */
typedef struct Holder
{
	TransactionId xid;			/* invalid: could not be determined */
	int			pid;			/* its process, or 0 */
	char	   *prepared;		/* else the prepared transaction, as a
								 * sentence */
} Holder;

static MrbIndexLookup locked_row = {
	.lock = RowShareLock,
	.table.name = "deployments",
	.table.index = "deployments_pkey",
};

/* Returns no row, without waiting, if another transaction holds the lock. */
static MrbQuery try_lock_query = {
	.sql = "SELECT 1 FROM miosa.deployments p WHERE p.id = $1"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery lock_query = {
	.sql = "SELECT 1 FROM miosa.deployments p WHERE p.id = $1"
	" FOR NO KEY UPDATE",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/*
 * The prepared transaction that holds it.  It has no process; only COMMIT
 * PREPARED or ROLLBACK PREPARED ends it.
 */
static MrbQuery prepared_query = {
	.sql = "SELECT pg_catalog.format('Prepared transaction %L has held the row''s lock for %s s; it waits for COMMIT PREPARED or ROLLBACK PREPARED.',"
	" x.gid, extract(epoch FROM clock_timestamp() - x.prepared)::numeric(20,1))"
	" FROM pg_catalog.pg_prepared_xacts x WHERE x.transaction = $1",
	.nargs = 1,
	.argtypes = {XIDOID},
};

static TM_Result lock_row(const char *id, ItemPointer place,
						  LockWaitPolicy policy);
static bool try_lock(const char *id, ItemPointer place);
static void wait_within(const char *id, ItemPointer place, int wait,
						Holder *holder);
static void wait_for_lock(const char *id, ItemPointer place, Holder *holder);
static void lock(const char *id, ItemPointer place);
static void find_holder(const char *id, Holder *holder);
static TransactionId read_locker(const char *id);
static MrbFinding report_busy(const char *id, const Holder *holder);

/*
 * Lock the deployment's row.  The first attempt does not wait, so that an
 * operation that meets no other one does no more.
 *
 * The error of a time-out is replaced by DEPLOYMENT_BUSY and thrown, never
 * swallowed, so no subtransaction is needed to clean up.
 */
void
mrb_deployment_lock(const char *id, ItemPointer place)
{
	MemoryContext context = CurrentMemoryContext;
	Holder		holder = {0};

	if (try_lock(id, place))
		return;
	PG_TRY();
	{
		wait_within(id, place, mrb_lock_wait, &holder);
	}
	PG_CATCH();
	{
		MrbFinding	busy;

		MemoryContextSwitchTo(context);
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		busy = report_busy(id, &holder);
		mrb_finding_enforce(&busy);
	}
	PG_END_TRY();
}

/*
 * The same with a finding instead of an error.  The subtransaction takes a
 * transaction id of its own, but only an operation that has to wait has one.
 */
MrbFinding
mrb_deployment_lock_within(const char *id, ItemPointer place, int *wait)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	MrbFinding	finding = mrb_finding_hold("lock");
	Holder		holder = {0};
	TimestampTz start;

	if (try_lock(id, place))
		return finding;
	if (*wait <= 0)
	{
		find_holder(id, &holder);
		return report_busy(id, &holder);
	}
	start = GetCurrentTimestamp();
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		wait_within(id, place, *wait, &holder);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			ReThrowError(error);
		MemoryContextSwitchTo(context);
		finding = report_busy(id, &holder);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	*wait -= TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
	return finding;
}

/*
 * Lock the deployment's row unless another transaction holds its lock.
 */
bool
mrb_deployment_lock_try(const char *id)
{
	ItemPointerData place;

	ItemPointerSetInvalid(&place);
	return try_lock(id, &place);
}

/*
 * Lock the row where it is, or was seen; returns TM_Invisible if there is none.
 */
static TM_Result
lock_row(const char *id, ItemPointer place, LockWaitPolicy policy)
{
	TM_Result	result = TM_Invisible;

	mrb_index_lookup_begin();
	if (mrb_index_lookup_find_again(&locked_row, place, id, NULL))
	{
		result = mrb_index_lookup_lock(&locked_row, id, NULL, policy);
		if (result == TM_Ok)
			*place = locked_row.slot->tts_tid;
		mrb_index_lookup_close(&locked_row);
	}
	mrb_index_lookup_end();
	return result;
}

/*
 * Lock the row without waiting.  What is unusual (the row has changed since the
 * transaction's snapshot, for example) is left to a query, which raises its
 * error.
 */
static bool
try_lock(const char *id, ItemPointer place)
{
	TM_Result	result;
	Datum		values[1];
	bool		locked;

	PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
	result = lock_row(id, place, LockWaitSkip);
	if (result == TM_Ok || result == TM_WouldBlock)
		return result == TM_Ok;

	values[0] = CStringGetTextDatum(id);
	mrb_query_open();
	locked = mrb_query_run(&try_lock_query, values, NULL) > 0;
	mrb_query_close();
	return locked;
}

/*
 * Wait for the row's lock, as long as wait and the caller's lock_timeout allow.
 * While lock_timeout is 0 the server leaves its timer alone.  The timer's
 * indicator is kept, because it says what a cancel that is still pending means.
 */
static void
wait_within(const char *id, ItemPointer place, int wait, Holder *holder)
{
	int			limit = LockTimeout;

	LockTimeout = 0;
	enable_timeout_after(LOCK_TIMEOUT, limit > 0 ? Min(limit, wait) : wait);
	PG_TRY();
	{
		wait_for_lock(id, place, holder);
	}
	PG_FINALLY();
	{
		disable_timeout(LOCK_TIMEOUT, true);
		LockTimeout = limit;
	}
	PG_END_TRY();
	CHECK_FOR_INTERRUPTS();
}

/*
 * Take a turn, and wait for the row's lock.
 */
static void
wait_for_lock(const char *id, ItemPointer place, Holder *holder)
{
	LOCKTAG		turn;
	bool		locked = false;

	/* Deployments of the same hash share their turns, which is seldom. */
	SET_LOCKTAG_OBJECT(turn, MyDatabaseId, locked_row.table.relid,
					   hash_bytes((const unsigned char *) id, strlen(id)),
					   MyProcPid % TURNS);
	find_holder(id, holder);
	if (LockAcquire(&turn, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		(void) LockAcquire(&turn, ExclusiveLock, false, false);
		locked = try_lock(id, place);
		if (!locked)
			find_holder(id, holder);
	}
	if (!locked)
		lock(id, place);
	LockRelease(&turn, ExclusiveLock, false);
}

/*
 * Lock the row.  One that was deleted meanwhile is noticed by the next read.
 */
static void
lock(const char *id, ItemPointer place)
{
	Datum		values[1];

	if (lock_row(id, place, LockWaitBlock) == TM_Ok)
		return;
	values[0] = CStringGetTextDatum(id);
	mrb_query_open();
	(void) mrb_query_run(&lock_query, values, NULL);
	mrb_query_close();
}

/*
 * Find out who holds the row's lock.  After an error only shared memory may be
 * read, so what needs more is done before the wait.
 */
static void
find_holder(const char *id, Holder *holder)
{
	holder->xid = read_locker(id);
	holder->pid = TransactionIdIsValid(holder->xid) ?
		BackendXidGetPid(holder->xid) : 0;
	holder->prepared = NULL;
	if (holder->pid == 0 && TransactionIdIsValid(holder->xid) &&
		TransactionIdIsInProgress(holder->xid))
	{
		Datum		values[] = {TransactionIdGetDatum(holder->xid)};

		mrb_query_open();
		if (mrb_query_run(&prepared_query, values, NULL) > 0)
			holder->prepared = mrb_query_text(0, 1);
		mrb_query_close();
	}
}

/*
 * Return the transaction that has the row locked, if it is in progress.  Its
 * number in the row may be of a subtransaction.  Several lockers of a row have a
 * number of their own, which names none of them.
 */
static TransactionId
read_locker(const char *id)
{
	TransactionId xid = InvalidTransactionId;

	mrb_index_lookup_begin();
	if (mrb_index_lookup_find(&locked_row, id, NULL))
	{
		Buffer		buffer = ((BufferHeapTupleTableSlot *) locked_row.slot)->buffer;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(locked_row.slot, false, NULL);

		/* The flags say what the number is, so both are read at once. */
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!(tuple->t_data->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)))
			xid = HeapTupleHeaderGetRawXmax(tuple->t_data);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		mrb_index_lookup_close(&locked_row);
	}

	/* Older ones have ended, and their parents are not kept. */
	if (TransactionIdIsValid(xid))
		xid = TransactionIdFollowsOrEquals(xid, TransactionXmin) ?
			SubTransGetTopmostTransaction(xid) : InvalidTransactionId;
	mrb_index_lookup_end();
	return xid;
}

/*
 * Make the finding that the row is locked.  Reads shared memory only.  The
 * holder of when the wait began may have ended since, or have prepared its
 * transaction, which has no process then.
 */
static MrbFinding
report_busy(const char *id, const Holder *holder)
{
	const char *detail = "The holder of the row's lock could not be determined.";
	bool		prepared = holder->prepared != NULL;

	if (prepared)
		detail = holder->prepared;
	else if (holder->pid != 0 && BackendXidGetPid(holder->xid) == holder->pid)
	{
		TimestampTz since;
		const char *name = mrb_lock_wait_process(holder->pid, &since);
		long		ms = since == 0 ? 0 :
		TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());

		detail = psprintf("Process %d (%s) has held the row's lock for %.1f s.",
						  holder->pid, name, ms / 1000.0);
	}
	else if (holder->pid != 0 && TransactionIdIsInProgress(holder->xid))
	{
		prepared = true;
		detail = psprintf("Process %d, which held the row's lock when the wait began, has prepared its transaction; it waits for COMMIT PREPARED or ROLLBACK PREPARED.",
						  holder->pid);
	}
	else if (holder->pid != 0)
		detail = psprintf("Process %d, which held the row's lock when the wait began, has released it; other operations were first.",
						  holder->pid);
	return mrb_finding_fail("lock", MRB_ERR_DEPLOYMENT_BUSY,
							psprintf("deployment \"%s\" is busy with another operation", id),
							detail, mrb_lock_wait_hint(prepared));
}
