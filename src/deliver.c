/*-------------------------------------------------------------------------
 *
 * deliver.c
 *	  Turning items into requests and answers into what becomes of items.
 *
 * Endpoints take turns, one request each, so that none waits for another.
 * An adapter that works per host makes several requests of an item; the item
 * is done when all of them are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "deliver.h"
#include "health.h"
#include "queue.h"

/* Resyncs may fill this part of what can be in flight. */
#define BULK_MAX (mrb_send_max() / 2)

/* Strings of a request that are made for it. */
typedef struct Scratch
{
	char		epoch[24];
	char		message_id[512];
} Scratch;

static bool start_one(MrbEndpoint *endpoint, bool *full);
static int	count_units(const MrbItem *item);
static int	count_hosts(const MrbItem *item);
static MrbStarted start_unit(MrbItem *item, const char **problem);
static void fill_values(const MrbRoute *route, MrbValues *values,
						Scratch *scratch);
static void list_removed(const MrbRoute *route, MrbValues *values);
static void answered(MrbSend *send, const MrbHttpAnswer *answer);
static void unit_failed(MrbItem *item, const MrbSend *send,
						const MrbHttpAnswer *answer);
static bool blames_message(const MrbHttpAnswer *answer);
static void break_item(MrbItem *item, int status, const char *error);
static void finish_if_done(MrbItem *item);

void
mrb_deliver_pump(void)
{
	MrbEndpoint *endpoint;
	bool		full = false;
	dlist_head	later = DLIST_STATIC_INIT(later);

	while (!full && (endpoint = mrb_queue_next_endpoint()) != NULL)
	{
		if (!mrb_health_may_send(endpoint))
			continue;			/* an answer or a timer brings it back */
		if (start_one(endpoint, &full))
			mrb_queue_activate(endpoint);
		else if (mrb_queue_has_work(endpoint))
		{
			/* Only a resync, which has to wait for room. */
			endpoint->active = true;
			dlist_push_tail(&later, &endpoint->active_node);
		}
	}
	while (!dlist_is_empty(&later))
	{
		endpoint = dlist_container(MrbEndpoint, active_node,
								   dlist_pop_head_node(&later));
		endpoint->active = false;
		mrb_queue_activate(endpoint);
	}
}

/*
 * Start one request; false when the endpoint has nothing that may be sent.
 */
static bool
start_one(MrbEndpoint *endpoint, bool *full)
{
	MrbItem    *item = mrb_queue_next_item(endpoint,
										   mrb_send_in_flight() < BULK_MAX);
	const char *problem;

	if (item == NULL)
		return false;
	if (item->next_unit == 0)
		item->units = count_units(item);
	if (item->next_unit < item->units)
	{
		switch (start_unit(item, &problem))
		{
			case MRB_STARTED:
				item->outstanding++;
				break;
			case MRB_START_FULL:
				*full = true;
				return true;
			case MRB_START_WRONG:
				break_item(item, 0, problem);
				item->refused = true;
				break;
		}
		item->next_unit++;
	}
	if (item->starting &&
		(item->broken || item->next_unit >= item->units))
		mrb_queue_started(item);
	finish_if_done(item);
	return true;
}

/*
 * How many requests the item takes.  Where nothing was ever published there
 * is nothing to tell; what was unpublished is told like a change.
 */
static int
count_units(const MrbItem *item)
{
	const MrbAdapter *adapter = item->endpoint->adapter;
	const MrbRoute *route = item->route;

	if (!adapter->per_host)
		return route->version_id != NULL || route->operation_id != NULL ||
			route->ngone > 0 ? 1 : 0;
	return count_hosts(item) +
		(adapter->remove != NULL ? route->ngone : 0);
}

/*
 * How many hosts of the route are told one by one.  Those of a deployment
 * that serves nothing any more are told as removed.
 */
static int
count_hosts(const MrbItem *item)
{
	const MrbRoute *route = item->route;

	if (route->version_id == NULL &&
		(route->operation_id == NULL ||
		 item->endpoint->adapter->remove == NULL))
		return 0;
	return route->hosts.n;
}

/*
 * Start the item's next request.  Hosts come first, then removed hosts.
 */
static MrbStarted
start_unit(MrbItem *item, const char **problem)
{
	MrbEndpoint *endpoint = item->endpoint;
	MrbAdapter *adapter = endpoint->adapter;
	MrbRoute   *route = item->route;
	MrbCall    *call = adapter->request;
	MrbValues	values;
	Scratch		scratch;

	MemSet(&values, 0, sizeof(values));
	fill_values(route, &values, &scratch);
	if (adapter->per_host)
	{
		int			hosts = count_hosts(item);
		char	   *host;

		if (item->next_unit < hosts)
			host = route->hosts.items[item->next_unit];
		else
			host = mrb_route_gone_host(route, item->next_unit - hosts);
		if (item->next_unit >= hosts || route->version_id == NULL)
			call = adapter->remove;
		if (host == NULL)
		{
			/* Routed again meanwhile: nothing to do, but count it. */
			item->outstanding--;
			return MRB_STARTED;
		}
		values.text[MRB_VAR_HOST] = host;
	}
	return mrb_send_start(endpoint, call, &values, item, route->epoch,
						  answered, problem);
}

