/*-------------------------------------------------------------------------
 *
 * fanout.c
 *	  Route changes become work for endpoints.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/id_hash.h"
#include "delivery/fanout.h"
#include "delivery/queue.h"
#include "notify/listeners.h"

/* A deployment of these changes. */
typedef struct Concerned
{
	char	   *id;				/* hash key */
	MrbRoute   *picture;		/* NULL: it is gone */
	MrbRouteEntry *entry;
} Concerned;

static HTAB *index_routes(const MrbRouteChanges *taken);
static Concerned *enter_route(HTAB *index, const MrbRouteChange *change);
static void tell_stage(const MrbRouteChange *change, MrbRouteEntry *entry, int stage,
					   List *only);
static void tell(const MrbRouteChange *change, MrbRouteEntry *entry,
				 MrbEndpoint *endpoint, bool old);
static bool concerns(const MrbRouteChange *change, const MrbEndpoint *endpoint);

void
mrb_fanout_apply(const MrbRouteChanges *taken, List *only)
{
	HTAB	   *index = index_routes(taken);

	for (int i = 0; i < taken->nchanges; i++)
	{
		MrbRouteChange *change = &taken->changes[i];
		Concerned  *concerned;

		if (change->kind == MRB_ROUTE_CHANGE_OTHER)
			continue;
		concerned = enter_route(index, change);
		concerned->entry->users++;

		/* It may have been in flight when its endpoint was last dropped. */
		if (only != NIL)
			concerned->entry->confirm = true;

		/* Routers first: a cache waits for what a router owes by then. */
		for (int stage = 0; stage <= 1; stage++)
			tell_stage(change, concerned->entry, stage, only);
		if (only == NIL && change->kind == MRB_ROUTE_CHANGE_ROUTE)
			mrb_listeners_add(concerned->entry->route);
		concerned->entry->confirm = false;
		concerned->entry->users--;
		mrb_route_book_release(concerned->entry);
	}
	hash_destroy(index);
}

static HTAB *
index_routes(const MrbRouteChanges *taken)
{
	HTAB	   *index = mrb_id_hash_create("miosa_rollback changes",
										   Max(taken->nroutes, 16),
										   sizeof(Concerned));

	for (int i = 0; i < taken->nroutes; i++)
	{
		bool		found;
		Concerned  *concerned = hash_search(index,
											&taken->routes[i].deployment_id,
											HASH_ENTER, &found);

		concerned->picture = &taken->routes[i];
	}
	return index;
}

/*
 * Make the change's picture the present one, with the change's epoch.
 */
static Concerned *
enter_route(HTAB *index, const MrbRouteChange *change)
{
	bool		found;
	Concerned  *concerned = hash_search(index, &change->deployment_id,
										HASH_ENTER, &found);
	bool		removed = change->kind == MRB_ROUTE_CHANGE_HOST_REMOVED &&
	!change->routed;

	if (!found)
	{
		concerned->picture = palloc0(sizeof(MrbRoute));
		concerned->picture->deployment_id = change->deployment_id;
	}
	concerned->picture->epoch = change->epoch;
	concerned->picture->since = change->since;
	concerned->entry = mrb_route_book_enter(concerned->picture,
											(char **) &change->host, removed);
	return concerned;
}

/*
 * Tell the endpoints of one stage: all, or those of a list.
 */
static void
tell_stage(const MrbRouteChange *change, MrbRouteEntry *entry, int stage, List *only)
{
	ListCell   *cell;
	dlist_iter	iter;

	if (only == NIL)
	{
		mrb_endpoint_list_foreach(iter)
		{
			MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

			if (endpoint->stage == stage)
				tell(change, entry, endpoint, false);
		}
		return;
	}
	foreach(cell, only)
	{
		MrbEndpoint *endpoint = lfirst(cell);

		if (endpoint->stage == stage)
			tell(change, entry, endpoint, true);
	}
}

/*
 * old: the change was given out before, so the caches of the zone may have
 * stopped waiting for a router.
 */
static void
tell(const MrbRouteChange *change, MrbRouteEntry *entry, MrbEndpoint *endpoint,
	 bool old)
{
	if (!concerns(change, endpoint) ||
		!mrb_endpoint_list_selects(endpoint, entry->route))
		return;
	if (change->epoch > endpoint->progress.acked_epoch || !old)
	{
		mrb_queue_change(endpoint, entry, change->epoch);
		if (old && endpoint->stage == 0)
			mrb_queue_late(endpoint, entry);
	}
	else if (change->epoch > endpoint->progress.settled_epoch &&
			 endpoint->adapter->settle_ms > 0)
		mrb_queue_repeat(endpoint, entry, change->epoch);
}

static bool
concerns(const MrbRouteChange *change, const MrbEndpoint *endpoint)
{
	if (endpoint->adapter->scheduler)
		return false;
	if (change->kind != MRB_ROUTE_CHANGE_REPURGE)
		return true;
	return endpoint->stage == 1 &&
		strcmp(endpoint->zone->name, change->host) == 0;
}
