/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  What each endpoint has still to be told.
 *
 * There is one item for each endpoint and deployment with something open.
 * It remembers the lowest epoch that is not acknowledged, which holds the
 * endpoint's cursor, but it is always the present route that is sent: so a
 * thousand changes become few requests, the last one right.
 *
 * An item goes from BLOCKED (a cache whose routers do not know yet) to READY,
 * then SENDING; what flips back and forth is PACED before.  After a success
 * it is RESTING until it is repeated, because the adapter settles or because
 * an earlier try may still be on its way, or LINGERING a little for the sake
 * of the pace, and then gone.  After a failure of the endpoint it is READY
 * again, behind what has not failed.  When the endpoint takes others but not
 * this one it is PARKED: the failure is noted, the cursor moves on, and the
 * item has a clock of its own.  A change makes it start again: after the
 * answer while it is SENDING, else as soon as its pace allows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/container.h"
#include "common/backoff.h"
#include "delivery/damping.h"
#include "delivery/queue.h"
#include "delivery/ready_list.h"
#include "delivery/zone_barrier.h"
#include "endpoint/inflight.h"
#include "endpoint/run_queue.h"

/* After a try that may still be going on, the route is told again this late. */
#define CONFIRM_MS 1000

/* A purge is repeated this soon, besides after its adapter's settle. */
#define EARLY_MS 100

/* So often is something tried that its endpoint does not take. */
#define POISON_TRIES 3

/* Clock of what is parked. */
#define PARK_MIN_MS 1000
#define PARK_MAX_MS 300000

/* So often are those looked at that were told just now. */
#define LINGER_MS 50

static int64 newest = 0;
static dlist_head lingering = DLIST_STATIC_INIT(lingering);
static MrbTimer linger_timer = {0};

static void set_first(MrbItem *item, int64 epoch);
static void linger(MrbItem *item);
static void linger_over(MrbTimer *timer);
static void drop_item(MrbItem *item);
static void take_out(MrbItem *item);
static void start_over(MrbItem *item);
static void enter(MrbItem *item);
static void go_on(MrbItem *item);
static void damping_over(MrbTimer *timer);
static void rest_over(MrbTimer *timer);
static void rest(MrbItem *item, int after_ms, MrbRepeat repeat);
static bool repeats_early(const MrbItem *item);
static void park(MrbItem *item, int after_ms);
static void repurge(MrbItem *item);

void
mrb_queue_init(MemoryContext context)
{
	mrb_item_init(context);
	mrb_zone_barrier_init(context, go_on);
}

void
mrb_queue_set_newest(int64 epoch)
{
	newest = epoch;
}

int64
mrb_queue_newest(void)
{
	return newest;
}

void
mrb_queue_attach(MrbEndpoint *endpoint)
{
	mrb_item_attach(endpoint);
	mrb_ready_list_attach(endpoint);
	mrb_inflight_attach(endpoint);
	mrb_dirty_attach(endpoint);
}

/*
 * The endpoint is about to be dropped; its requests are gone already.
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

void
mrb_queue_change(MrbEndpoint *endpoint, MrbRouteEntry *entry, int64 epoch)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	if (entry->confirm)
		item->confirm = true;
	mrb_item_take_picture(item);
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
	enter(item);
}

void
mrb_queue_bulk(MrbEndpoint *endpoint, MrbRouteEntry *entry)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	mrb_item_set_bulk(item, true);

	/* A change that is told already keeps its epoch and its message id. */
	if (item->first_epoch == 0 || entry->route->ngone > item->picture->ngone)
		mrb_item_take_picture(item);
	if (item->state == MRB_ITEM_SENDING)
	{
		item->resend = true;
		return;
	}
	if (item->state == MRB_ITEM_BLOCKED || item->state == MRB_ITEM_DAMPED)
		return;
	take_out(item);
	mrb_ready_list_add(item);
}

void
mrb_queue_late(MrbEndpoint *endpoint, MrbRouteEntry *entry)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	/* The barrier counts those that are not late. */
	mrb_zone_barrier_clear(item);
	item->late = true;
	if (item->first_epoch != 0)
		mrb_zone_barrier_hold(item);
}

void
mrb_queue_repeat(MrbEndpoint *endpoint, MrbRouteEntry *entry, int64 epoch)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	if (item->unsettled == 0 || epoch < item->unsettled)
		mrb_item_set_unsettled(item, epoch);
	if (item->first_epoch != 0)
		return;
	mrb_item_take_picture(item);
	take_out(item);
	rest(item, endpoint->adapter->settle_ms, MRB_REPEAT_LAST);
}

void
mrb_queue_park(MrbEndpoint *endpoint, MrbRouteEntry *entry, int attempts,
			   int after_ms)
{
	MrbItem    *item = mrb_item_find(endpoint, entry);

	item->failed = true;
	item->attempts = Max(item->attempts, attempts);
	if (item->first_epoch != 0 || (item->state != MRB_ITEM_RESTING &&
								   item->state != MRB_ITEM_PARKED))
		return;
	item->late = true;
	take_out(item);
	park(item, after_ms);
}

void
mrb_queue_succeeded(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;
	int			confirm_ms = Max(CONFIRM_MS, endpoint->adapter->timeout_ms);
	int			after_ms = item->repeat == MRB_REPEAT_LAST ? 0 :
	endpoint->adapter->settle_ms;
	bool		early = repeats_early(item);
	bool		resend = item->resend;

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
		enter(item);
		return;
	}
	mrb_item_set_bulk(item, false);
	item->late = false;
	if (early)
		rest(item, EARLY_MS, MRB_REPEAT_EARLY);
	else if (after_ms > 0)
		rest(item, after_ms, MRB_REPEAT_LAST);
	else if (mrb_damping_is_hot(item))
		linger(item);
	else
		drop_item(item);
}

