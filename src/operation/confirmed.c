/*-------------------------------------------------------------------------
 *
 * confirmed.c
 *	  Whether an operation that is seen can still be lost.
 *
 * A commit is confirmed to the client when the synchronous standby has it.  Others
 * see it then, too, but there are exceptions: after a crash the server makes
 * visible what nobody confirmed, and a standby shows what it has replayed without
 * asking whether another one is waited for.  A replay that returned such an
 * operation would confirm what a fail-over undoes.
 *
 * On a primary a replay waits until what is flushed by now is where commits have
 * to be, which costs nothing while no commit waits.
 *
 * A standby cannot wait.  It knows an operation to be confirmed when the
 * dispatcher has taken its work from the outbox, because the dispatcher sees it
 * only when the commit has ended.  And it has to be connected: a primary that was
 * demoted has its own operations until it is rewound, and nobody tells it which
 * of them are lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/errors.h"
#include "common/query.h"
#include "operation/as_of.h"
#include "operation/confirmed.h"

/* How often the wait looks, in milliseconds. */
#define LOOK_MS 5

static MrbQuery waiting_query = {
	.sql = "SELECT FROM miosa.outbox o WHERE o.deployment_id = $1 LIMIT 1",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

static void wait_for_standby(void);
static bool is_replicated(XLogRecPtr lsn);
static bool is_taken(const char *deployment_id);

/*
 * Wait, or refuse.
 */
void
mrb_confirmed_require(const char *deployment_id)
{
	if (!RecoveryInProgress())
		wait_for_standby();
	else if (!mrb_as_of_connected() || !is_taken(deployment_id))
		mrb_raise(MRB_ERR_NOT_PRIMARY, "this server is a standby",
				  "It does not know whether the operation of this key is confirmed.",
				  "Call the function on the primary.");
}

/*
 * Wait until the synchronous standbys have what is flushed, if commits of this
 * session wait for some.  This session's value of synchronous_standby_names does
 * not count: it may be older than the one that commits obey.
 */
static void
wait_for_standby(void)
{
	XLogRecPtr	lsn;

	if (!SyncRepRequested())
		return;
	lsn = GetFlushRecPtr(NULL);
	while (!is_replicated(lsn))
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_MS, WAIT_EVENT_SYNC_REP);
		ResetLatch(MyLatch);
	}
}

/*
 * Whether as many synchronous standbys as the setting asks for have WAL up to
 * there, or none is waited for.  The setting is the checkpointer's, as for a
 * commit, so that one that changes counts at once.
 */
static bool
is_replicated(XLogRecPtr lsn)
{
	int			mode = synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_WRITE ?
	SYNC_REP_WAIT_WRITE : SYNC_REP_WAIT_FLUSH;
	bool		replicated;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	replicated = !MRB_SYNC_STANDBYS_DEFINED() || WalSndCtl->lsn[mode] >= lsn;
	LWLockRelease(SyncRepLock);
	return replicated;
}

/*
 * Whether the dispatcher has taken all work of the deployment.
 */
static bool
is_taken(const char *deployment_id)
{
	Datum		arg = CStringGetTextDatum(deployment_id);
	bool		taken;

	mrb_query_open();
	taken = mrb_query_run(&waiting_query, &arg, NULL) == 0;
	mrb_query_close();
	return taken;
}
