/*-------------------------------------------------------------------------
 *
 * ready_list.c
 *	  Items that an endpoint can send, by urgency.
 *
 * An endpoint first sends items that it has begun, then new changes, then
 * items that have failed before, then those of a resync.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "delivery/damping.h"
#include "delivery/ready_list.h"
#include "endpoint/run_queue.h"

/*
 * Initialize the lists of a new endpoint.
 */
void
mrb_ready_list_attach(MrbEndpoint *endpoint)
{
	dlist_init(&endpoint->ready.live);
	dlist_init(&endpoint->ready.retry);
	dlist_init(&endpoint->ready.bulk);
	dlist_init(&endpoint->ready.sending);
}

/*
 * Append the item to the list that its history requires.
 */
void
mrb_ready_list_add(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;

	item->state = MRB_ITEM_READY;
	if (item->tries > 0 || item->attempts > 0)
		dlist_push_tail(&endpoint->ready.retry, &item->list_node);
	else if (item->bulk && item->first_epoch == 0)
		dlist_push_tail(&endpoint->ready.bulk, &item->list_node);
	else
		dlist_push_tail(&endpoint->ready.live, &item->list_node);
	mrb_run_queue_activate(endpoint);
}

/*
 * Begin to send the most urgent item, with the route that it has now.
 */
MrbItem *
mrb_ready_list_next(MrbEndpoint *endpoint, bool with_bulk)
{
	dlist_head *list = NULL;
	MrbItem    *item;

	if (!dlist_is_empty(&endpoint->ready.sending))
		return dlist_head_element(MrbItem, list_node, &endpoint->ready.sending);
	if (!dlist_is_empty(&endpoint->ready.live))
		list = &endpoint->ready.live;
	else if (!dlist_is_empty(&endpoint->ready.retry))
		list = &endpoint->ready.retry;
	else if (with_bulk && !dlist_is_empty(&endpoint->ready.bulk))
		list = &endpoint->ready.bulk;
	if (list == NULL)
		return NULL;

	item = dlist_container(MrbItem, list_node, dlist_pop_head_node(list));
	item->state = MRB_ITEM_SENDING;
	item->resend = false;
	item->sending.broken = false;
	item->sending.held = false;
	item->sending.next_unit = 0;
	item->sending.outstanding = 0;
	item->route = item->next_route;
	item->route->refs++;
	if (item->first_epoch != 0)
		mrb_damping_sent(item);
	mrb_ready_list_put_back(item);
	return item;
}

/*
 * From now on the item only waits for answers.
 */
void
mrb_ready_list_started(MrbItem *item)
{
	dlist_delete(&item->list_node);
	item->sending.starting = false;
}

/*
 * The item goes first when its endpoint sends next.
 */
void
mrb_ready_list_put_back(MrbItem *item)
{
	item->sending.starting = true;
	dlist_push_head(&item->endpoint->ready.sending, &item->list_node);
}

/*
 * Take the item out of the list that it is in, if any.
 */
void
mrb_ready_list_remove(MrbItem *item)
{
	if (item->state == MRB_ITEM_READY || item->sending.starting)
		dlist_delete(&item->list_node);
	item->sending.starting = false;
}
