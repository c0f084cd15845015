/*-------------------------------------------------------------------------
 *
 * worker_xact.c
 *	  The dispatcher's own transactions.
 *
 * The process is connected as the bootstrap superuser, since the owner of the
 * extension cannot log in.  A role that can become that owner could have a
 * function or a trigger of it do what only a superuser may, so each transaction
 * acts as the owner, from before its first statement until after its commit:
 * deferred triggers, and cursors that are held, run while it commits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/miosa_rollback.h"
#include "common/timer.h"
#include "common/worker_xact.h"

/* An error with the same SQLSTATE is not logged again within this time. */
#define LOG_AGAIN_MS 60000

/* Maximum length of the message that is kept. */
#define ERROR_MAX 256

static Oid	known_extension = InvalidOid;
static Oid	process_user = InvalidOid;	/* between transactions */
static bool trying = false;		/* errors are caught */
static bool dropped = false;	/* the extension, in the last transaction */
static char last_error[ERROR_MAX] = "";

static void set_locally(const char *name, const char *value);
static XLogRecPtr end_of_wal(void);
static bool lock_extension(void);
static void become_owner(void);
static void log_error(ErrorData *error);

/*
 * Begin a transaction of a kind, with a snapshot and the extension locked unless
 * it only notifies.  Where the extension was dropped, a pass ends the process and
 * other kinds raise an error.
 */
void
mrb_worker_xact_begin(MrbWorkerXactKind kind, int lock_timeout_ms)
{
	MemoryContext caller = CurrentMemoryContext;
	char		timeout[32];

	dropped = false;
	process_user = GetUserId();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();

	/* The caller's results outlive the transaction. */
	MemoryContextSwitchTo(caller);
	if (kind == MRB_WORKER_XACT_PASS)
		XactIsoLevel = XACT_REPEATABLE_READ;
	snprintf(timeout, sizeof(timeout), "%dms", lock_timeout_ms);
	set_locally("lock_timeout", timeout);

	/* A lost transaction is repeated; a pass decides later if it may be. */
	if (kind != MRB_WORKER_XACT_PASS && kind != MRB_WORKER_XACT_LOCAL)
		mrb_worker_xact_async();
	else if (kind == MRB_WORKER_XACT_LOCAL ||
			 synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		set_locally("synchronous_commit", "local");
	if (kind == MRB_WORKER_XACT_NOTIFY)
		return;
	if (!lock_extension())
	{
		/* The launcher finds out whether the extension was created again. */
		if (!trying)
			proc_exit(0);
		if (kind != MRB_WORKER_XACT_PASS)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("extension \"%s\" was dropped", MRB_EXTENSION)));
	}
	else
		become_owner();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Do not wait for the flush of this transaction.
 */
void
mrb_worker_xact_async(void)
{
	set_locally("synchronous_commit", "off");
}

/*
 * Commit the transaction.
 */
void
mrb_worker_xact_commit(void)
{
	MemoryContext caller = CurrentMemoryContext;

	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	SetUserIdAndSecContext(process_user, 0);
	MemoryContextSwitchTo(caller);
}

/*
 * Commit a transaction that has read what is sent now, and wait until a crash
 * cannot undo it: others may have committed asynchronously, or without waiting for
 * the synchronous standby that this session waits for.
 */
void
mrb_worker_xact_commit_read(void)
{
	XLogRecPtr	end = end_of_wal();

	mrb_worker_xact_commit();
	XLogFlush(end);
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(end, false);
	RESUME_INTERRUPTS();
}

/*
 * Run a function that begins and commits a transaction, and catch its error.
 */
bool
mrb_worker_xact_try(MrbWorkerXactWork work, void *arg, int *sqlstate)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = true;

	trying = true;
	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		HOLD_INTERRUPTS();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(caller);
		if (sqlstate != NULL)
			*sqlstate = error->sqlerrcode;
		log_error(error);
		FreeErrorData(error);
		RESUME_INTERRUPTS();
		done = false;
	}
	PG_END_TRY();
	trying = false;
	MemoryContextSwitchTo(caller);
	return done;
}

/*
 * Return the message of the last error.
 */
const char *
mrb_worker_xact_error(void)
{
	return last_error;
}

/*
 * Return the oid of the extension.
 */
Oid
mrb_worker_xact_extension(void)
{
	return get_extension_oid(MRB_EXTENSION, true);
}

/*
 * SET LOCAL a setting.
 */
static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Return where WAL ends that can be flushed.  Where it ends with a page, the place
 * of the next record is behind the header of a page that does not exist yet.
 */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr	next = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(next, wal_segment_size) == SizeOfXLogLongPHD)
		return next - SizeOfXLogLongPHD;
	if (next % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return next - SizeOfXLogShortPHD;
	return next;
}

/*
 * Lock the extension.  DROP EXTENSION locks the extension first and then its
 * objects in an unspecified order, so that without this lock it could deadlock
 * with this transaction over the tables.
 *
 * False when the extension that this process started with does not exist any
 * more, even if it was created again: the tables of another one must not be
 * changed.
 */
static bool
lock_extension(void)
{
	Oid			extension = mrb_worker_xact_extension();

	if (OidIsValid(extension))
	{
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);

		/* It may have been dropped during the wait. */
		extension = mrb_worker_xact_extension();
	}
	if (!OidIsValid(known_extension))
		known_extension = extension;
	dropped = !OidIsValid(extension) || extension != known_extension;
	return !dropped;
}

/*
 * Act as the owner of the extension's schema until the transaction ends; an
 * abort resets that by itself.  Nothing that runs meanwhile may set another role
 * or session authorization.
 */
static void
become_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID,
										ObjectIdGetDatum(get_namespace_oid(MRB_SCHEMA, false)));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for schema \"%s\"", MRB_SCHEMA);
	SetUserIdAndSecContext(((Form_pg_namespace) GETSTRUCT(tuple))->nspowner,
						   SECURITY_LOCAL_USERID_CHANGE);
	ReleaseSysCache(tuple);
}

/*
 * Log an error with all its fields, unless its SQLSTATE was logged a moment ago
 * or it is expected: a serialization failure, or the end of the extension.
 */
static void
log_error(ErrorData *error)
{
	static int	last_code = 0;
	static MrbTick last_logged = 0;
	ErrorContextCallback *callbacks = error_context_stack;
	MrbTick		now = mrb_timer_read();
	const char *message = error->message ? error->message : "";
	int			len = pg_mbcliplen(message, strlen(message),
								   sizeof(last_error) - 1);

	memcpy(last_error, message, len);
	last_error[len] = '\0';
	if (error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE || dropped)
		return;
	if (error->sqlerrcode == last_code &&
		!mrb_timer_passed(last_logged, now, LOG_AGAIN_MS))
		return;
	last_code = error->sqlerrcode;
	last_logged = now;

	/* The error has the context of the callbacks already. */
	error_context_stack = NULL;
	error->elevel = LOG;
	ThrowErrorData(error);
	error_context_stack = callbacks;
}
