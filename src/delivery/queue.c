/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  The queue of each endpoint: the routes that it lacks.
 *
 * There is one item for each endpoint and deployment with something pending.
 * It remembers the lowest epoch that is not acknowledged, which holds the
 * endpoint's position, but it is always the present route that is sent: a
 * thousand changes become few requests, and the last one is right.
 *
 * An item goes from BLOCKED (a cache whose routers have not acknowledged) to
 * READY, then SENDING; a deployment that flips back and forth is DAMPED before
 * that, and one that has lost a host is FOLLOWING the one that gets it.  After a
 * success it is SETTLING until it is repeated, because the adapter settles or
 * because an earlier try may still take effect, or COOLING until damping ends,
 * and is then freed.  After a failure of the endpoint it is READY again, behind
 * items that have not failed.  If the endpoint accepts others but not this item,
 * it is PARKED: the failure is noted, the position advances, and the item has a
 * back-off of its own.  A change starts the item over: after the answer while it
 * is SENDING, else as soon as damping allows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/container.h"
#include "common/backoff.h"
#include "delivery/damping.h"
#include "delivery/edge_times.h"
#include "delivery/handover.h"
#include "delivery/queue.h"
#include "delivery/ready_list.h"
#include "delivery/zone_barrier.h"
#include "endpoint/inflight.h"
#include "endpoint/run_queue.h"

/* Delay of the repeat after a try that may still take effect. */
#define CONFIRM_MS 1000

/* Delay of the early repeat of a purge. */
#define EARLY_MS 100

/* Number of attempts before an item counts as undeliverable. */
#define POISON_TRIES 3

/*
 * Bounds of the back-off of a parked item.  While the endpoint fails, and does not
 * only reject the item, it is no longer than the endpoint's own.
 */
#define PARK_MIN_MS 1000
#define PARK_MAX_MS 300000
#define PARK_ILL_MAX_MS MRB_ENDPOINT_RETRY_MAX_MS

/* Interval of checking whether cooling items can be freed. */
#define COOLING_MS 50

static int64 newest = 0;
static dlist_head cooling = DLIST_STATIC_INIT(cooling);
static MrbTimer cooling_timer = {0};

static void set_first(MrbItem *item, int64 epoch);
static void cool(MrbItem *item);
static void cooling_over(MrbTimer *timer);
static void drop_item(MrbItem *item);
static void take_out(MrbItem *item);
static void start_over(MrbItem *item);
static void enqueue(MrbItem *item);
static void send_or_damp(MrbItem *item);
static void look_again(MrbTimer *timer);
static void damping_over(MrbTimer *timer);
static void wait_over(MrbTimer *timer);
static void settle(MrbItem *item, int after_ms, MrbRepeat repeat);
static bool repeats_early(const MrbItem *item);
static void park(MrbItem *item, int after_ms);
static void unpark(MrbItem *item);
static void retry_parked(MrbEndpoint *endpoint, int64 failing_since);
static void repurge(MrbItem *item);

/*
 * Set up the files that queues consist of.
 */
void
mrb_queue_init(MemoryContext context)
{
	mrb_item_init(context);
	mrb_edge_times_init(context);
	mrb_zone_barrier_init(context, send_or_damp);
}

/*
 * Remember the newest epoch.
 */
void
mrb_queue_set_newest_epoch(int64 epoch)
{
	newest = epoch;
}

/*
 * The newest epoch of the route log.
 */
int64
mrb_queue_newest_epoch(void)
{
	return newest;
}

/*
 * Prepare a new endpoint.
 */
void
mrb_queue_attach(MrbEndpoint *endpoint)
{
	mrb_item_attach(endpoint);
	mrb_ready_list_attach(endpoint);
	mrb_inflight_attach(endpoint);
	mrb_dirty_attach(endpoint);
}

/*
 * Free the items of an endpoint that is about to be dropped.
 */