static void
fill_values(const MrbRoute *route, MrbValues *values, Scratch *scratch)
{
	snprintf(scratch->epoch, sizeof(scratch->epoch), INT64_FORMAT,
			 route->epoch);
	snprintf(scratch->message_id, sizeof(scratch->message_id), "%s@%s",
			 route->deployment_id, scratch->epoch);
	values->text[MRB_VAR_DEPLOYMENT_ID] = route->deployment_id;
	values->text[MRB_VAR_EPOCH] = scratch->epoch;
	values->text[MRB_VAR_KIND] = route->kind;
	values->text[MRB_VAR_MESSAGE_ID] = scratch->message_id;
	values->text[MRB_VAR_OPERATION_ID] = route->operation_id;
	values->text[MRB_VAR_RELEASE_ID] = route->release_id;
	values->text[MRB_VAR_SHA256] = route->sha256;
	values->text[MRB_VAR_STORAGE_URI] = route->storage_uri;
	values->text[MRB_VAR_TENANT_ID] = route->tenant_id;
	values->text[MRB_VAR_VERSION_ID] = route->version_id;
	values->text[MRB_VAR_VERSION_NUMBER] = route->version_number;
	values->hosts = route->hosts;
	if (route->ngone > 0)
		list_removed(route, values);
}

/*
 * The list lives until the end of the turn.
 */
static void
list_removed(const MrbRoute *route, MrbValues *values)
{
	values->removed_hosts.items = palloc(route->ngone * sizeof(char *));
	for (int i = 0; i < route->ngone; i++)
	{
		char	   *host = mrb_route_gone_host(route, i);

		if (host != NULL)
			values->removed_hosts.items[values->removed_hosts.n++] = host;
	}
}

/*
 * One request of an item has ended.
 */
static void
answered(MrbSend *send, const MrbHttpAnswer *answer)
{
	MrbItem    *item = send->item;

	item->outstanding--;
	if (answer->outcome == MRB_HTTP_ANSWERED &&
		mrb_adapter_is_success(send->endpoint->adapter, answer->status))
		mrb_health_success(send->endpoint, answer->status);
	else
		unit_failed(item, send, answer);
	finish_if_done(item);
}

/*
 * Find out whose fault it is.  What the message is blamed for says that the
 * endpoint works.
 */
static void
unit_failed(MrbItem *item, const MrbSend *send, const MrbHttpAnswer *answer)
{
	char	   *error = mrb_health_describe(answer);
	bool		refused = blames_message(answer) || mrb_queue_is_poison(item);

	break_item(item, answer->status, error);
	item->refused |= refused;
	item->ambiguous |= answer->outcome == MRB_HTTP_TIMED_OUT ||
		answer->outcome == MRB_HTTP_BROKEN;
	if (blames_message(answer))
		mrb_health_success(send->endpoint, answer->status);
	else
		mrb_health_failure(send, answer);
	pfree(error);
}

static bool
blames_message(const MrbHttpAnswer *answer)
{
	if (answer->outcome != MRB_HTTP_ANSWERED)
		return false;
	switch (answer->status)
	{
		case 400:
		case 409:
		case 413:
		case 414:
		case 422:
			return true;
		default:
			return false;
	}
}

/*
 * The item will not succeed: start no more of its requests.
 */
static void
break_item(MrbItem *item, int status, const char *error)
{
	if (item->starting && item->outstanding > 0)
		mrb_queue_started(item);
	if (item->broken)
		return;
	item->broken = true;
	item->refused = false;
	item->ambiguous = false;
	item->status = status;
	item->error = MemoryContextStrdup(TopMemoryContext, error);
}

/*
 * All requests of the item have ended.
 */
static void
finish_if_done(MrbItem *item)
{
	char	   *error;

	if (item->outstanding > 0 || (item->starting && !item->broken))
		return;
	if (item->starting)
		mrb_queue_started(item);
	if (!item->broken)
	{
		mrb_queue_succeeded(item);
		return;
	}
	error = item->error;
	item->error = NULL;
	if (item->refused)
		mrb_queue_refused(item, item->status, error);
	else
		mrb_queue_failed(item, item->ambiguous);
	pfree(error);
}
