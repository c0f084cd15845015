/*-------------------------------------------------------------------------
 *
 * run_queue.c
 *	  Endpoints that have something to send, in turn.
 *
 * An endpoint sends one request when its turn comes and goes to the end of the
 * queue, so that none waits for what another has to send.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "endpoint/run_queue.h"

static dlist_head active = DLIST_STATIC_INIT(active);

/*
 * Put the endpoint at the end of the queue.
 */
void
mrb_run_queue_activate(MrbEndpoint *endpoint)
{
	if (endpoint->turn.awaited)
		return;
	endpoint->turn.awaited = true;
	dlist_push_tail(&active, &endpoint->turn.node);
}

/*
 * Take the endpoint out of the queue, wherever it stands.
 */
void
mrb_run_queue_forget(MrbEndpoint *endpoint)
{
	if (endpoint->turn.awaited)
		dlist_delete(&endpoint->turn.node);
	endpoint->turn.awaited = false;
}

/*
 * The endpoint leaves the queue; whoever lets it send puts it back.
 */
MrbEndpoint *
mrb_run_queue_next(void)
{
	MrbEndpoint *endpoint;

	if (dlist_is_empty(&active))
		return NULL;
	endpoint = dlist_container(MrbEndpoint, turn.node,
							   dlist_pop_head_node(&active));
	endpoint->turn.awaited = false;
	return endpoint;
}

/*
 * An edge has items in its lists, a scheduler has an agenda.
 */
bool
mrb_run_queue_has_work(MrbEndpoint *endpoint)
{
	return !dlist_is_empty(&endpoint->lists.sending) ||
		!dlist_is_empty(&endpoint->lists.live) ||
		!dlist_is_empty(&endpoint->lists.retry) ||
		!dlist_is_empty(&endpoint->lists.bulk) ||
		!dlist_is_empty(&endpoint->agenda.ups) ||
		!dlist_is_empty(&endpoint->agenda.others);
}
