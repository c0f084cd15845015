/*-------------------------------------------------------------------------
 *
 * reconcile.c
 *	  What deployments need becomes work for schedulers.
 *
 * What is asked for is no change of a route that has to be told once: it is
 * what the tables say now.  They are read when an operation has asked for it,
 * when something is about to be asked for that was read a while ago, and all
 * of them every capacity_interval.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/worker_xact.h"
#include "endpoint/endpoint_list.h"
#include "scheduler/reconcile.h"
#include "scheduler/scale_queue.h"

/* So many wants are read again in one transaction. */
#define STALE_MAX 500

/* Requests wait meanwhile; and after an error nothing is read for so long. */
#define LOCK_MS 100
#define PAUSE_MS 1000

static bool all_due = false;
static MrbTick not_before = 0;

static bool has_scheduler(void);
static void unlist(MrbEndpoint *endpoint, char **ids, int nids);
static void drop_unlisted(MrbEndpoint *endpoint, char **ids, int nids);
static void hand_to(MrbEndpoint *endpoint, const MrbCapacityRequest *needs, int n);
static bool selects(const MrbEndpoint *endpoint, const MrbCapacityRequest *need);
static void read_demand(void *arg);

void
mrb_reconcile_read(const MrbRouteChanges *taken, bool all, MrbReconcile *demand)
{
	MemSet(demand, 0, sizeof(MrbReconcile));
	demand->all = all;
	demand->ids = palloc(Max(taken->nchanges, 1) * sizeof(char *));
	for (int i = 0; i < taken->nchanges && !all; i++)
		if (taken->changes[i].kind == MRB_ROUTE_CHANGE_OTHER)
			demand->ids[demand->nids++] = taken->changes[i].deployment_id;
	if (all || (demand->nids > 0 && has_scheduler()))
		demand->needs = mrb_capacity_request_read(all ? NULL : demand->ids, demand->nids,
												  &demand->nneeds);
}

void
mrb_reconcile_enter(const MrbReconcile *demand)
{
	if (demand->all || demand->nids > 0)
		mrb_reconcile_apply(demand->all ? NULL : demand->ids, demand->nids,
							demand->needs, demand->nneeds);
}

void
mrb_reconcile_apply(char **ids, int nids, const MrbCapacityRequest *needs, int n)
{
	dlist_iter	iter;

	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (!endpoint->adapter->scheduler)
			continue;
		unlist(endpoint, ids, nids);
		for (int first = 0, next; first < n; first = next)
		{
			next = first + 1;
			while (next < n && strcmp(needs[next].deployment_id,
									  needs[first].deployment_id) == 0)
				next++;
			if (selects(endpoint, &needs[first]))
				hand_to(endpoint, &needs[first], next - first);
		}
		drop_unlisted(endpoint, ids, nids);
	}
}

void
mrb_reconcile_refresh(void)
{
	all_due = true;
}

void
mrb_reconcile_step(void)
{
	MrbReconcile demand = {0};

	if (mrb_timer_now() < not_before)
		return;
	demand.all = all_due && has_scheduler();
	all_due = false;
	if (!demand.all)
	{
		demand.ids = palloc(STALE_MAX * sizeof(char *));
		demand.nids = mrb_scale_queue_stale(demand.ids, STALE_MAX);
	}
	if (!demand.all && demand.nids == 0)
		return;
	if (mrb_worker_xact_try(read_demand, &demand, NULL))
		mrb_reconcile_enter(&demand);
	else
	{
		all_due = demand.all;
		not_before = mrb_tick_plus(mrb_timer_now(), PAUSE_MS);
	}
}

long
mrb_reconcile_wait(long most)
{
	char	   *id;

	if (!all_due && mrb_scale_queue_stale(&id, 1) == 0)
		return most;
	return Min(most, mrb_tick_ms(mrb_timer_read(), not_before));
}

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
 * What was wanted for these deployments, all without ids, is in doubt.
 */
static void
unlist(MrbEndpoint *endpoint, char **ids, int nids)
{
	dlist_iter	iter;

	if (ids == NULL)
	{
		dlist_foreach(iter, &endpoint->agenda.wants)
			dlist_container(MrbScaleEntry, node, iter.cur)->listed = false;
		return;
	}
	for (int i = 0; i < nids; i++)
	{
		MrbScaleEntry *want = mrb_scale_queue_find(endpoint, ids[i]);

		if (want != NULL)
			want->listed = false;
	}
}

/*
 * Of those nothing is wanted any more.
 */
static void
drop_unlisted(MrbEndpoint *endpoint, char **ids, int nids)
{
	dlist_mutable_iter iter;

	if (ids == NULL)
	{
		dlist_foreach_modify(iter, &endpoint->agenda.wants)
		{
			MrbScaleEntry *want = dlist_container(MrbScaleEntry, node, iter.cur);

			if (!want->listed)
				mrb_scale_queue_set(endpoint, want->deployment_id, NULL, 0);
		}
		return;
	}
	for (int i = 0; i < nids; i++)
	{
		MrbScaleEntry *want = mrb_scale_queue_find(endpoint, ids[i]);

		if (want != NULL && !want->listed)
			mrb_scale_queue_set(endpoint, want->deployment_id, NULL, 0);
	}
}

static void
hand_to(MrbEndpoint *endpoint, const MrbCapacityRequest *needs, int n)
{
	mrb_scale_queue_set(endpoint, needs[0].deployment_id, needs, n);
}

static bool
selects(const MrbEndpoint *endpoint, const MrbCapacityRequest *need)
{
	MrbRoute	route = {
		.deployment_id = need->deployment_id,
		.tenant_id = need->tenant_id,
		.deployment_kind = need->deployment_kind,
	};

	return mrb_endpoint_list_selects(endpoint, &route);
}

static void
read_demand(void *arg)
{
	MrbReconcile *demand = arg;

	mrb_worker_xact_begin(MRB_SESSION_RECORD, LOCK_MS);
	demand->needs = mrb_capacity_request_read(demand->all ? NULL : demand->ids,
											  demand->nids, &demand->nneeds);
	mrb_worker_xact_commit();
}
