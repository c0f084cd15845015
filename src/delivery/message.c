/*-------------------------------------------------------------------------
 *
 * message.c
 *	  The contents of a request about one or several deployments.
 *
 * An adapter that works per host makes a request for each host of the route,
 * and then one for each host that is no longer routed.  Wildcard hosts come
 * last; an adapter that does not support them gets none.  All other adapters
 * make one request for the whole route, or for the routes of a batch, which
 * then have only lists in common, of which {routes} has all there is of each.
 *
 * The id of a message is derived from its contents.  It is the same on every
 * try, and changes as soon as the route changes.  A resync makes new ids, so
 * that endpoints which discard repeated messages accept them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "adapter/escape.h"
#include "delivery/message.h"

static int	count_hosts(const MrbItem *item);
static void begin(MrbMessage *message, const MrbItem *item, int64 epoch);
static void fill_route(MrbTemplateValues *values, const MrbRoute *route);
static const char *name_route(const MrbItem *item, const char *epoch);
static void name_batch(MrbMessage *message, MrbItem *const *items, int n);
static void list_hosts(MrbItem *const *items, int n, MrbTemplateValues *values);
static void list_routes(MrbItem *const *items, int n, MrbTemplateValues *values);

/*
 * A deployment that never published anything needs no request.  An
 * unpublished one is sent like a change.
 */
int
mrb_message_count(const MrbItem *item)
{
	const MrbAdapter *adapter = item->endpoint->adapter;
	const MrbRoute *route = item->route;

	if (!adapter->per_host)
		return route->version_id != NULL || route->operation_id != NULL ||
			route->nremoved_hosts > 0 ? 1 : 0;
	return count_hosts(item) +
		(adapter->remove != NULL ? route->nremoved_hosts : 0);
}

/*
 * Make one request of an item. unit counts the hosts of the route first, then
 * the removed ones.
 */
void
mrb_message_of_unit(MrbItem *item, int unit, MrbMessage *message)
{
	const MrbAdapter *adapter = item->endpoint->adapter;
	MrbRoute   *route = item->route;
	int			hosts;
	bool		removing;
	char	   *host;

	begin(message, item, route->epoch);
	message->values.text[MRB_VAR_MESSAGE_ID] =
		name_route(item, message->epoch_text);
	fill_route(&message->values, route);
	list_hosts(&item, 1, &message->values);
	message->values.routes = &message->values;
	message->values.nroutes = 1;
	if (!adapter->per_host)
		return;

	hosts = count_hosts(item);
	host = unit < hosts ? route->hosts.items[unit] :
		mrb_route_book_removed_host(route, unit - hosts);
	removing = unit >= hosts || route->version_id == NULL;
	if (removing)
		message->request = adapter->remove;
	/* Another deployment may route the host by now. */
	if (host == NULL)
		message->request = NULL;
	else if (mrb_route_is_wildcard(host))
	{
		if (adapter->wildcard_request != NULL)
			message->request = removing ? adapter->wildcard_remove :
				adapter->wildcard_request;
		if (!adapter->wildcards)
			message->request = NULL;
		message->values.text[MRB_VAR_DOMAIN] = host + 2;
	}
	message->values.text[MRB_VAR_HOST] = host;
}

/*
 * Of a deployment that nothing serves all hosts are removed, in any order.
 */
bool
mrb_message_removes(const MrbItem *item, int unit)
{
	return item->endpoint->adapter->per_host &&
		item->route->version_id != NULL && unit >= count_hosts(item);
}

/*
 * The last host is a wildcard host if any is.
 */
const char *
mrb_message_unsupported_host(const MrbItem *item)
{
	const MrbAdapter *adapter = item->endpoint->adapter;
	const MrbStringList *hosts = &item->route->hosts;

	if (!adapter->per_host || adapter->wildcards || hosts->n == 0 ||
		item->route->version_id == NULL ||
		!mrb_route_is_wildcard(hosts->items[hosts->n - 1]))
		return NULL;
	return hosts->items[hosts->n - 1];
}

/*
 * Make one request about all items; a single item is sent as a whole.
 */
void
mrb_message_of_batch(MrbItem *const *items, int nitems, MrbMessage *message)
{
	int64		epoch = 0;
	MrbTemplateValues *values = &message->values;

	if (nitems == 1)
	{
		mrb_message_of_unit(items[0], 0, message);
		return;
	}
	for (int i = 0; i < nitems; i++)
		epoch = Max(epoch, items[i]->route->epoch);
	begin(message, items[0], epoch);
	name_batch(message, items, nitems);
	list_hosts(items, nitems, values);
	if ((message->request->uses & MRB_VAR_BIT(MRB_VAR_ROUTES)) != 0)
		list_routes(items, nitems, values);
}

/*
 * Number of hosts that are sent one by one.  Hosts of a deployment that no
 * longer serves anything are removed.
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
 * Fill in what all messages have.
 */
