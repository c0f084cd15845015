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

/* The same error is not logged again sooner. */
#define LOG_AGAIN_MS 60000

/* Longest message that is kept. */
#define ERROR_MAX 256

static Oid	known_extension = InvalidOid;
static bool trying = false;		/* errors are caught */
static bool dropped = false;	/* as the last transaction has found it */
static char last_error[ERROR_MAX] = "";

static void set_locally(const char *name, const char *value);
static bool lock_extension(void);
static void log_error(ErrorData *error);

void
mrb_worker_xact_begin(MrbWorkerXactKind kind, int lock_timeout_ms)
{
	MemoryContext caller = CurrentMemoryContext;
	char		timeout[32];

	dropped = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();

	/* What is read outlives the transaction. */
	MemoryContextSwitchTo(caller);
	if (kind == MRB_SESSION_PASS)
		XactIsoLevel = XACT_REPEATABLE_READ;
	snprintf(timeout, sizeof(timeout), "%dms", lock_timeout_ms);
	set_locally("lock_timeout", timeout);
	/* What is lost of these is done again; what has epochs must not be lost. */
	if (kind != MRB_SESSION_PASS)
		set_locally("synchronous_commit", "off");
	else if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		set_locally("synchronous_commit", "local");
	if (kind == MRB_SESSION_NOTIFY)
		return;
	if (!lock_extension())
	{
		/* The launcher finds out whether there is another one. */
		if (!trying)
			proc_exit(0);
		if (kind != MRB_SESSION_PASS)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("extension \"%s\" was dropped", MRB_EXTENSION)));
	}
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
mrb_worker_xact_commit(void)
{
	MemoryContext caller = CurrentMemoryContext;

	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
}

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

const char *
mrb_worker_xact_error(void)
{
	return last_error;
}

Oid
mrb_worker_xact_extension(void)
{
	return get_extension_oid(MRB_EXTENSION, true);
}

/*
 * SET LOCAL.
 */
static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * DROP EXTENSION locks the extension first and then its objects, in an order
 * of its own.  So whoever has the extension locked is not in its way, and it
 * is not in theirs: without this the two deadlock over the tables.
 *
 * False when the extension that this process has begun with is not there any
 * more, be it that another one is: its tables must not be touched.
 */
static bool
lock_extension(void)
{
	Oid			extension = mrb_worker_xact_extension();

	if (OidIsValid(extension))
	{
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);

		/* It may have been dropped while this waited. */
		extension = mrb_worker_xact_extension();
	}
	if (!OidIsValid(known_extension))
		known_extension = extension;
	dropped = !OidIsValid(extension) || extension != known_extension;
	return !dropped;
}

/*
 * Losing a race and waiting for somebody's lock are in the day's work.
 */
static void
log_error(ErrorData *error)
{
	static int	last_code = 0;
	static MrbTick last_logged = 0;
	MrbTick		now = mrb_timer_read();
	const char *message = error->message ? error->message : "";
	int			len = pg_mbcliplen(message, strlen(message),
								   sizeof(last_error) - 1);

	memcpy(last_error, message, len);
	last_error[len] = '\0';
	if (error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE || dropped)
		return;
	if (error->sqlerrcode == last_code &&
		!mrb_tick_exceeds(last_logged, now, LOG_AGAIN_MS))
		return;
	last_code = error->sqlerrcode;
	last_logged = now;
	ereport(LOG,
			(errmsg("%s", error->message),
			 error->detail ? errdetail("%s", error->detail) : 0,
			 errcontext("%s", error->context ? error->context : "")));
}
