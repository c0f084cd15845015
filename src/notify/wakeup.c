/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Telling the dispatcher, at commit, that there is work.
 *
 * A wish is remembered with the depth of the subtransaction that had it: when
 * that is rolled back the wish is forgotten, when it is released the wish
 * moves to its parent.  At commit the latch is set once, after the rows have
 * become visible to others, so that the dispatcher never looks too early.
 *
 * Where no dispatcher runs, listeners are notified by the transaction itself,
 * as late as possible: only then is it known whether it is prepared, which a
 * NOTIFY would forbid, and whether the queue has room.  Who cannot be notified
 * is not: that must never fail somebody's rollback.
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

/* After so many changes listeners are told to read everything. */
#define NOTICES_MAX 100

/* What listeners will be told. */
typedef struct Notice
{
	int			depth;			/* of the subtransaction */
	char	   *payload;
} Notice;

/* Depth of the subtransaction that had the wish; 0: nobody has it. */
static int	wake_depth = 0;
static int	request_depth = 0;

static List *notices = NIL;
static bool too_many = false;	/* of them */

static bool warned = false;		/* once in a transaction is enough */
static bool callbacks_registered = false;

static MrbQuery has_endpoints = {
	.sql = "SELECT EXISTS (SELECT 1 FROM miosa.endpoints WHERE enabled)"
};

static bool dispatcher_running(void);
static void register_callbacks(void);
static void remember(int *depth);
static void at_xact_end(XactEvent event, void *arg);
static void at_subxact_end(SubXactEvent event, SubTransactionId mySubid,
						   SubTransactionId parentSubid, void *arg);
static void subxact_moved(int *depth, bool aborted);
static void notices_moved(bool aborted);
static void remember_notice(const char *deployment_id,
							const char *version_id);
static void notify_listeners(void);
static void warn_if_nobody_tells(void);

/*
 * Whether this database has a dispatcher that will tell edges; one that is
 * stopped or stuck will not.
 */
static bool
dispatcher_running(void)
{
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

	return slot != NULL && slot->pid != 0 && !mrb_registry_stalled(slot) &&
		(slot->state == MRB_DISPATCHER_RUNNING ||
		 slot->state == MRB_DISPATCHER_STARTING);
}

/*
 * Whether somebody should be told and nobody does it.
 */
bool
mrb_wakeup_untold(void)
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

void
mrb_wakeup_dispatcher(const char *deployment_id, const char *version_id)
{
	if (mrb_registry_available())
		remember(&wake_depth);
	if (dispatcher_running())
		return;
	if (deployment_id != NULL)
		remember_notice(deployment_id, version_id);
	warn_if_nobody_tells();
}

void
mrb_wakeup_request_dispatcher(void)
{
	if (mrb_registry_available())
		remember(&request_depth);
}

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
 * Remember a wish of the present subtransaction.
 */
static void
remember(int *depth)
{
	int			here = GetCurrentTransactionNestLevel();

	register_callbacks();
	if (*depth == 0 || here < *depth)
		*depth = here;
}

/*
 * Fulfil the wishes at commit, forget them at any other end.  Prepared
 * transactions commit without us: the dispatcher finds their work by polling.
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
				mrb_registry_ask_for_dispatcher(MyDatabaseId);
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
 * The subtransaction of the present depth ends.
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
 * The same for what listeners are told, the newest of which comes last.
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
 * What the dispatcher would have said.  It has no epoch: nobody gives one.
 */
static void
remember_notice(const char *deployment_id, const char *version_id)
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
 * One message a change, or one without a deployment: read everything.
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
 * Warn once in a transaction.
 */
static void
warn_if_nobody_tells(void)
{
	if (warned)
		return;
	warned = true;
	if (mrb_wakeup_untold())
		ereport(WARNING,
				(errmsg_internal("%s", MRB_WAKE_UNTOLD_MESSAGE),
				 errhint("%s", mrb_function_name_qualify(MRB_WAKE_UNTOLD_HINT))));
}