void
mrb_queue_detach(MrbEndpoint *endpoint)
{
	while (!dlist_is_empty(&endpoint->items.all))
	{
		MrbItem    *item = dlist_head_element(MrbItem, item_node,
											  &endpoint->items.all);

		take_out(item);
		drop_item(item);
	}
	mrb_run_queue_forget(endpoint);
	mrb_dirty_forget(endpoint);
}

/*
 * Send the present route, which holds the endpoint's position from this epoch
 * on.
 */
void
mrb_queue_change(MrbEndpoint *endpoint, MrbRouteEntry *entry, int64 epoch)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	if (entry->confirm)
		item->confirm = true;
	mrb_edge_times_await(item);
	mrb_item_refresh_route(item);
	if (item->first_epoch == 0)
		set_first(item, epoch);
	if (item->state == MRB_ITEM_SENDING)
	{
		item->resend = true;
		if (item->next_first == 0)
			item->next_first = epoch;
		return;
	}
	take_out(item);
	item->repeat = MRB_REPEAT_NONE;
	item->tries = 0;
	enqueue(item);
}

/*
 * Send the present route of a deployment that has lost a host after that of the
 * one that gets it.
 */
void
mrb_queue_follow(MrbEndpoint *endpoint, MrbRouteEntry *entry,
				 MrbRouteEntry *taker)
{
	if (mrb_item_is_pending(endpoint, taker))
		mrb_handover_set(mrb_item_find(endpoint, entry), taker);
}

/*
 * Send the present route as part of a resync; it does not hold the position.
 */
void
mrb_queue_bulk(MrbEndpoint *endpoint, MrbRouteEntry *entry)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	mrb_item_set_bulk(item, true);

	/* A pending change keeps its epoch and its message id. */
	if (item->first_epoch == 0 ||
		entry->route->nremoved_hosts > item->next_route->nremoved_hosts)
		mrb_item_refresh_route(item);
	if (item->state == MRB_ITEM_SENDING)
	{
		item->resend = true;
		return;
	}
	if (item->state == MRB_ITEM_BLOCKED || item->state == MRB_ITEM_DAMPED ||
		item->state == MRB_ITEM_FOLLOWING)
		return;
	take_out(item);
	mrb_ready_list_add(item);
}

/*
 * Remember that the caches of the zone may have purged before this router
 * acknowledges, so that they purge again.
 */
void
mrb_queue_late(MrbEndpoint *endpoint, MrbRouteEntry *entry)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	/* The barrier only counts items that are not late. */
	mrb_zone_barrier_clear(item);
	item->late = true;
	if (item->first_epoch != 0)
		mrb_zone_barrier_hold(item);
}

/*
 * Repeat what was acknowledged before the restart, after settle_ms.
 */
void
mrb_queue_repeat(MrbEndpoint *endpoint, MrbRouteEntry *entry, int64 epoch)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	if (item->unsettled == 0 || epoch < item->unsettled)
		mrb_item_set_unsettled(item, epoch);
	if (item->first_epoch != 0)
		return;
	mrb_item_refresh_route(item);
	take_out(item);
	settle(item, endpoint->adapter->settle_ms, MRB_REPEAT_LAST);
}

/*
 * Continue the back-off of an item that was rejected before the restart.
 */
void
mrb_queue_park(MrbEndpoint *endpoint, MrbRouteEntry *entry, int attempts,
			   int after_ms)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	item->failed = true;
	item->attempts = Max(item->attempts, attempts);
	mrb_item_set_failing(item, endpoint->health.taken);
	if (item->first_epoch != 0 || (item->state != MRB_ITEM_SETTLING &&
								   item->state != MRB_ITEM_PARKED))
		return;
	item->late = true;
	take_out(item);
	park(item, after_ms);
}

/*
 * The endpoint has acknowledged the item: repeat it, keep it, or free it.
 */