/*
 * Most fetches that were under way when a purge came end soon after it, and
 * not only after settle.  A resync, and where requests are counted, have to do
 * with one repeat.
 */
static bool
repeats_early(const MrbItem *item)
{
	const MrbAdapter *adapter = item->endpoint->adapter;

	return item->repeat == MRB_REPEAT_NONE && !item->bulk &&
		adapter->rate <= 0 && adapter->settle_ms > 2 * EARLY_MS;
}

/*
 * Not taken now, by nobody's fault but the endpoint's.
 */
void
mrb_queue_failed(MrbItem *item, bool ambiguous)
{
	if (item->tries++ == 0)
		item->taken_before = item->endpoint->vitals.taken;
	if (ambiguous)
		item->confirm = true;
	start_over(item);
}

/*
 * A batch was not taken: find out with smaller ones whose fault it is.
 */
void
mrb_queue_split(MrbItem *item, int batch_most)
{
	item->batch_most = batch_most;
	start_over(item);
}

/*
 * The endpoint works but does not take this: note it and go on without it.
 */
void
mrb_queue_refused(MrbItem *item, int status, const char *error)
{
	MrbNote    *note = mrb_dirty_note(item->endpoint, &item->note,
									  MRB_NOTE_FAILURE, item->entry->id);
	int			after_ms;

	item->failed = true;
	item->attempts++;
	after_ms = mrb_backoff_equal_jitter(PARK_MIN_MS, PARK_MAX_MS,
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
		enter(item);
		return;
	}
	mrb_item_set_unsettled(item, 0);
	mrb_item_set_bulk(item, false);
	item->late = true;
	park(item, after_ms);
}

bool
mrb_queue_is_poison(const MrbItem *item)
{
	return item->failed ||
		(item->tries + 1 >= POISON_TRIES &&
		 item->endpoint->vitals.taken > item->taken_before);
}

int64
mrb_queue_acked(MrbEndpoint *endpoint)
{
	int64		first = mrb_item_lowest_first(endpoint);

	return first == 0 ? newest : first - 1;
}

int64
mrb_queue_settled(MrbEndpoint *endpoint)
{
	int64		acked = mrb_queue_acked(endpoint);
	int64		unsettled = mrb_item_lowest_unsettled(endpoint);

	return unsettled == 0 ? acked : Min(acked, unsettled - 1);
}

/*
 * The lowest epoch that is not acknowledged; routers hold up caches by it.
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
 * There is nothing more to tell, but it was told just now.
 */
static void
linger(MrbItem *item)
{
	item->state = MRB_ITEM_LINGERING;
	dlist_push_tail(&lingering, &item->list_node);
	if (!linger_timer.set)
		mrb_timer_set(&linger_timer, LINGER_MS, linger_over);
}

/*
 * Roughly in the order in which they cool down; some may wait for others.
 */
static void
linger_over(MrbTimer *timer)
{
	while (!dlist_is_empty(&lingering))
	{
		MrbItem    *item = dlist_head_element(MrbItem, list_node, &lingering);

		if (mrb_damping_is_hot(item))
		{
			mrb_timer_set(timer, LINGER_MS, linger_over);
			return;
		}
		dlist_delete(&item->list_node);
		drop_item(item);
	}
}

static void
drop_item(MrbItem *item)
{
	set_first(item, 0);
	mrb_timer_cancel(&item->timer);
	mrb_item_free(item);
}

/*
 * Take the item out of whatever list or clock it is in.
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
		case MRB_ITEM_LINGERING:
			dlist_delete(&item->list_node);
			break;
		case MRB_ITEM_DAMPED:
		case MRB_ITEM_RESTING:
		case MRB_ITEM_PARKED:
			mrb_timer_cancel(&item->timer);
			break;
	}
}

/*
 * Nothing of it was taken.  What has changed meanwhile may have to wait.
 */
static void
start_over(MrbItem *item)
{
	item->next_first = 0;
	mrb_route_book_unref(item->route);
	item->route = NULL;
	if (item->resend)
		enter(item);
	else
		mrb_ready_list_add(item);
}

/*
 * There is something new to tell.
 */
static void
enter(MrbItem *item)
{
	if (item->first_epoch != 0 && mrb_zone_barrier_wait(item))
		item->state = MRB_ITEM_BLOCKED;
	else
		go_on(item);
}

/*
 * Nothing is in the way but that it was told too often just now.
 */
static void
go_on(MrbItem *item)
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

static void
damping_over(MrbTimer *timer)
{
	mrb_ready_list_add(mrb_container(MrbItem, timer, timer));
}

/*
 * The time of rest, or of being parked, is over.
 */
static void
rest_over(MrbTimer *timer)
{
	MrbItem    *item = mrb_container(MrbItem, timer, timer);

	item->repeat = item->state == MRB_ITEM_RESTING ? item->next_repeat :
		MRB_REPEAT_NONE;
	mrb_ready_list_add(item);
}

static void
rest(MrbItem *item, int after_ms, MrbRepeat repeat)
{
	item->next_repeat = repeat;
	item->state = MRB_ITEM_RESTING;
	mrb_timer_set(&item->timer, after_ms, rest_over);
}

static void
park(MrbItem *item, int after_ms)
{
	item->state = MRB_ITEM_PARKED;
	mrb_timer_set(&item->timer, after_ms, rest_over);
}

/*
 * A router has acknowledged what the caches of its zone did not wait for.
 */
static void
repurge(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;

	if (endpoint->edge && endpoint->stage == 0 && endpoint->zone->caches > 0)
		mrb_dirty_note(endpoint, NULL, MRB_NOTE_REPURGE, item->entry->id);
}
