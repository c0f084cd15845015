/*-------------------------------------------------------------------------
 *
 * sender.c
 *	  Turn items into requests, and answers into results of items.
 *
 * An adapter that works per host makes several requests of an item; the item
 * is done when all of them are.  Removals of hosts wait for the others, so that
 * a deployment that gets another host has that before it loses the old one.
 *
 * An adapter with batches makes one request of several items; when it is
 * rejected, smaller batches find out which item is to blame.  A batch that fails
 * as if by the endpoint's fault may hold such an item, too, so after a few
 * failures items are sent one by one: if one is accepted, the endpoint is not at
 * fault.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "adapter/answer.h"
#include "delivery/message.h"
#include "delivery/queue.h"
#include "delivery/ready_list.h"
#include "delivery/sender.h"
#include "endpoint/health.h"
#include "endpoint/run_queue.h"

/* Number of failures in a row after which items are sent one by one. */
#define BATCH_TRIES 3

static bool bulk_has_room(void);
static void start_unit(MrbItem *item, bool *full);
static bool waits_for_hosts(const MrbItem *item);
static bool start_request(MrbItem *item);
static void start_batch(MrbEndpoint *endpoint, bool *full);
static int	collect(MrbEndpoint *endpoint, MrbItem **items);
static MrbStarted start_as_many(MrbItem **items, int *n, const char **problem);
static MrbStarted start(MrbEndpoint *endpoint, MrbMessage *message, int unit,
						MrbItem **items, int nitems, const char **problem);
static void answered(MrbInflight *inflight, const MrbHttpAnswer *answer);
static bool was_down_before(const MrbEndpoint *endpoint);
static bool start_add(const MrbInflight *inflight, const MrbHttpAnswer *answer);
static void item_failed(MrbItem *item, const MrbInflight *inflight,
						const MrbHttpAnswer *answer, MrbVerdict verdict,
						const char *why);
static void break_item(MrbItem *item, int status, const char *error);
static void finish_if_done(MrbItem *item);

/*
 * Resyncs may use half of the requests that can be in flight.
 */
static bool
bulk_has_room(void)
{
	return mrb_inflight_in_flight() < mrb_inflight_capacity() / 2;
}

/*
 * Start a request about the most urgent items of the endpoint.
 */
bool
mrb_sender_start(MrbEndpoint *endpoint, bool *full)
{
	MrbItem    *item = mrb_ready_list_next(endpoint, bulk_has_room());

	if (item == NULL)
		return false;
	if (endpoint->adapter->batch_max > 1)
		start_batch(endpoint, full);
	else
		start_unit(item, full);
	return true;
}

/*
 * Start the next request of an item.
 */
static void
start_unit(MrbItem *item, bool *full)
{
	if (item->sending.next_unit == 0)
		item->sending.units = mrb_message_count(item);
	if (waits_for_hosts(item))
	{
		item->sending.held = true;
		mrb_ready_list_started(item);
		return;
	}
	if (item->sending.next_unit < item->sending.units && !start_request(item))
	{
		*full = true;
		return;
	}
	item->sending.next_unit++;
	if (item->sending.starting &&
		(item->sending.broken || item->sending.next_unit >= item->sending.units))
		mrb_ready_list_started(item);
	finish_if_done(item);
}

/*
 * Whether the next request removes a host while others are in flight.
 */
static bool
waits_for_hosts(const MrbItem *item)
{
	return item->sending.outstanding > 0 && !item->sending.broken &&
		item->sending.next_unit < item->sending.units &&
		mrb_message_removes(item, item->sending.next_unit);
}

/*
 * Return false if there is no room for the request.
 */
static bool
start_request(MrbItem *item)
{
	MrbMessage	message;
	const char *problem;

	mrb_message_of_unit(item, item->sending.next_unit, &message);
	if (message.request == NULL)
		return true;
	switch (start(item->endpoint, &message, item->sending.next_unit, &item, 1,
				  &problem))
	{
		case MRB_STARTED:
			item->sending.outstanding++;
			return true;
		case MRB_START_FULL:
			return false;
		case MRB_START_LARGE:
		case MRB_START_WRONG:
			break;
	}
	break_item(item, 0, problem);
	item->sending.refused = true;
	return true;
}

/*
 * Start one request about the next items.
 */