static void
begin(MrbMessage *message, const MrbItem *item, int64 epoch)
{
	MrbTemplateValues *values = &message->values;

	MemSet(values, 0, sizeof(MrbTemplateValues));
	message->request = item->endpoint->adapter->request;
	message->epoch = epoch;
	snprintf(message->epoch_text, sizeof(message->epoch_text), INT64_FORMAT,
			 epoch);
	values->text[MRB_VAR_EPOCH] = message->epoch_text;
	values->text[MRB_VAR_ORIGIN] = mrb_variable_origin();
	values->text[MRB_VAR_CHANGED_AT] =
		mrb_route_changed_at(item->route, message->changed_at);
}

/*
 * Fill in the values of a single route.
 */
static void
fill_route(MrbTemplateValues *values, const MrbRoute *route)
{
	const char **text = values->text;

	text[MRB_VAR_DEPLOYMENT_ID] = route->deployment_id;
	text[MRB_VAR_KIND] = route->kind;
	text[MRB_VAR_OPERATION_ID] = route->operation_id;
	text[MRB_VAR_RELEASE_ID] = route->release_id;
	text[MRB_VAR_SHA256] = route->sha256;

	/* A key in S3 may have characters that templates reject. */
	text[MRB_VAR_STORAGE_URI] = route->storage_uri == NULL ? NULL :
		mrb_escape_uri(route->storage_uri);
	text[MRB_VAR_TENANT_ID] = route->tenant_id;
	text[MRB_VAR_VERSION_ID] = route->version_id;
	text[MRB_VAR_VERSION_NUMBER] = route->version_number;
}

/*
 * The id of a message about one route.
 */
static const char *
name_route(const MrbItem *item, const char *epoch)
{
	if (item->bulk)
		return psprintf("%s@%s." INT64_FORMAT, item->route->deployment_id,
						epoch, item->endpoint->generation);
	return psprintf("%s@%s", item->route->deployment_id, epoch);
}

/*
 * The id of a message about a batch: a hash of its contents.
 */
static void
name_batch(MrbMessage *message, MrbItem *const *items, int n)
{
	uint64		hash = 0;

	for (int i = 0; i < n; i++)
	{
		const MrbRoute *route = items[i]->route;

		hash = hash_combine64(hash, route->epoch);
		if (items[i]->bulk)
			hash = hash_combine64(hash, items[i]->endpoint->generation);
		hash = hash_bytes_extended((const unsigned char *) route->deployment_id,
								   strlen(route->deployment_id), hash);
	}
	message->values.text[MRB_VAR_MESSAGE_ID] =
		psprintf("batch-" UINT64_FORMAT "@%s", hash, message->epoch_text);
}

/*
 * Collect the deployments, hosts and removed hosts of all items.
 */
static void
list_hosts(MrbItem *const *items, int n, MrbTemplateValues *values)
{
	int			nhosts = 0;
	int			nremoved = 0;
	char	   *host;

	for (int i = 0; i < n; i++)
	{
		nhosts += items[i]->route->hosts.n;
		nremoved += items[i]->route->nremoved_hosts;
	}
	values->deployment_ids.items = palloc(n * sizeof(char *));
	values->hosts.items = palloc((nhosts + 1) * sizeof(char *));
	values->plain_hosts.items = palloc((nhosts + 1) * sizeof(char *));
	values->wildcard_hosts.items = palloc((nhosts + 1) * sizeof(char *));
	values->removed_hosts.items = palloc((nremoved + 1) * sizeof(char *));
	for (int i = 0; i < n; i++)
	{
		const MrbRoute *route = items[i]->route;

		values->deployment_ids.items[values->deployment_ids.n++] =
			route->deployment_id;
		for (int h = 0; h < route->hosts.n; h++)
		{
			MrbStringList *part;

			host = route->hosts.items[h];
			part = mrb_route_is_wildcard(host) ? &values->wildcard_hosts :
				&values->plain_hosts;
			values->hosts.items[values->hosts.n++] = host;
			part->items[part->n++] = host;
		}
		for (int r = 0; r < route->nremoved_hosts; r++)
		{
			host = mrb_route_book_removed_host(route, r);
			if (host != NULL)
				values->removed_hosts.items[values->removed_hosts.n++] = host;
		}
	}
}

/*
 * Fill in the values of each route of the batch.
 */
static void
list_routes(MrbItem *const *items, int n, MrbTemplateValues *values)
{
	MrbTemplateValues *routes = palloc0(n * sizeof(MrbTemplateValues));

	for (int i = 0; i < n; i++)
	{
		const MrbRoute *route = items[i]->route;

		fill_route(&routes[i], route);
		routes[i].text[MRB_VAR_EPOCH] = psprintf(INT64_FORMAT, route->epoch);
		routes[i].text[MRB_VAR_CHANGED_AT] =
			mrb_route_changed_at(route, palloc(MRB_ROUTE_TIME_SIZE));
		list_hosts(&items[i], 1, &routes[i]);
	}
	values->routes = routes;
	values->nroutes = n;
}
