/*-------------------------------------------------------------------------
 *
 * reconcile.c
 *	  Brings the queues of schedulers in line with the capacity requests in
 *	  the tables.
 *
 * Unlike a route change, a capacity request is a state and not an event: what
 * counts is what the tables say now.  They are read when an operation has
 * queued a deployment, when an entry that is about to be sent was read too
 * long ago, and for all deployments after each capacity pass.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/worker_xact.h"
#include "endpoint/endpoint_list.h"
#include "scheduler/reconcile.h"
#include "scheduler/scale_queue.h"

/* Stale deployments that one transaction reads again. */
#define STALE_MAX 500

/* Requests wait while a transaction waits for a lock. */
#define LOCK_MS 100

/* After an error nothing is read for this long. */
#define PAUSE_MS 1000

static bool has_scheduler(void);
static void unlist(MrbScaling *scaling, MrbEndpoint *endpoint, char **ids,
				   int nids);
static void drop_unlisted(MrbScaling *scaling, MrbEndpoint *endpoint,
						  char **ids, int nids);
static bool selects(const MrbEndpoint *endpoint,
					const MrbCapacityRequest *request);
static void read_requests(void *arg);

/*
 * In the transaction of a pass: read the requests of the deployments whose
 * capacity was queued.  Without a scheduler there is nothing to send, but the
 * ids still say that a deadline has begun.
 */
void
mrb_reconcile_read(const MrbRouteChanges *taken, bool all,
				   MrbReconcile *reconcile)
{
	MemSet(reconcile, 0, sizeof(MrbReconcile));
	reconcile->all = all;
	reconcile->ids = palloc(Max(taken->nchanges, 1) * sizeof(char *));
	for (int i = 0; i < taken->nchanges && !all; i++)
		if (taken->changes[i].kind == MRB_ROUTE_CHANGE_OTHER)
			reconcile->ids[reconcile->nids++] = taken->changes[i].deployment_id;
	if (all || (reconcile->nids > 0 && has_scheduler()))
		reconcile->requests = mrb_capacity_request_read(all ? NULL : reconcile->ids,
														reconcile->nids,
														&reconcile->nrequests);
}

/*
 * After the commit: queue what was read.
 */
void
mrb_reconcile_enter(MrbScaling *scaling, const MrbReconcile *reconcile)
{
	if (reconcile->all || reconcile->nids > 0)
		mrb_reconcile_apply(scaling, reconcile->all ? NULL : reconcile->ids,
							reconcile->nids, reconcile->requests,
							reconcile->nrequests);
}

/*
 * Set the entries of these deployments, in each scheduler that selects them,
 * to the n requests.  Entries of these deployments that no request renews are
 * dropped: nothing is requested of that scheduler any more.
 */
void
mrb_reconcile_apply(MrbScaling *scaling, char **ids, int nids,
					const MrbCapacityRequest *requests,
					int n)
{
	dlist_iter	iter;

	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (!endpoint->adapter->scheduler)
			continue;
		unlist(scaling, endpoint, ids, nids);
		for (int first = 0, next; first < n; first = next)
		{
			next = first + 1;
			while (next < n && strcmp(requests[next].deployment_id,
									  requests[first].deployment_id) == 0)
				next++;
			if (selects(endpoint, &requests[first]))
				mrb_scale_queue_set(scaling, endpoint, requests[first].deployment_id,
									&requests[first], next - first);
		}
		drop_unlisted(scaling, endpoint, ids, nids);
	}
}

/*
 * Have the next step read the requests of all deployments.
 */
void
mrb_reconcile_refresh(MrbScaling *scaling)
{
	scaling->reconcile.all_due = true;
}

/*
 * Read and queue again what is due: all deployments, or the stale entries.
 */
void
mrb_reconcile_step(MrbScaling *scaling)
{
	MrbReconcile reconcile = {0};

	if (mrb_timer_now() < scaling->reconcile.not_before)
		return;
	reconcile.all = scaling->reconcile.all_due && has_scheduler();
	scaling->reconcile.all_due = false;
	if (!reconcile.all)
	{
		reconcile.ids = palloc(STALE_MAX * sizeof(char *));
		reconcile.nids = mrb_scale_queue_stale(scaling, reconcile.ids, STALE_MAX);
	}
	if (!reconcile.all && reconcile.nids == 0)
		return;
	if (mrb_worker_xact_try(read_requests, &reconcile, NULL))
		mrb_reconcile_enter(scaling, &reconcile);
	else
	{
		scaling->reconcile.all_due = reconcile.all;
		scaling->reconcile.not_before = mrb_timer_add_ms(mrb_timer_now(), PAUSE_MS);
	}
}

/*
 * Bound the wait of the loop by the time of the next step.
 */
long
mrb_reconcile_wait(MrbScaling *scaling, long most)
{
	char	   *id;

	if (!scaling->reconcile.all_due && mrb_scale_queue_stale(scaling, &id, 1) == 0)
		return most;
	return Min(most, mrb_timer_ms_between(mrb_timer_read(), scaling->reconcile.not_before));
}

/*
 * Whether any endpoint is a scheduler.
 */
static bool
has_scheduler(void)
{
	dlist_iter	iter;

	mrb_endpoint_list_foreach(iter)
		if (mrb_endpoint_list_current(iter)->adapter->scheduler)
		return true;
	return false;
}

/*
 * Mark the endpoint's entries of these deployments (ids NULL: of all) as not
 * renewed by this reading.
 */
static void
unlist(MrbScaling *scaling, MrbEndpoint *endpoint, char **ids, int nids)
{
	dlist_iter	iter;

	if (ids == NULL)
	{
		dlist_foreach(iter, &endpoint->scale.entries)
			dlist_container(MrbScaleEntry, node, iter.cur)->listed = false;
		return;
	}
	for (int i = 0; i < nids; i++)
	{
		MrbScaleEntry *entry = mrb_scale_queue_find(scaling, endpoint, ids[i]);

		if (entry != NULL)
			entry->listed = false;
	}
}

/*
 * Drop the entries of these deployments that the reading did not renew.
 */
static void
drop_unlisted(MrbScaling *scaling, MrbEndpoint *endpoint, char **ids, int nids)
{
	dlist_mutable_iter iter;

	if (ids == NULL)
	{
		dlist_foreach_modify(iter, &endpoint->scale.entries)
		{
			MrbScaleEntry *entry = dlist_container(MrbScaleEntry, node, iter.cur);

			if (!entry->listed)
				mrb_scale_queue_set(scaling, endpoint, entry->deployment_id, NULL, 0);
		}
		return;
	}
	for (int i = 0; i < nids; i++)
	{
		MrbScaleEntry *entry = mrb_scale_queue_find(scaling, endpoint, ids[i]);

		if (entry != NULL && !entry->listed)
			mrb_scale_queue_set(scaling, endpoint, entry->deployment_id, NULL, 0);
	}
}

/*
 * Whether the endpoint's selector matches the deployment of the request.
 */
static bool
selects(const MrbEndpoint *endpoint, const MrbCapacityRequest *request)
{
	MrbRoute	route = {
		.deployment_id = request->deployment_id,
		.tenant_id = request->tenant_id,
		.deployment_kind = request->deployment_kind,
	};

	return mrb_endpoint_list_selects(endpoint, &route);
}

/*
 * The transaction of a step.
 */
static void
read_requests(void *arg)
{
	MrbReconcile *reconcile = arg;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	reconcile->requests = mrb_capacity_request_read(reconcile->all ? NULL : reconcile->ids,
													reconcile->nids,
													&reconcile->nrequests);
	mrb_worker_xact_commit();
}
