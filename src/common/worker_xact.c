/*-------------------------------------------------------------------------
 *
 * worker_xact.c
 *	  The dispatcher's own transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/miosa_rollback.h"
#include "common/timer.h"
#include "common/worker_xact.h"

/* An error with the same SQLSTATE is not logged again within this time. */
#define LOG_AGAIN_MS 60000

/* Maximum length of the message that is kept. */
#define ERROR_MAX 256

static Oid	known_extension = InvalidOid;
static bool trying = false;		/* errors are caught */
static bool dropped = false;	/* the extension, in the last transaction */
static char last_error[ERROR_MAX] = "";

static void set_locally(const char *name, const char *value);
static bool lock_extension(void);
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
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();

	/* The caller's results outlive the transaction. */
	MemoryContextSwitchTo(caller);
	if (kind == MRB_WORKER_XACT_PASS)
		XactIsoLevel = XACT_REPEATABLE_READ;
	snprintf(timeout, sizeof(timeout), "%dms", lock_timeout_ms);
	set_locally("lock_timeout", timeout);

	/* A lost transaction is repeated; a pass decides later if it may be. */
	if (kind != MRB_WORKER_XACT_PASS)
		mrb_worker_xact_async();
	else if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
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
	MemoryContextSwitchTo(caller);
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
