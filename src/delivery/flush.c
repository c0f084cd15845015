/*-------------------------------------------------------------------------
 *
 * flush.c
 *	  Write the positions of endpoints into their rows.
 *
 * Other processes read positions in shared memory (publish.c).  The rows are
 * for a restart and are written now and then, so that a million
 * acknowledgements do not make a million dead rows.  Only what must be
 * written before it is published does not wait.
 *
 * One transaction writes many endpoints.  Rows that are locked are skipped
 * and retried; if the transaction fails, endpoints are written one by one, so
 * that only the one that causes the failure falls behind.  A crash may lose
 * the newest positions; the changes after the older ones are then delivered
 * again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/worker_xact.h"
#include "delivery/endpoint_state.h"
#include "delivery/flush.h"
#include "delivery/queue.h"
#include "endpoint/endpoint_list.h"

/* Under load, how long urgent changes are collected, and all others. */
#define GATHER_MS 10
#define LAZY_MS 500

/* Maximum number of rows a transaction, because requests wait for it. */
#define ROWS_MAX 250

/* Number of failed transactions after which the rest waits. */
#define FAILURES_MAX 2
#define PAUSE_MS 100
#define LOCKED_PAUSE_MS 500
#define IDLE_MS 1000
#define IDLE_BUSY_MS 10000

static MrbTick not_before = 0;	/* no write, because of a lock */
static MrbTick urgent_before = 0;	/* no urgent write, under load */
static MrbTick rest_before = 0; /* no other write */
static MrbTick rest_since = 0;	/* endpoints are dirty; 0: none is */
static MrbTick wait_until = 0;	/* next write */
static int	round_left = 0;		/* endpoints left of this round */
static bool queued_work = false;	/* rows were added to the outbox */

static MrbTick urgent_due(bool busy);
static MrbTick rest_due(bool busy);
static void write_some(bool all);
static bool write_singly(bool all);
static void next_round(int n);
static void mark_idle(bool busy);
static void collect(MrbBatch *batch, bool all);
static void mark_written(const MrbBatch *batch);
static void update_urgent(void);

/*
 * Write one batch if it is due, and wake processes that wait for rows.
 */
bool
mrb_flush_step(MrbRegistrySlot *slot, bool busy)
{
	bool		all;

	queued_work = false;
	mark_idle(busy);
	if (dlist_is_empty(&mrb_dirty_endpoints))
	{
		rest_since = 0;
		round_left = 0;
		return false;
	}
	if (rest_since == 0)
		rest_since = mrb_timer_now();
	all = mrb_timer_now() >= rest_due(busy);
	if (all || mrb_timer_now() >= urgent_due(busy))
	{
		write_some(all);
		ConditionVariableBroadcast(&slot->acknowledged);
	}
	wait_until = Min(rest_due(busy), urgent_due(busy));
	return queued_work;
}

/*
 * Write batches until none is left, or a lock is in the way.
 */
void
mrb_flush_run(void)
{
	not_before = 0;
	while (!dlist_is_empty(&mrb_dirty_endpoints) && not_before == 0)
		write_some(true);
}

/*
 * How long the dispatcher may sleep.
 */
long
mrb_flush_wait(long most)
{
	if (dlist_is_empty(&mrb_dirty_endpoints))
		return most;
	return Min(most, mrb_timer_ms_between(mrb_timer_read(), wait_until) + 1);
}

/*
 * Try to delete rows of deleted endpoints; the next reload tries again.
 */
void
mrb_flush_tidy(void)
{
	(void) mrb_worker_xact_try(mrb_endpoint_state_tidy, NULL, NULL);
}

/*
 * When urgent changes are written; never, if there are none.
 */
static MrbTick
urgent_due(bool busy)
{
	if (!mrb_dirty_urgent)
		return MRB_TICK_NEVER;
	return Max(not_before, busy ? urgent_before : 0);
}

/*
 * When all changes are written.  Without load a change is written soon; under
 * load changes are collected.
 */
static MrbTick
rest_due(bool busy)
{
	MrbTick		due = rest_before;

	if (round_left > 0)
		return not_before;
	if (busy)
		due = Max(due, mrb_timer_add_ms(rest_since, LAZY_MS));
	return Max(due, not_before);
}

