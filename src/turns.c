/*-------------------------------------------------------------------------
 *
 * turns.c
 *	  Whose turn it is: endpoints that have something to send, and what each
 *	  sends next.
 *
 * Endpoints take turns, so that none waits for what another has to send.  An
 * endpoint sends first what has begun, then what is new, then what has failed
 * before, then what a resync brings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pace.h"
#include "turns.h"

static dlist_head active = DLIST_STATIC_INIT(active);

void
mrb_turns_activate(MrbEndpoint *endpoint)
{
	if (endpoint->active)
		return;
	endpoint->active = true;
	dlist_push_tail(&active, &endpoint->active_node);
}

void
mrb_turns_forget(MrbEndpoint *endpoint)
{
	if (endpoint->active)
		dlist_delete(&endpoint->active_node);
	endpoint->active = false;
}

MrbEndpoint *
mrb_turns_next_endpoint(void)
{
	MrbEndpoint *endpoint;

	if (dlist_is_empty(&active))
		return NULL;
	endpoint = dlist_container(MrbEndpoint, active_node,
							   dlist_pop_head_node(&active));
	endpoint->active = false;
	return endpoint;
}

bool
mrb_turns_has_work(MrbEndpoint *endpoint)
{
	return !dlist_is_empty(&endpoint->sending) ||
		!dlist_is_empty(&endpoint->live) ||
		!dlist_is_empty(&endpoint->retry) ||
		!dlist_is_empty(&endpoint->bulk) ||
		!dlist_is_empty(&endpoint->agenda.ups) ||
		!dlist_is_empty(&endpoint->agenda.others);
}

void
mrb_turns_ready(MrbItem *item)
{
	MrbEndpoint *endpoint = item->endpoint;

	item->state = MRB_ITEM_READY;
	if (item->tries > 0 || item->attempts > 0)
		dlist_push_tail(&endpoint->retry, &item->list_node);
	else if (item->bulk && item->first_epoch == 0)
		dlist_push_tail(&endpoint->bulk, &item->list_node);
	else
		dlist_push_tail(&endpoint->live, &item->list_node);
	mrb_turns_activate(endpoint);
}

MrbItem *
mrb_turns_next_item(MrbEndpoint *endpoint, bool with_bulk)
{
	dlist_head *list = NULL;
	MrbItem    *item;

	if (!dlist_is_empty(&endpoint->sending))
		return dlist_head_element(MrbItem, list_node, &endpoint->sending);
	if (!dlist_is_empty(&endpoint->live))
		list = &endpoint->live;
	else if (!dlist_is_empty(&endpoint->retry))
		list = &endpoint->retry;
	else if (with_bulk && !dlist_is_empty(&endpoint->bulk))
		list = &endpoint->bulk;
	if (list == NULL)
		return NULL;

	item = dlist_container(MrbItem, list_node, dlist_pop_head_node(list));
	item->state = MRB_ITEM_SENDING;
	item->again = false;
	item->telling.broken = false;
	item->telling.next_unit = 0;
	item->telling.outstanding = 0;
	item->route = item->picture;
	item->route->refs++;
	if (item->first_epoch != 0)
		mrb_pace_item_told(item);
	mrb_turns_put_back(item);
	return item;
}

void
mrb_turns_started(MrbItem *item)
{
	dlist_delete(&item->list_node);
	item->telling.starting = false;
}

void
mrb_turns_put_back(MrbItem *item)
{
	item->telling.starting = true;
	dlist_push_head(&item->endpoint->sending, &item->list_node);
}
