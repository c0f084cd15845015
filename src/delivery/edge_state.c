/*-------------------------------------------------------------------------
 *
 * edge_state.c
 *	  The state of an endpoint with the present route of one deployment.
 *
 * This is the one place that decides it, for miosa_convergence(),
 * miosa_wait_converged(), miosa.status() and all that count edges.  The first
 * line that applies is the state:
 *
 *	excluded		it is disabled
 *	verified		acknowledged, and its marker was read back
 *	settled			acknowledged, and the purge was repeated
 *	acknowledged	its position has reached the change, and nothing in
 *					is_plain() says that the position is not the whole truth
 *	expired			a cache whose pages have outlived route_ttl since its
 *					routers had the route
 *	failed			it refuses this deployment, and takes others
 *	backing off, misconfigured, gone, unverified
 *					its health: it takes nothing
 *	resyncing		it is sent all routes, and this one is to come
 *	waiting			the change is on its way
 *
 * Done are verified, settled, acknowledged and expired.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/miosa_rollback.h"
#include "common/id_hash.h"
#include "delivery/edge_state.h"

/* The enabled routers of a zone together. */
typedef struct ZoneRouters
{
	const char *zone;
	bool		acknowledged;	/* all have */
	TimestampTz acked_at;		/* when the last one did; 0: not known */
} ZoneRouters;

static void judge_alone(const MrbEdgeChange *change, MrbEdge *edge);
static bool is_plain(const MrbEdgeChange *change, const MrbEdge *edge);
static MrbEdgeState state_by_position(const MrbEdge *edge);
static MrbEdgeState state_without(const MrbEdgeChange *change,
								  const MrbEdge *edge);
static const char *find_error(const MrbEdgeChange *change, const MrbEdge *edge);
static bool is_queued(const MrbEdgeChange *change, const MrbEdge *edge);
static bool is_resyncing(const MrbEdgeChange *change, const MrbEdge *edge);
static MrbHealth get_health(const MrbEdge *edge);
static bool may_expire(const MrbEdgeChange *change, const MrbEdge *edge,
					   TimestampTz now);
static HTAB *sum_routers(const MrbEdge *edges, int n);
static bool routers_let_expire(const MrbEdgeChange *change, HTAB *zones,
							   const MrbEdge *edge, TimestampTz now);
static bool ttl_is_over(const MrbEdgeChange *change, TimestampTz since,
						TimestampTz now);

/*
 * Judge each endpoint alone, then caches that may have expired by the routers
 * of their zone.
 */
void
mrb_edge_state_judge(const MrbEdgeChange *change, MrbEdge *edges, int n,
					 TimestampTz now)
{
	HTAB	   *zones = NULL;

	for (int i = 0; i < n; i++)
		judge_alone(change, &edges[i]);
	for (int i = 0; i < n; i++)
	{
		if (!may_expire(change, &edges[i], now))
			continue;
		if (zones == NULL)
			zones = sum_routers(edges, n);
		if (!routers_let_expire(change, zones, &edges[i], now))
			continue;
		edges[i].state = MRB_EDGE_EXPIRED;
		edges[i].done = true;
		edges[i].behind = false;
	}
}

/*
 * The state as functions and views print it.
 */
const char *
mrb_edge_state_name(MrbEdgeState state)
{
	static const char *const names[] = {
		[MRB_EDGE_EXCLUDED] = "excluded",
		[MRB_EDGE_VERIFIED] = "verified",
		[MRB_EDGE_SETTLED] = "settled",
		[MRB_EDGE_ACKNOWLEDGED] = "acknowledged",
		[MRB_EDGE_EXPIRED] = "expired",
		[MRB_EDGE_FAILED] = "failed",
		[MRB_EDGE_BACKING_OFF] = "backing off",
		[MRB_EDGE_MISCONFIGURED] = "misconfigured",
		[MRB_EDGE_GONE] = "gone",
		[MRB_EDGE_UNVERIFIED] = "unverified",
		[MRB_EDGE_RESYNCING] = "resyncing",
		[MRB_EDGE_WAITING] = "waiting",
	};

	return names[state];
}

/*
 * Judge an endpoint without regard to time.
 */
static void
judge_alone(const MrbEdgeChange *change, MrbEdge *edge)
{
	bool		plain = is_plain(change, edge);

	edge->epoch = Max(change->epoch, edge->repurge_epoch);
	edge->acknowledged = plain && edge->position->acked_epoch >= edge->epoch;
	edge->done = edge->acknowledged;
	edge->behind = plain && !edge->acknowledged && edge->entry >= 0;
	if (!edge->enabled)
		edge->state = MRB_EDGE_EXCLUDED;
	else if (edge->acknowledged)
		edge->state = state_by_position(edge);
	else
		edge->state = state_without(change, edge);
	edge->error = find_error(change, edge);
}

/*
 * Whether the position alone says if the endpoint has the route: it is that of
 * the endpoint as it is set up now and of the present term, and neither a
 * change that is still to be taken, nor a refusal, nor a resync, nor a table
 * that was lost is beside it.
 */
static bool
is_plain(const MrbEdgeChange *change, const MrbEdge *edge)
{
	const MrbPosition *position = edge->position;

	return edge->enabled && position != NULL &&
		position->generation == edge->generation &&
		MRB_EPOCH_TERM(position->acked_epoch) >= change->term &&
		!change->unread && !change->moved && !is_queued(change, edge) &&
		!edge->failed && !is_resyncing(change, edge) &&
		position->health != MRB_HEALTH_UNVERIFIED;
}