static void
start_batch(MrbEndpoint *endpoint, bool *full)
{
	MrbItem   **items = palloc(endpoint->adapter->batch_max *
							   sizeof(MrbItem *));
	const char *problem = NULL;
	MrbStarted	started;
	int			n = collect(endpoint, items);

	if (n == 0)
		return;
	started = start_as_many(items, &n, &problem);
	if (started == MRB_START_FULL)
		*full = true;
	for (int i = n - 1; i >= 0; i--)
	{
		if (started == MRB_STARTED)
			items[i]->sending.outstanding++;
		else if (started == MRB_START_FULL)
			mrb_ready_list_put_back(items[i]);
		else
		{
			break_item(items[i], 0, problem);
			items[i]->sending.refused = true;
			items[i]->sending.split = n / 2;
			finish_if_done(items[i]);
		}
	}
	pfree(items);
}

/*
 * Take as many items as one request may be about.  An item without anything
 * to send is done at once.
 */
static int
collect(MrbEndpoint *endpoint, MrbItem **items)
{
	int			most = endpoint->health.failures < BATCH_TRIES ?
	endpoint->adapter->batch_max : 1;
	int			n = 0;
	MrbItem    *item;

	while (n < most && (item = mrb_ready_list_next(endpoint,
												   bulk_has_room())) != NULL)
	{
		if (item->batch_most > 0)
			most = Min(most, item->batch_most);
		if (n >= most)
			break;				/* it is the first of the next batch */
		mrb_ready_list_started(item);
		item->sending.units = Min(mrb_message_count(item), 1);
		if (item->sending.units > 0)
			items[n++] = item;
		else
			finish_if_done(item);
	}
	return n;
}

/*
 * Start a request about as many of the items as fit into a body, and set *n to
 * their number; the others go first in the next one.
 */
static MrbStarted
start_as_many(MrbItem **items, int *n, const char **problem)
{
	for (;;)
	{
		MrbMessage	message;
		MrbStarted	started;
		int			half = *n / 2;

		mrb_message_of_batch(items, *n, &message);
		started = start(items[0]->endpoint, &message, 0, items, *n, problem);
		if (started != MRB_START_LARGE)
			return started;
		while (*n > half)
			mrb_ready_list_put_back(items[--*n]);
	}
}

/*
 * Start a request about these items.
 */
static MrbStarted
start(MrbEndpoint *endpoint, MrbMessage *message, int unit, MrbItem **items,
	  int nitems, const char **problem)
{
	MrbInflightNote note = {
		.request = message->request,
		.epoch = message->epoch,
		.unit = unit,
		.nitems = nitems,
		.items = items,
		.done = answered,
	};

	for (int i = 0; i < nitems; i++)
		note.retry |= items[i]->tries > 0 || items[i]->attempts > 0;

	return mrb_inflight_start(endpoint, &message->values, &note, problem);
}

/*
 * A request has ended.
 */
static void
answered(MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	MrbInflightNote *note = &inflight->note;
	bool		was_down = was_down_before(inflight->endpoint);
	char	   *why;
	MrbVerdict	verdict = mrb_answer_judge(inflight->endpoint->adapter,
										   note->request, answer, &why);

	if (start_add(inflight, answer))
	{
		mrb_endpoint_stats_answered(&inflight->endpoint->stats, true);
		return;
	}
	mrb_endpoint_stats_answered(&inflight->endpoint->stats,
								verdict == MRB_VERDICT_SUCCESS);
	for (int i = 0; i < note->nitems; i++)
	{
		note->items[i]->sending.outstanding--;
		if (verdict != MRB_VERDICT_SUCCESS)
			item_failed(note->items[i], inflight, answer, verdict, why);
		if (answer->resent)
			note->items[i]->confirm = true;
	}
	mrb_health_note_answer(inflight, answer, verdict, why);
	if (verdict == MRB_VERDICT_SUCCESS)
		mrb_queue_accepted(inflight->endpoint, was_down);
	for (int i = 0; i < note->nitems; i++)
		finish_if_done(note->items[i]);
}

/*
 * Whether the endpoint has failed more than once in a row.  A single failure may be
 * that of an item which it never accepts: to retry that whenever the next one is
 * accepted would keep the endpoint busy with it.
 */