void
mrb_queue_succeeded(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;
	int			confirm_ms = Max(CONFIRM_MS, endpoint->adapter->timeout_ms);
	int			after_ms = item->repeat == MRB_REPEAT_LAST ? 0 :
	endpoint->adapter->settle_ms;
	bool		early = repeats_early(item);
	bool		resend = item->resend;

	mrb_edge_times_acknowledged(item);
	if (item->repeat == MRB_REPEAT_EARLY)
		after_ms -= EARLY_MS;
	if (item->confirm && !early)
		after_ms = Max(after_ms, confirm_ms);
	item->confirm &= early;
	item->repeat = MRB_REPEAT_NONE;
	if (item->late || (item->bulk && endpoint->resync.repurges))
		repurge(item);
	if (item->failed || item->bulk)
		mrb_dirty_note(endpoint, &item->note, MRB_NOTE_CLEARED,
					   item->entry->id);

	/* What kept the endpoint from accepting it may be over for all. */
	if (item->failed)
		retry_parked(endpoint, -1);
	item->failed = false;
	item->tries = 0;
	item->attempts = 0;
	item->batch_most = 0;

	if (after_ms == 0)
		mrb_item_set_unsettled(item, 0);
	else if (item->unsettled == 0 && item->first_epoch != 0)
		mrb_item_set_unsettled(item, item->first_epoch);
	set_first(item, item->next_first);
	item->next_first = 0;
	mrb_dirty_mark(endpoint);
	mrb_route_book_unref(item->route);
	item->route = NULL;
	if (resend)
	{
		enqueue(item);
		return;
	}
	mrb_item_set_bulk(item, false);
	item->late = false;
	if (early)
		settle(item, EARLY_MS, MRB_REPEAT_EARLY);
	else if (after_ms > 0)
		settle(item, after_ms, MRB_REPEAT_LAST);
	else if (mrb_damping_is_hot(item))
		cool(item);
	else
		drop_item(item);
}

/*
 * Most fetches that were running at the time of a purge end soon after it,
 * and not only after settle_ms.  A resync, and adapters with a rate, do with
 * one repeat.
 */
static bool
repeats_early(const MrbItem *item)
{
	const MrbAdapter *adapter = item->endpoint->adapter;

	return item->repeat == MRB_REPEAT_NONE && !item->bulk &&
		adapter->rate <= 0 && adapter->settle_ms > 2 * EARLY_MS;
}

/*
 * The endpoint has failed; the item is not to blame.  Retry it.
 */
void
mrb_queue_failed(MrbItem *item, bool ambiguous)
{
	if (item->tries++ == 0)
		item->taken_before = item->endpoint->health.taken;
	if (ambiguous)
		item->confirm = true;
	start_over(item);
}

/*
 * A batch was rejected: smaller ones find out which item is to blame.
 */
void
mrb_queue_split(MrbItem *item, int batch_most)
{
	item->batch_most = batch_most;
	start_over(item);
}

/*
 * The endpoint works but rejects the item: note it and let the position
 * advance.
 */
void
mrb_queue_refused(MrbItem *item, int status, const char *error)
{
	MrbEndpoint *endpoint = item->endpoint;
	MrbNote    *note = mrb_dirty_note(endpoint, &item->note,
									  MRB_NOTE_FAILURE, item->entry->id);
	int			after_ms;

	mrb_item_set_failing(item, item->tries == 0 && item->attempts == 0 ?
						 endpoint->health.taken : item->taken_before);
	item->failed = true;
	item->attempts++;
	after_ms = mrb_backoff_equal_jitter(PARK_MIN_MS, item->sending.ill ?
										PARK_ILL_MAX_MS : PARK_MAX_MS,
										item->attempts);
	note->epoch = item->route->epoch;
	note->status = status;
	note->attempts = item->attempts;
	note->next_try_at = TimestampTzPlusMilliseconds(mrb_timer_wall(),
													after_ms);
	mrb_dirty_set_error(note, error);

	mrb_route_book_unref(item->route);
	item->route = NULL;
	set_first(item, item->next_first);
	item->next_first = 0;
	if (item->resend)
	{
		enqueue(item);
		return;
	}
	mrb_item_set_unsettled(item, 0);
	mrb_item_set_bulk(item, false);
	item->late = true;
	park(item, after_ms);
}