/*
 * Write one batch, of all dirty endpoints or of the urgent ones.
 */
static void
write_some(bool all)
{
	MrbBatch	batch;
	int			n;

	collect(&batch, all);
	n = batch.n;
	if (n == 0)
	{
		update_urgent();
		return;
	}
	if (all)
		next_round(n);
	urgent_before = mrb_timer_add_ms(mrb_timer_now(), GATHER_MS);
	if (mrb_worker_xact_try(mrb_endpoint_state_write, &batch, NULL))
	{
		mark_written(&batch);
		if (batch.n < n)
			not_before = mrb_timer_add_ms(mrb_timer_read(), PAUSE_MS);
	}
	else if (n == 1 || !write_singly(all))
		not_before = mrb_timer_add_ms(mrb_timer_read(), LOCKED_PAUSE_MS);
	update_urgent();
}

/*
 * Write the endpoints of a batch one by one.  Return false if some failed.
 */
static bool
write_singly(bool all)
{
	MrbBatch	batch;
	int			failures = 0;

	collect(&batch, all);
	for (int i = 0; i < batch.n && failures < FAILURES_MAX; i++)
	{
		MrbBatch	one = {&batch.endpoints[i], 1, false};

		if (mrb_worker_xact_try(mrb_endpoint_state_write, &one, NULL))
			mark_written(&one);
		else
			failures++;
	}
	return failures == 0;
}

/*
 * Count n endpoints as written.  When all that were dirty at the start of the
 * round have been written, the others wait for the next one.
 */
static void
next_round(int n)
{
	dlist_iter	iter;

	if (round_left <= 0)
		dlist_foreach(iter, &mrb_dirty_endpoints)
			round_left++;
	round_left -= n;
	if (round_left > 0)
		return;
	round_left = 0;
	rest_since = mrb_timer_now();
	rest_before = mrb_timer_add_ms(rest_since, LAZY_MS);
}

/*
 * The position of an endpoint advances also with changes that do not concern
 * it.  Write it now and then, so that the route log can be trimmed.
 */
static void
mark_idle(bool busy)
{
	static MrbTick last = 0;
	dlist_iter	iter;

	if (!mrb_timer_passed(last, mrb_timer_now(),
						  busy ? IDLE_BUSY_MS : IDLE_MS))
		return;
	last = mrb_timer_now();
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (endpoint->progress.acked_epoch != mrb_queue_acked_epoch(endpoint) ||
			endpoint->progress.settled_epoch != mrb_queue_settled_epoch(endpoint))
			mrb_dirty_mark(endpoint);
	}
}

/*
 * Make a batch, and move its endpoints to the end of the list, so that one
 * that cannot be written does not block the others.
 */
static void
collect(MrbBatch *batch, bool all)
{
	dlist_iter	iter;

	batch->n = 0;
	batch->endpoints = palloc(ROWS_MAX * sizeof(MrbEndpoint *));
	dlist_foreach(iter, &mrb_dirty_endpoints)
	{
		MrbEndpoint *endpoint = dlist_container(MrbEndpoint, dirty.node,
												iter.cur);

		if (all || mrb_dirty_is_urgent(endpoint))
			batch->endpoints[batch->n++] = endpoint;
		if (batch->n == ROWS_MAX)
			break;
	}
	for (int i = 0; i < batch->n; i++)
		mrb_dirty_requeue(batch->endpoints[i]);
}

/*
 * The endpoints of the batch are written.
 */
static void
mark_written(const MrbBatch *batch)
{
	queued_work |= batch->queued_work;
	for (int i = 0; i < batch->n; i++)
		mrb_dirty_written(batch->endpoints[i]);
}

/*
 * Find out whether urgent changes are left.
 */
static void
update_urgent(void)
{
	dlist_iter	iter;

	mrb_dirty_urgent = false;
	dlist_foreach(iter, &mrb_dirty_endpoints)
		mrb_dirty_urgent |= mrb_dirty_is_urgent(dlist_container(MrbEndpoint,
																dirty.node,
																iter.cur));
}
