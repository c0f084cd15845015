/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Wake the dispatcher when a transaction with work commits.
 *
 * A request to wake it is recorded with the depth of its subtransaction: a
 * rollback of the subtransaction drops it, a release moves it to the parent.  At
 * commit the latch is set once, after the rows have become visible to others, so
 * that the dispatcher never reads too early.
 *
 * Where no dispatcher runs, the transaction itself notifies listeners, just
 * before its commit.  Only then is it known whether the transaction is prepared,
 * which NOTIFY would prevent, and whether the queue has room.  Without room no
 * notification is sent, because it must not fail the user's transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/function_name.h"
#include "base/miosa_rollback.h"
#include "common/query.h"
#include "common/registry.h"
#include "notify/channel.h"
#include "notify/payload.h"
#include "notify/wakeup.h"

/* More changes are sent as one notification to read everything. */
#define NOTICES_MAX 100

/* A notification to send at commit. */
typedef struct Notice
{
	int			depth;			/* of the subtransaction */
	char	   *payload;
} Notice;

/* Depth of the outermost subtransaction with a request; 0: no request. */
static int	wake_depth = 0;
static int	request_depth = 0;

static List *notices = NIL;
static bool too_many = false;	/* notices to send one by one */

static bool warned = false;		/* in this transaction */
static bool callbacks_registered = false;

static MrbQuery has_endpoints = {
	.sql = "SELECT EXISTS (SELECT 1 FROM miosa.endpoints WHERE enabled)"
};

static bool dispatcher_running(void);
static void register_callbacks(void);
static void record_request(int *depth);
static void at_xact_end(XactEvent event, void *arg);
static void at_subxact_end(SubXactEvent event, SubTransactionId mySubid,
						   SubTransactionId parentSubid, void *arg);
static void subxact_moved(int *depth, bool aborted);
static void notices_moved(bool aborted);
static void add_notice(const char *deployment_id,
					   const char *version_id);
static void notify_listeners(void);
static void warn_if_not_running(void);

/*
 * Whether this database has a dispatcher that delivers changes, and that is not
 * stalled.  One that CREATE EXTENSION has just requested counts.
 */
static bool
dispatcher_running(void)
{
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

	if (slot == NULL || mrb_registry_stalled(slot))
		return false;
	if (slot->pid != 0 && (slot->state == MRB_DISPATCHER_RUNNING ||
						   slot->state == MRB_DISPATCHER_STARTING))
		return true;
	/* The predecessor, which has found no extension, may not have ended yet. */
	return slot->requested && slot->state != MRB_DISPATCHER_PAUSED &&
		mrb_registry_launcher_is_alive();
}

/*
 * Whether there are endpoints and no dispatcher that delivers changes to them.
 */
bool
mrb_wakeup_undelivered(void)
{
	bool		some;

	if (dispatcher_running())
		return false;
	mrb_query_open();
	(void) mrb_query_run(&has_endpoints, NULL, NULL);
	some = mrb_query_bool(0, 1);
	mrb_query_close();
	return some;
}

/*
 * Wake the dispatcher at commit, or else arrange for notifications and a warning.
 */
void
mrb_wakeup_dispatcher(const char *deployment_id, const char *version_id)
{
	if (mrb_registry_available())
		record_request(&wake_depth);
	if (dispatcher_running())
		return;
	if (deployment_id != NULL)
		add_notice(deployment_id, version_id);
	warn_if_not_running();
}

/*
 * Request a dispatcher for this database at commit.
 */
void
mrb_wakeup_request_dispatcher(void)
{
	if (mrb_registry_available())
		record_request(&request_depth);
}

/*
 * Register the callbacks, once in a session.
 */
static void
register_callbacks(void)
{
	if (callbacks_registered)
		return;
	RegisterXactCallback(at_xact_end, NULL);
	RegisterSubXactCallback(at_subxact_end, NULL);
	callbacks_registered = true;
}

