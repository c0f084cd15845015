/*-------------------------------------------------------------------------
 *
 * fanout.c
 *	  Turn route changes into items of endpoints.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/id_hash.h"
#include "delivery/edge_times.h"
#include "delivery/fanout.h"
#include "delivery/queue.h"
#include "notify/listeners.h"

/* A deployment that some of the changes are about. */
typedef struct ChangedDeployment
{
	char	   *id;				/* hash key */
	MrbRoute   *route;			/* the present route */
	MrbRouteEntry *entry;
} ChangedDeployment;

static void follow_takers(const MrbRouteChanges *changes, const MrbRouteChange *change,
						  MrbRouteEntry *entry, List *only);
static HTAB *index_routes(const MrbRouteChanges *changes);
static ChangedDeployment *enter_route(HTAB *index, const MrbRouteChange *change);
static void queue_stage(const MrbRouteChange *change, MrbRouteEntry *entry, int stage,
						List *only);
static void queue_change(const MrbRouteChange *change, MrbRouteEntry *entry,
						 MrbEndpoint *endpoint, bool replayed);
static bool concerns(const MrbRouteChange *change, const MrbEndpoint *endpoint);

/*
 * Enter each change into the route book, and queue it stage by stage.
 */
void
mrb_fanout_apply(const MrbRouteChanges *changes, List *only)
{
	HTAB	   *index = index_routes(changes);

	for (int i = 0; i < changes->nchanges; i++)
	{
		MrbRouteChange *change = &changes->changes[i];
		ChangedDeployment *deployment;

		if (change->kind == MRB_ROUTE_CHANGE_OTHER)
			continue;
		deployment = enter_route(index, change);
		deployment->entry->users++;

		/* A request may have been in flight when the endpoint was dropped. */
		if (only != NIL)
			deployment->entry->confirm = true;

		if (change->given != NIL)
			follow_takers(changes, change, deployment->entry, only);

		/* Routers first: caches wait for items of routers that exist. */
		if (only == NIL && change->kind == MRB_ROUTE_CHANGE_ROUTE)
			mrb_edge_times_begin(deployment->entry, change);
		for (int stage = 0; stage <= 1; stage++)
			queue_stage(change, deployment->entry, stage, only);
		mrb_edge_times_end(deployment->entry);
		if (only == NIL && change->kind == MRB_ROUTE_CHANGE_ROUTE)
			mrb_listeners_add(deployment->entry->route);
		deployment->entry->confirm = false;
		deployment->entry->users--;
		mrb_route_book_release(deployment->entry);
	}
	hash_destroy(index);
}

/*
 * Have routers that are sent whole routes get the hosts that the deployment has
 * lost from their new deployments first.  These changes come before this one.
 */
static void
follow_takers(const MrbRouteChanges *changes, const MrbRouteChange *change,
			  MrbRouteEntry *entry, List *only)
{
	ListCell   *cell;
	dlist_iter	iter;

	foreach(cell, change->given)
	{
		for (int i = 0; i < changes->nroutes; i++)
		{
			MrbRouteEntry *taker;

			if (!mrb_route_has_host(&changes->routes[i], lfirst(cell)))
				continue;
			taker = mrb_route_book_find(changes->routes[i].deployment_id);
			if (taker == NULL || taker == entry)
				continue;
			mrb_endpoint_list_foreach(iter)
			{
				MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

				if (only != NIL && (!list_member_ptr(only, endpoint) ||
									change->epoch <= endpoint->progress.acked_epoch))
					continue;
				if (endpoint->stage == 0 && !endpoint->adapter->per_host &&
					concerns(change, endpoint) &&
					mrb_endpoint_list_selects(endpoint, entry->route))
					mrb_queue_follow(endpoint, entry, taker);
			}
		}
	}
}

/*
 * A hash table of the routes that came with the changes.
 */
static HTAB *
index_routes(const MrbRouteChanges *changes)
{
	HTAB	   *index = mrb_id_hash_create("miosa_rollback changes",
										   Max(changes->nroutes, 16),
										   sizeof(ChangedDeployment));

	for (int i = 0; i < changes->nroutes; i++)
	{
		bool		found;
		ChangedDeployment *deployment = hash_search(index,
													&changes->routes[i].deployment_id,
													HASH_ENTER, &found);

		deployment->route = &changes->routes[i];
	}
	return index;
}

/*
 * Make the route of the change the present one, with the epoch of the
 * change.  A deployment without a route was deleted.
 */
static ChangedDeployment *
enter_route(HTAB *index, const MrbRouteChange *change)
{
	bool		found;
	ChangedDeployment *deployment = hash_search(index, &change->deployment_id,
												HASH_ENTER, &found);
	bool		removed = change->kind == MRB_ROUTE_CHANGE_HOST_REMOVED &&
	!change->routed;

	if (!found)
	{
		deployment->route = palloc0(sizeof(MrbRoute));
		deployment->route->deployment_id = change->deployment_id;
	}
	deployment->route->epoch = change->epoch;
	deployment->route->since = change->since;
	deployment->entry = mrb_route_book_enter(deployment->route,
											 (char **) &change->host, removed);
	return deployment;
}

/*
 * Queue the change for the endpoints of one stage: all, or those of a list.
 */
static void
queue_stage(const MrbRouteChange *change, MrbRouteEntry *entry, int stage, List *only)
{
	ListCell   *cell;
	dlist_iter	iter;

	if (only == NIL)
	{
		mrb_endpoint_list_foreach(iter)
		{
			MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

			if (endpoint->stage == stage)
				queue_change(change, entry, endpoint, false);
		}
		return;
	}
	foreach(cell, only)
	{
		MrbEndpoint *endpoint = lfirst(cell);

		if (endpoint->stage == stage)
			queue_change(change, entry, endpoint, true);
	}
}

/*
 * Queue the change for one endpoint.  The caches of the zone may have stopped
 * waiting for a router when the change is replayed.
 */
static void
queue_change(const MrbRouteChange *change, MrbRouteEntry *entry, MrbEndpoint *endpoint,
			 bool replayed)
{
	if (!concerns(change, endpoint) ||
		!mrb_endpoint_list_selects(endpoint, entry->route))
		return;
	if (change->epoch > endpoint->progress.acked_epoch || !replayed)
	{
		mrb_queue_change(endpoint, entry, change->epoch);
		if (replayed && endpoint->stage == 0)
			mrb_queue_late(endpoint, entry);
	}
	else if (change->epoch > endpoint->progress.settled_epoch &&
			 endpoint->adapter->settle_ms > 0)
		mrb_queue_repeat(endpoint, entry, change->epoch);
}

/*
 * Whether the endpoint needs the change at all: what has another role may receive
 * no routes, and a repeated purge is for the caches of one zone.
 */
static bool
concerns(const MrbRouteChange *change, const MrbEndpoint *endpoint)
{
	if (!endpoint->adapter->routes)
		return false;
	if (change->kind != MRB_ROUTE_CHANGE_REPURGE)
		return true;
	return endpoint->stage == 1 &&
		strcmp(endpoint->zone->name, change->host) == 0;
}
