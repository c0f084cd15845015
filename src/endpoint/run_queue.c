/*-------------------------------------------------------------------------
 *
 * run_queue.c
 *	  The queue of endpoints that have something to send.
 *
 * An endpoint starts one request when it is first in the queue and then goes
 * to the end, so that no endpoint has to wait for all requests of another.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "endpoint/run_queue.h"

static dlist_head active = DLIST_STATIC_INIT(active);
static dlist_head deferred = DLIST_STATIC_INIT(deferred);

/*
 * Put the endpoint at the end of the queue, if it is not in it.
 */
void
mrb_run_queue_activate(MrbEndpoint *endpoint)
{
	if (endpoint->turn.queued)
		return;
	endpoint->turn.queued = true;
	dlist_push_tail(&active, &endpoint->turn.node);
}

/*
 * Set aside an endpoint that was taken out of the queue.
 */
void
mrb_run_queue_defer(MrbEndpoint *endpoint)
{
	endpoint->turn.queued = true;
	dlist_push_tail(&deferred, &endpoint->turn.node);
}

/*
 * Put the endpoints that were set aside at the end of the queue.
 */
void
mrb_run_queue_resume(void)
{
	while (!dlist_is_empty(&deferred))
		dlist_push_tail(&active, dlist_pop_head_node(&deferred));
}

/*
 * Remove the endpoint from the queue, wherever it is.
 */
void
mrb_run_queue_forget(MrbEndpoint *endpoint)
{
	if (endpoint->turn.queued)
		dlist_delete(&endpoint->turn.node);
	endpoint->turn.queued = false;
}

/*
 * Take out the first endpoint; the caller puts it back if it has more to
 * send.
 */
MrbEndpoint *
mrb_run_queue_next(void)
{
	MrbEndpoint *endpoint;

	if (dlist_is_empty(&active))
		return NULL;
	endpoint = dlist_container(MrbEndpoint, turn.node,
							   dlist_pop_head_node(&active));
	endpoint->turn.queued = false;
	return endpoint;
}

/*
 * An edge has items in its lists, a scheduler has entries in its own.
 */
bool
mrb_run_queue_has_work(MrbEndpoint *endpoint)
{
	return !dlist_is_empty(&endpoint->ready.sending) ||
		!dlist_is_empty(&endpoint->ready.live) ||
		!dlist_is_empty(&endpoint->ready.retry) ||
		!dlist_is_empty(&endpoint->ready.bulk) ||
		!dlist_is_empty(&endpoint->scale.ready_scale_up) ||
		!dlist_is_empty(&endpoint->scale.ready_other);
}