/*
 * Record a request of the current subtransaction.
 */
static void
record_request(int *depth)
{
	int			here = GetCurrentTransactionNestLevel();

	register_callbacks();
	if (*depth == 0 || here < *depth)
		*depth = here;
}

/*
 * Act on the requests at commit, and drop them at any other end.  COMMIT PREPARED
 * runs no callback of this transaction: the dispatcher finds its work by polling.
 */
static void
at_xact_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			notify_listeners();
			return;
		case XACT_EVENT_COMMIT:
			if (wake_depth > 0)
			{
				MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

				if (slot != NULL)
					mrb_registry_wake(slot);
			}
			if (request_depth > 0)
				mrb_registry_request_dispatcher(MyDatabaseId);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	wake_depth = 0;
	request_depth = 0;
	notices = NIL;				/* their memory was the transaction's */
	too_many = false;
	warned = false;
}

/*
 * Drop or move the requests of a subtransaction that ends.
 */
static void
at_subxact_end(SubXactEvent event, SubTransactionId mySubid,
			   SubTransactionId parentSubid, void *arg)
{
	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	subxact_moved(&wake_depth, event == SUBXACT_EVENT_ABORT_SUB);
	subxact_moved(&request_depth, event == SUBXACT_EVENT_ABORT_SUB);
	notices_moved(event == SUBXACT_EVENT_ABORT_SUB);
}

/*
 * Drop the request of a subtransaction that ends, or move it to the parent.
 */
static void
subxact_moved(int *depth, bool aborted)
{
	int			here = GetCurrentTransactionNestLevel();

	if (*depth < here)
		return;
	*depth = aborted ? 0 : here - 1;
}

/*
 * Drop or move the notices of a subtransaction that ends; the newest are last.
 */
static void
notices_moved(bool aborted)
{
	int			here = GetCurrentTransactionNestLevel();

	for (int i = list_length(notices) - 1; i >= 0; i--)
	{
		Notice	   *notice = list_nth(notices, i);

		if (notice->depth < here)
			break;
		if (aborted)
			notices = list_delete_nth_cell(notices, i);
		else
			notice->depth = here - 1;
	}
}

/*
 * Add the notification that the dispatcher would send, but without an epoch, which
 * only the dispatcher assigns.
 */
static void
add_notice(const char *deployment_id, const char *version_id)
{
	MemoryContext old;
	Notice	   *notice;

	if (list_length(notices) >= NOTICES_MAX)
		too_many = true;
	if (too_many)
		return;
	register_callbacks();
	old = MemoryContextSwitchTo(TopTransactionContext);
	notice = palloc(sizeof(Notice));
	notice->depth = GetCurrentTransactionNestLevel();
	notice->payload = mrb_payload_route(0, deployment_id, version_id);
	if (mrb_channel_fits(notice->payload))
		notices = lappend(notices, notice);
	else
		too_many = true;
	MemoryContextSwitchTo(old);
}

/*
 * Notify listeners of each change, or once without a deployment, which means to
 * read everything.
 */
static void
notify_listeners(void)
{
	ListCell   *cell;

	if ((notices == NIL && !too_many) || !mrb_channel_has_room())
		return;
	if (too_many)
	{
		mrb_channel_notify(mrb_payload_route(0, NULL, NULL));
		return;
	}
	foreach(cell, notices)
		mrb_channel_notify(((Notice *) lfirst(cell))->payload);
}

/*
 * Warn, once in a transaction, that changes are not delivered.
 */
static void
warn_if_not_running(void)
{
	if (warned)
		return;
	warned = true;
	if (mrb_wakeup_undelivered())
		ereport(WARNING,
				(errmsg_internal("%s", MRB_WAKEUP_UNDELIVERED_MESSAGE),
				 errhint("%s", mrb_function_name_qualify(MRB_WAKEUP_UNDELIVERED_HINT))));
}
