/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  Publish the positions of endpoints in shared memory.
 *
 * An acknowledgement is published in the turn in which it arrives, long
 * before the endpoint's row is written.  But a position that has passed a
 * rejected change, or a purge to repeat, is held back until that is written, so
 * that a session that sees the position also finds the row.  What makes an
 * endpoint look worse is always published at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/container.h"
#include "delivery/publish.h"
#include "delivery/queue.h"
#include "endpoint/circuit_breaker.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"
#include "endpoint/inflight.h"

/* Minimum time between two wake-ups of waiting processes. */
#define WAKE_MS 2

/* Interval of checking endpoints that new changes do not concern. */
#define IDLE_MS 100

static MrbTick woken_at = 0;
static bool wake_owed = false;
static MrbTick idle_at = 0;
static int64 idle_epoch = 0;

static void mark_idle(void);
static void publish(MrbEndpoint *endpoint);
static void show_health(MrbPosition *position, const MrbEndpoint *endpoint);
static bool show_progress(MrbPosition *position, MrbEndpoint *endpoint);
static void show_setbacks(MrbPosition *position,
						  const MrbEndpoint *endpoint);
static void set_gauge(MrbRegistrySlot *slot, MrbCounter counter, int64 value);

/*
 * Publish all marked endpoints and the gauges of the dispatcher.
 */
void
mrb_publish_step(MrbRegistrySlot *slot)
{
	MrbEndpointStats *stats;

	if (idle_epoch != mrb_queue_newest_epoch() &&
		mrb_timer_passed(idle_at, mrb_timer_now(), IDLE_MS))
		mark_idle();
	while ((stats = mrb_endpoint_stats_next_changed()) != NULL)
		publish(mrb_container(MrbEndpoint, stats, stats));
	set_gauge(slot, MRB_COUNTER_EPOCH, mrb_queue_newest_epoch());
	set_gauge(slot, MRB_COUNTER_IN_FLIGHT, mrb_inflight_in_flight());
	set_gauge(slot, MRB_COUNTER_PENDING, mrb_item_pending());
	if (wake_owed &&
		mrb_timer_passed(woken_at, mrb_timer_now(), WAKE_MS))
	{
		ConditionVariableBroadcast(&slot->acknowledged);
		woken_at = mrb_timer_now();
		wake_owed = false;
	}
}

/*
 * How long the dispatcher may sleep.
 */
long
mrb_publish_wait(long most)
{
	if (wake_owed)
		return Min(most, WAKE_MS);
	return idle_epoch != mrb_queue_newest_epoch() ? Min(most, IDLE_MS) : most;
}

/*
 * The position of an endpoint that lacks nothing advances with every change.
 */
static void
mark_idle(void)
{
	dlist_iter	iter;

	idle_at = mrb_timer_now();
	idle_epoch = mrb_queue_newest_epoch();
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);
		const MrbPosition *seen = mrb_endpoint_stats_position(&endpoint->stats);

		if (seen == NULL)
		{
			/* Another database may have returned an entry. */
			mrb_endpoint_stats_claim(&endpoint->stats, endpoint->name);
			mrb_endpoint_stats_mark(&endpoint->stats);
		}
		else if (seen->acked_epoch != mrb_queue_acked_epoch(endpoint) ||
				 seen->settled_epoch != mrb_queue_settled_epoch(endpoint))
			mrb_endpoint_stats_mark(&endpoint->stats);
	}
}

/*
 * Publish the position of one endpoint, as far as it is not held back.
 */
static void
publish(MrbEndpoint *endpoint)
{
	const MrbPosition *seen = mrb_endpoint_stats_position(&endpoint->stats);
	MrbPosition position;

	if (seen == NULL)
		return;
	position = *seen;
	show_health(&position, endpoint);
	if (endpoint->dirty.held_back == 0)
		wake_owed |= show_progress(&position, endpoint);
	else
		show_setbacks(&position, endpoint);
	mrb_endpoint_stats_publish(&endpoint->stats, &position);
}

/*
 * Copy what health.c and the circuit breaker know.
 */
static void
show_health(MrbPosition *position, const MrbEndpoint *endpoint)
{
	const MrbEndpointHealth *health = &endpoint->health;
	TimestampTz server_try_at = mrb_circuit_breaker_next_try(endpoint);

	position->health = mrb_health_shown(endpoint);
	position->breaker_open = server_try_at > mrb_timer_wall() ||
		((health->state == MRB_HEALTH_BACKING_OFF ||
		  health->state == MRB_HEALTH_GONE) && !health->probing);
	position->probing = health->probing || server_try_at != 0;
	position->failures = health->failures;
	position->last_status = health->last_status;
	position->last_error_at = health->last_error_at;
	position->last_success_at = health->last_success_at;
	position->next_try_at = health->next_try_at;
	strlcpy(position->last_error, health->last_error,
			sizeof(position->last_error));
}

/*
 * Copy how far the endpoint has come.  Return true if that may end a wait.
 */
static bool
show_progress(MrbPosition *position, MrbEndpoint *endpoint)
{
	int64		acked = mrb_queue_acked_epoch(endpoint);
	bool		moved = position->generation != endpoint->generation ||
	position->acked_epoch != acked ||
	(position->resyncing && endpoint->resync.after == NULL);

	if (position->generation != endpoint->generation ||
		position->acked_epoch != acked)
		position->acked_at = mrb_timer_wall();
	position->generation = endpoint->generation;
	position->acked_epoch = acked;
	position->settled_epoch = mrb_queue_settled_epoch(endpoint);
	position->verified_epoch = endpoint->marker.verified_epoch;
	position->resyncing = endpoint->resync.after != NULL;
	strlcpy(position->resync_after,
			position->resyncing ? endpoint->resync.after : "",
			sizeof(position->resync_after));
	return moved;
}

/*
 * Copy only what makes the endpoint look worse: a resync has begun, or its
 * table was lost.
 */
static void
show_setbacks(MrbPosition *position, const MrbEndpoint *endpoint)
{
	position->verified_epoch = Min(position->verified_epoch,
								   endpoint->marker.verified_epoch);
	if (endpoint->resync.after != NULL &&
		(!position->resyncing || endpoint->resync.after[0] == '\0'))
	{
		position->resyncing = true;
		position->resync_after[0] = '\0';
	}
}

/*
 * Set a value that shows how things are now.
 */
static void
set_gauge(MrbRegistrySlot *slot, MrbCounter counter, int64 value)
{
	pg_atomic_write_u64(&slot->counters[counter], value);
}