/*
 * Say how sure an acknowledgement is.
 */
static MrbEdgeState
state_by_position(const MrbEdge *edge)
{
	if (edge->loses_table && edge->position->verified_epoch >= edge->epoch)
		return MRB_EDGE_VERIFIED;
	if (edge->settles && edge->position->settled_epoch >= edge->epoch)
		return MRB_EDGE_SETTLED;
	return MRB_EDGE_ACKNOWLEDGED;
}

/*
 * Say what an enabled endpoint does that has not acknowledged.
 */
static MrbEdgeState
state_without(const MrbEdgeChange *change, const MrbEdge *edge)
{
	if (edge->failed)
		return MRB_EDGE_FAILED;
	switch (get_health(edge))
	{
		case MRB_HEALTH_BACKING_OFF:
			return MRB_EDGE_BACKING_OFF;
		case MRB_HEALTH_MISCONFIGURED:
			return MRB_EDGE_MISCONFIGURED;
		case MRB_HEALTH_GONE:
			return MRB_EDGE_GONE;
		case MRB_HEALTH_UNVERIFIED:
			return MRB_EDGE_UNVERIFIED;
		case MRB_HEALTH_NEW:
		case MRB_HEALTH_HEALTHY:
			break;
	}
	if (is_resyncing(change, edge) && !is_queued(change, edge))
		return MRB_EDGE_RESYNCING;
	return MRB_EDGE_WAITING;
}

/*
 * Return why the endpoint has not acknowledged.  It is no reason for what the
 * dispatcher has not taken, nor is an error that is older than the change,
 * unless it lasts.
 */
static const char *
find_error(const MrbEdgeChange *change, const MrbEdge *edge)
{
	const MrbPosition *position = edge->position;
	MrbHealth	health = get_health(edge);

	if (!edge->enabled)
		return edge->reason != NULL ? edge->reason : "disabled";
	if (is_queued(change, edge))
		return NULL;
	if (edge->failed)
		return edge->failure;
	if (edge->acknowledged || position == NULL ||
		position->last_error[0] == '\0')
		return NULL;
	if (health == MRB_HEALTH_BACKING_OFF || health == MRB_HEALTH_GONE ||
		health == MRB_HEALTH_MISCONFIGURED)
		return position->last_error;
	if (change->created_at != 0 && position->last_error_at != 0 &&
		position->last_error_at >= change->created_at)
		return position->last_error;
	return NULL;
}

/*
 * Whether the dispatcher has still to take a change that the endpoint needs.
 */
static bool
is_queued(const MrbEdgeChange *change, const MrbEdge *edge)
{
	return change->queued || edge->repurge_queued;
}

/*
 * Whether a resync has still to come to the deployment.
 */
static bool
is_resyncing(const MrbEdgeChange *change, const MrbEdge *edge)
{
	return edge->position != NULL && edge->position->resyncing &&
		strcmp(edge->position->resync_after, change->deployment_id) < 0;
}

/*
 * Return the health that is known.
 */
static MrbHealth
get_health(const MrbEdge *edge)
{
	return edge->position != NULL ? edge->position->health : MRB_HEALTH_NEW;
}

/*
 * Whether time alone may have ended what the endpoint keeps.
 */
static bool
may_expire(const MrbEdgeChange *change, const MrbEdge *edge, TimestampTz now)
{
	return edge->enabled && edge->self_expires && !edge->acknowledged &&
		!is_queued(change, edge) && change->created_at != 0 &&
		ttl_is_over(change, change->created_at, now);
}

/*
 * Sum the routers of each zone up.
 */
static HTAB *
sum_routers(const MrbEdge *edges, int n)
{
	HTAB	   *zones = mrb_id_hash_create("miosa_rollback zones", 16,
										   sizeof(ZoneRouters));

	for (int i = 0; i < n; i++)
	{
		const MrbEdge *edge = &edges[i];
		ZoneRouters *routers;
		bool		found;

		if (!edge->edge || edge->stage != 0 || !edge->enabled)
			continue;
		routers = hash_search(zones, &edge->zone, HASH_ENTER, &found);
		if (!found)
		{
			routers->acknowledged = true;
			routers->acked_at = 0;
		}
		routers->acknowledged &= edge->acknowledged;
		if (edge->position != NULL)
			routers->acked_at = Max(routers->acked_at,
									edge->position->acked_at);
	}
	return zones;
}

/*
 * Whether the routers of the zone have had the route for long enough.  Until
 * then a cache could fetch the old page through them.
 */
static bool
routers_let_expire(const MrbEdgeChange *change, HTAB *zones,
				   const MrbEdge *edge, TimestampTz now)
{
	const ZoneRouters *routers = hash_search(zones, &edge->zone, HASH_FIND,
											 NULL);

	if (routers == NULL)
		return true;
	return routers->acknowledged &&
		ttl_is_over(change, Max(change->created_at, routers->acked_at), now);
}

/*
 * Whether a route that was kept at a given time has expired.
 */
static bool
ttl_is_over(const MrbEdgeChange *change, TimestampTz since, TimestampTz now)
{
	Datum		end = DirectFunctionCall2(timestamptz_pl_interval,
										  TimestampTzGetDatum(since),
										  IntervalPGetDatum(change->route_ttl));

	return now > DatumGetTimestampTz(end);
}