/*
 * The endpoint has accepted a message.  It may accept what it has rejected before:
 * all of it after the endpoint was down, else what it has rejected since it last
 * accepted anything.
 */
void
mrb_queue_accepted(MrbEndpoint *endpoint, bool was_down)
{
	int64		before = endpoint->health.taken - 1;

	if (was_down)
		retry_parked(endpoint, -1);
	else if (endpoint->items.rejecting == before)
		retry_parked(endpoint, before);
}

/*
 * Whether the item was rejected before, or has failed several times while the
 * endpoint accepted others.
 */
bool
mrb_queue_is_poison(const MrbItem *item)
{
	return item->failed ||
		(item->tries + 1 >= POISON_TRIES &&
		 item->endpoint->health.taken > item->taken_before);
}

/*
 * All changes up to this epoch are acknowledged.
 */
int64
mrb_queue_acked_epoch(MrbEndpoint *endpoint)
{
	int64		first = mrb_item_lowest_first(endpoint);

	return first == 0 ? newest : first - 1;
}

/*
 * All changes up to this epoch are acknowledged and repeated.
 */
int64
mrb_queue_settled_epoch(MrbEndpoint *endpoint)
{
	int64		acked = mrb_queue_acked_epoch(endpoint);
	int64		unsettled = mrb_item_lowest_unsettled(endpoint);

	return unsettled == 0 ? acked : Min(acked, unsettled - 1);
}

/*
 * Set the lowest epoch that is not acknowledged; items of routers hold a
 * barrier.
 */
static void
set_first(MrbItem *item, int64 epoch)
{
	mrb_item_set_first(item, epoch);
	if (epoch != 0)
		mrb_zone_barrier_hold(item);
	else
		mrb_zone_barrier_clear(item);
}

/*
 * Nothing is pending, but the item is kept for damping.
 */
static void
cool(MrbItem *item)
{
	item->state = MRB_ITEM_COOLING;
	dlist_push_tail(&cooling, &item->list_node);
	if (!cooling_timer.set)
		mrb_timer_set(&cooling_timer, COOLING_MS, cooling_over);
}

/*
 * Free cooling items that have cooled down.  They are in roughly that
 * order, so some may wait for others.
 */
static void
cooling_over(MrbTimer *timer)
{
	while (!dlist_is_empty(&cooling))
	{
		MrbItem    *item = dlist_head_element(MrbItem, list_node, &cooling);

		if (mrb_damping_is_hot(item))
		{
			mrb_timer_set(timer, COOLING_MS, cooling_over);
			return;
		}
		dlist_delete(&item->list_node);
		drop_item(item);
	}
}

/*
 * Free the item, whatever it still holds.
 */
static void
drop_item(MrbItem *item)
{
	set_first(item, 0);
	mrb_edge_times_withdraw(item);
	mrb_timer_cancel(&item->timer);
	mrb_handover_clear(item);
	mrb_item_free(item);
}

/*
 * Take the item out of the list or timer of its state.
 */
static void
take_out(MrbItem *item)
{
	switch (item->state)
	{
		case MRB_ITEM_BLOCKED:
			mrb_zone_barrier_leave(item);
			break;
		case MRB_ITEM_READY:
		case MRB_ITEM_SENDING:
			mrb_ready_list_remove(item);
			break;
		case MRB_ITEM_COOLING:
			dlist_delete(&item->list_node);
			break;
		case MRB_ITEM_PARKED:
			unpark(item);
			break;
		case MRB_ITEM_FOLLOWING:
		case MRB_ITEM_DAMPED:
		case MRB_ITEM_SETTLING:
			mrb_timer_cancel(&item->timer);
			break;
	}
}

