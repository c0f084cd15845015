/*-------------------------------------------------------------------------
 *
 * flush.c
 *	  Writing down how far endpoints have come.
 *
 * Others see in shared memory how far endpoints have come (publish.c); their
 * rows are for a restart, and are written now and then, so that a million
 * acknowledgements do not make a million dead rows.  What is not seen before
 * it is written does not wait.
 *
 * One transaction for many endpoints that have moved.  Rows that somebody has
 * locked are left out and tried again; should anything else be in the way,
 * endpoints are written one by one, so that only the one that is concerned
 * falls behind.  A crash may lose the newest of this: then endpoints are told
 * again what they know.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/worker_xact.h"
#include "delivery/endpoint_state.h"
#include "delivery/flush.h"
#include "delivery/queue.h"
#include "endpoint/endpoint_list.h"

/* Under load, this much is collected of what is urgent, and of the rest. */
#define GATHER_MS 10
#define LAZY_MS 500

/* So many rows a transaction: requests wait for it. */
#define ROWS_MAX 250

/* After a few waits for a lock the rest has to wait for its turn. */
#define FAILURES_MAX 2
#define PAUSE_MS 100
#define LOCKED_PAUSE_MS 500
#define IDLE_MS 1000
#define IDLE_BUSY_MS 10000

static MrbTick not_before = 0;	/* after a lock; nothing is written */
static MrbTick urgent_before = 0;	/* what is urgent, under load */
static MrbTick rest_before = 0; /* what is not */
static MrbTick rest_since = 0;	/* something waits; 0: nothing does */
static MrbTick wait_until = 0;	/* until then nothing is to be done */
static int	round_left = 0;		/* of those that were dirty together */
static bool queued_work = false;	/* something was put into the outbox */

static MrbTick urgent_due(bool busy);
static MrbTick rest_due(bool busy);
static void write_some(bool all);
static bool write_singly(bool all);
static void next_round(int n);
static void mark_idle(bool busy);
static void gather(MrbBatch *batch, bool all);
static void written(const MrbBatch *batch);
static void look_for_urgent(void);

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

void
mrb_flush_run(void)
{
	not_before = 0;
	while (!dlist_is_empty(&mrb_dirty_endpoints) && not_before == 0)
		write_some(true);
}

long
mrb_flush_wait(long most)
{
	if (dlist_is_empty(&mrb_dirty_endpoints))
		return most;
	return Min(most, mrb_tick_ms(mrb_timer_read(), wait_until) + 1);
}

void
mrb_flush_tidy(void)
{
	(void) mrb_worker_xact_try(mrb_endpoint_state_tidy, NULL, NULL);
}

static MrbTick
urgent_due(bool busy)
{
	if (!mrb_dirty_urgent)
		return MRB_TICK_NEVER;
	return Max(not_before, busy ? urgent_before : 0);
}

/*
 * What comes alone is written soon, what comes together is collected.
 */
static MrbTick
rest_due(bool busy)
{
	MrbTick		due = rest_before;

	if (round_left > 0)
		return not_before;
	if (busy)
		due = Max(due, mrb_tick_plus(rest_since, LAZY_MS));
	return Max(due, not_before);
}

/*
 * Write down one batch, of all or of what is urgent.
 */
static void
write_some(bool all)
{
	MrbBatch	batch;
	int			n;

	gather(&batch, all);
	n = batch.n;
	if (n == 0)
	{
		look_for_urgent();
		return;
	}
	if (all)
		next_round(n);
	urgent_before = mrb_tick_plus(mrb_timer_now(), GATHER_MS);
	if (mrb_worker_xact_try(mrb_endpoint_state_write, &batch, NULL))
	{
		written(&batch);
		if (batch.n < n)
			not_before = mrb_tick_plus(mrb_timer_read(), PAUSE_MS);
	}
	else if (n == 1 || !write_singly(all))
		not_before = mrb_tick_plus(mrb_timer_read(), LOCKED_PAUSE_MS);
	look_for_urgent();
}

/*
 * False when some could not be written.
 */
static bool
write_singly(bool all)
{
	MrbBatch	batch;
	int			failures = 0;

	gather(&batch, all);
	for (int i = 0; i < batch.n && failures < FAILURES_MAX; i++)
	{
		MrbBatch	one = {&batch.endpoints[i], 1, false};

		if (mrb_worker_xact_try(mrb_endpoint_state_write, &one, NULL))
			written(&one);
		else
			failures++;
	}
	return failures == 0;
}

/*
 * n are written now; once all have had their turn that were dirty at the same
 * time, the others wait.
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
	rest_before = mrb_tick_plus(rest_since, LAZY_MS);
}

/*
 * An endpoint that is not concerned by what happens moves on all the same, so
 * that the route log can be trimmed; but that is not urgent.
 */
static void
mark_idle(bool busy)
{
	static MrbTick last = 0;
	dlist_iter	iter;

	if (!mrb_tick_exceeds(last, mrb_timer_now(),
						  busy ? IDLE_BUSY_MS : IDLE_MS))
		return;
	last = mrb_timer_now();
	mrb_endpoint_list_foreach(iter)
	{
		MrbEndpoint *endpoint = mrb_endpoint_list_current(iter);

		if (endpoint->progress.acked_epoch != mrb_queue_acked(endpoint) ||
			endpoint->progress.settled_epoch != mrb_queue_settled(endpoint))
			mrb_dirty_mark(endpoint);
	}
}

/*
 * Those that are tried go to the end: whoever cannot be written must not be
 * in the way of the others.
 */
static void
gather(MrbBatch *batch, bool all)
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

static void
written(const MrbBatch *batch)
{
	queued_work |= batch->queued_work;
	for (int i = 0; i < batch->n; i++)
		mrb_dirty_written(batch->endpoints[i]);
}

static void
look_for_urgent(void)
{
	dlist_iter	iter;

	mrb_dirty_urgent = false;
	dlist_foreach(iter, &mrb_dirty_endpoints)
		mrb_dirty_urgent |= mrb_dirty_is_urgent(dlist_container(MrbEndpoint,
																dirty.node,
																iter.cur));
}