static bool
was_down_before(const MrbEndpoint *endpoint)
{
	return endpoint->health.state == MRB_HEALTH_GONE ||
		(endpoint->health.state == MRB_HEALTH_BACKING_OFF &&
		 endpoint->health.failures > 1);
}

/*
 * If the endpoint does not know the route yet (404), add it instead of
 * changing it.  Return true if that request is started.
 */
static bool
start_add(const MrbInflight *inflight, const MrbHttpAnswer *answer)
{
	const MrbAdapter *adapter = inflight->endpoint->adapter;
	const MrbInflightNote *note = &inflight->note;
	MrbMessage	message;
	const char *problem;

	if (adapter->add == NULL || note->request != adapter->request ||
		note->nitems != 1 || answer->outcome != MRB_HTTP_ANSWERED ||
		answer->status != 404)
		return false;
	mrb_message_of_unit(note->items[0], note->unit, &message);
	message.request = adapter->add;
	return start(inflight->endpoint, &message, note->unit, note->items, 1,
				 &problem) == MRB_STARTED;
}

/*
 * Decide whether the item or the endpoint is to blame, before the failure
 * counts against the endpoint's health.  An endpoint that asks for a pause
 * (429, or Retry-After) says nothing about the item, however often that
 * happens to the same one while others are accepted.
 */
static void
item_failed(MrbItem *item, const MrbInflight *inflight, const MrbHttpAnswer *answer,
			MrbVerdict verdict, const char *why)
{
	bool		not_now = answer->outcome == MRB_HTTP_ANSWERED &&
	(answer->status == 429 || answer->retry_after > 0);
	bool		refused = verdict == MRB_VERDICT_MESSAGE ||
	(verdict == MRB_VERDICT_ENDPOINT && !not_now &&
	 mrb_queue_is_poison(item));

	break_item(item, answer->status, why);
	item->sending.refused |= refused;
	item->sending.ill |= verdict != MRB_VERDICT_MESSAGE;
	item->sending.split = inflight->note.nitems / 2;
	item->sending.ambiguous |= answer->outcome == MRB_HTTP_TIMED_OUT ||
		answer->outcome == MRB_HTTP_BROKEN;
}

/*
 * The item will not succeed: start no more of its requests.
 */
static void
break_item(MrbItem *item, int status, const char *error)
{
	if (item->sending.starting && item->sending.outstanding > 0)
		mrb_ready_list_started(item);
	if (item->sending.broken)
		return;
	item->sending.broken = true;
	item->sending.refused = false;
	item->sending.ill = false;
	item->sending.ambiguous = false;
	item->sending.split = 0;
	item->sending.status = status;
	item->sending.error = MemoryContextStrdup(TopMemoryContext, error);
}

/*
 * Pass the result of the item on once all its requests have ended.
 */
static void
finish_if_done(MrbItem *item)
{
	char	   *error;
	const char *unsupported;

	if (item->sending.outstanding > 0 || (item->sending.starting && !item->sending.broken))
		return;
	if (item->sending.held && !item->sending.broken)
	{
		item->sending.held = false;
		mrb_ready_list_put_back(item);
		mrb_run_queue_activate(item->endpoint);
		return;
	}
	if (item->sending.starting)
		mrb_ready_list_started(item);
	unsupported = item->sending.broken ? NULL : mrb_message_unsupported_host(item);
	if (unsupported != NULL)
	{
		/* What was sent is in place, but it is not the whole route. */
		item->sending.ill = false;
		error = psprintf("adapter \"%s\" cannot handle the wildcard host \"%s\"",
						 item->endpoint->adapter->name, unsupported);
		mrb_queue_refused(item, 0, error);
		pfree(error);
		return;
	}
	if (!item->sending.broken)
	{
		if (item->first_epoch != 0 && item->sending.units > 0)
			mrb_endpoint_stats_acknowledged(&item->endpoint->stats,
											item->route->since);
		mrb_queue_succeeded(item);
		return;
	}
	error = item->sending.error;
	item->sending.error = NULL;
	if (!item->sending.refused)
		mrb_queue_failed(item, item->sending.ambiguous);
	else if (item->sending.split > 0)
		mrb_queue_split(item, item->sending.split);
	else
		mrb_queue_refused(item, item->sending.status, error);
	pfree(error);
}
