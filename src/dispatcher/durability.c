/*-------------------------------------------------------------------------
 *
 * durability.c
 *	  Whether a pass has to be flushed before its changes are sent.
 *
 * An edge must not be sent what a crash can undo.  It is sent changes, and the
 * epoch of each.
 *
 * The changes are those of users' transactions.  These are flushed before
 * others see them, unless they commit asynchronously or do not wait for the
 * synchronous standby that others wait for.  Then the pass waits for them, by
 * committing as its session's synchronous_commit says.  A pass that cannot take
 * all work always waits, since the routes that it reads are the present ones,
 * and work that it leaves may have changed them.
 *
 * What a resync and a replay read (mrb_worker_xact_commit_read()) waits likewise.
 *
 * The epochs are the pass's own.  If the pass is lost, so is its deletion of
 * the work from the outbox: the next dispatcher takes the same changes again.
 * It must not give them lower epochs than those that edges have seen, because
 * an edge keeps the change with the higher epoch.  So it skips
 * MRB_EPOCHS_LOST_MAX epochs when the server has been started, and passes that
 * are not flushed yet never give more than these; nor does a pass that begins a
 * term or reads settings commit asynchronously.  Positions need no care: the
 * pass that gave an epoch precedes in WAL the position that refers to it.
 *
 * Without this an idle commit would reach the edges a flush later, and a client
 * that commits in a loop would cause two flushes a commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "replication/syncrep.h"

#include "common/worker_xact.h"
#include "dispatcher/durability.h"

static bool has_sync_standby(void);

/*
 * Let the pass commit asynchronously if nothing that is sent can be lost.
 */
void
mrb_durability_decide(MrbDurability *durability, const MrbRouteChanges *taken)
{
	XLogRecPtr	flushed = GetFlushRecPtr(NULL);

	if (durability->lsn <= flushed)
		durability->epochs = 0;
	durability->async = taken->lsn <= flushed && !has_sync_standby() &&
		durability->epochs + taken->nchanges <= MRB_EPOCHS_LOST_MAX;
	if (durability->async)
		mrb_worker_xact_async();
}

/*
 * Count the epochs of the pass until it is flushed.  A pass that committed
 * synchronously has flushed those before it.
 */
void
mrb_durability_committed(MrbDurability *durability,
						 const MrbRouteChanges *taken)
{
	durability->epochs = durability->async ?
		durability->epochs + taken->nchanges : 0;
	durability->lsn = durability->async ? XactLastCommitEnd : 0;
	durability->async = false;
}

/*
 * Whether commits wait for a standby.
 */
static bool
has_sync_standby(void)
{
	return SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
}