/*
 * Nothing was acknowledged.  If the route has changed meanwhile, wait as it
 * must.
 */
static void
start_over(MrbItem *item)
{
	item->next_first = 0;
	mrb_route_book_unref(item->route);
	item->route = NULL;
	if (item->resend)
		enqueue(item);
	else
		mrb_ready_list_add(item);
}

/*
 * A new route is to be sent: wait for the routers of the zone, if need be.
 */
static void
enqueue(MrbItem *item)
{
	if (item->first_epoch != 0 && mrb_zone_barrier_wait(item))
		item->state = MRB_ITEM_BLOCKED;
	else if (mrb_handover_waits(item))
	{
		item->state = MRB_ITEM_FOLLOWING;
		mrb_timer_set(&item->timer, MRB_HANDOVER_MS, look_again);
	}
	else
		send_or_damp(item);
}

/*
 * Look whether the other deployment has the host now.
 */
static void
look_again(MrbTimer *timer)
{
	enqueue(mrb_container(MrbItem, timer, timer));
}

/*
 * Make the item ready, unless it was sent too often just now.
 */
static void
send_or_damp(MrbItem *item)
{
	int			wait = mrb_damping_wait(item);

	if (wait == 0)
	{
		mrb_ready_list_add(item);
		return;
	}
	item->state = MRB_ITEM_DAMPED;
	mrb_timer_set(&item->timer, wait, damping_over);
}

/*
 * The item may be sent again.
 */
static void
damping_over(MrbTimer *timer)
{
	mrb_ready_list_add(mrb_container(MrbItem, timer, timer));
}

/*
 * The item has settled, or was parked long enough.
 */
static void
wait_over(MrbTimer *timer)
{
	MrbItem    *item = mrb_container(MrbItem, timer, timer);

	item->repeat = item->state == MRB_ITEM_SETTLING ? item->next_repeat :
		MRB_REPEAT_NONE;
	if (item->state == MRB_ITEM_PARKED)
		unpark(item);
	mrb_ready_list_add(item);
}

/*
 * Wait before the item is repeated.
 */
static void
settle(MrbItem *item, int after_ms, MrbRepeat repeat)
{
	item->next_repeat = repeat;
	item->state = MRB_ITEM_SETTLING;
	mrb_timer_set(&item->timer, after_ms, wait_over);
}

/*
 * Wait before the item is retried.
 */
static void
park(MrbItem *item, int after_ms)
{
	item->state = MRB_ITEM_PARKED;
	dlist_push_tail(&item->endpoint->items.parked, &item->list_node);
	mrb_timer_set(&item->timer, after_ms, wait_over);
}

/*
 * Wait no longer.
 */
static void
unpark(MrbItem *item)
{
	dlist_delete(&item->list_node);
	mrb_timer_cancel(&item->timer);
}

/*
 * Retry the parked items of an endpoint now that began to fail when it had accepted
 * so many messages; -1: all of them.
 */
static void
retry_parked(MrbEndpoint *endpoint, int64 failing_since)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &endpoint->items.parked)
	{
		MrbItem    *item = dlist_container(MrbItem, list_node, iter.cur);

		if (failing_since >= 0 && item->taken_before != failing_since)
			continue;
		unpark(item);
		item->repeat = MRB_REPEAT_NONE;
		mrb_ready_list_add(item);
	}
}

/*
 * A router has acknowledged a route for which the caches of its zone did not
 * wait: note that they must purge again.
 */
static void
repurge(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;

	if (endpoint->edge && endpoint->stage == 0 && endpoint->zone->caches > 0)
		mrb_dirty_note(endpoint, NULL, MRB_NOTE_REPURGE, item->entry->id);
}
