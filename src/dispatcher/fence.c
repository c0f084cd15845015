/*-------------------------------------------------------------------------
 *
 * fence.c
 *	  Whether this may be a primary no more, because it did not run for a while.
 *
 * A server that is stopped (SIGSTOP, a virtual machine that is paused) and goes on
 * later does not know that another one was promoted meanwhile.  Until its cluster
 * manager ends it, its dispatcher would send what it has queued, and edges that do
 * not compare epochs would go back to old routes.
 *
 * The dispatcher notices by the monotonic clock that it did not run.  It then
 * commits a transaction before it sends anything.  With synchronous replication
 * that waits for a standby, which the server has no more if another one was
 * promoted.  A slow machine costs a commit now and then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"

#include "common/worker_xact.h"
#include "dispatcher/fence.h"
#include "dispatcher/term.h"

/*
 * A turn of the loop waits less than half a second.  Cluster managers take ten and
 * more to replace a primary.
 */
#define STOPPED_MS 2000

/* A transaction that failed is retried after this. */
#define RETRY_MS 100

/* Requests wait while the transaction waits for a lock. */
#define LOCK_MS 100

static void commit_write(void *arg);

/*
 * Note that the process runs; raise the fence if it did not for a while.
 */
bool
mrb_fence_check(MrbFence *fence)
{
	MrbTick		now = mrb_timer_read();

	if (fence->seen != 0 && mrb_timer_passed(fence->seen, now, STOPPED_MS))
		fence->raised = true;
	fence->seen = now;
	return fence->raised;
}

/*
 * Commit, and lower the fence.  If that fails, wait a little.
 */
void
mrb_fence_lower(MrbFence *fence)
{
	int			sqlstate = 0;

	if (mrb_worker_xact_try(commit_write, NULL, &sqlstate))
		fence->raised = false;
	else
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 RETRY_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	fence->seen = mrb_timer_read();
}

/*
 * Write dispatcher_state, so that the commit waits for the synchronous standby.
 */
static void
commit_write(void *arg)
{
	MrbTerm		term;

	mrb_worker_xact_begin(MRB_WORKER_XACT_PASS, LOCK_MS);
	if (OidIsValid(mrb_worker_xact_extension()))
		(void) mrb_term_advance(0, &term);
	mrb_worker_xact_commit();
}
