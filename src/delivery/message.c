/*-------------------------------------------------------------------------
 *
 * message.c
 *	  What a request says about a deployment, or about several.
 *
 * An adapter that works per host makes a request for each host of the route,
 * then one for each host that is no longer routed.  Wildcard hosts come last;
 * an adapter that can do nothing with them is not sent any.  All others make one
 * request of the whole route, or of the routes of a batch, which then have
 * only lists in common.
 *
 * A message's id is made of what it says, so that it is the same on every
 * try, and another one as soon as the route has changed; or when everything
 * is told again, which who drops repeats must not drop.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "adapter/escape.h"
#include "delivery/message.h"

static int	count_hosts(const MrbItem *item);
static void begin(MrbMessage *message, const MrbItem *item, int64 epoch);
static void fill_route(MrbMessage *message, const MrbRoute *route);
static const char *name_route(const MrbItem *item, const char *epoch);
static void name_batch(MrbMessage *message, MrbItem *const *items, int n);
static void list_hosts(MrbItem *const *items, int n, MrbTemplateValues *values);

/*
 * Where nothing was ever published there is nothing to tell; what was
 * unpublished is told like a change.
 */
int
mrb_message_count(const MrbItem *item)
{
	const MrbAdapter *adapter = item->endpoint->adapter;
	const MrbRoute *route = item->route;

	if (!adapter->per_host)
		return route->version_id != NULL || route->operation_id != NULL ||
			route->ngone > 0 ? 1 : 0;
	return count_hosts(item) +
		(adapter->remove != NULL ? route->ngone : 0);
}

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
	fill_route(message, route);
	list_hosts(&item, 1, &message->values);
	if (!adapter->per_host)
		return;

	hosts = count_hosts(item);
	host = unit < hosts ? route->hosts.items[unit] :
		mrb_route_book_gone_host(route, unit - hosts);
	removing = unit >= hosts || route->version_id == NULL;
	if (removing)
		message->call = adapter->remove;
	/* It may have been routed again meanwhile. */
	if (host == NULL)
		message->call = NULL;
	else if (mrb_route_is_wildcard(host))
	{
		if (adapter->wildcard_request != NULL)
			message->call = removing ? adapter->wildcard_remove :
				adapter->wildcard_request;
		if (!adapter->wildcards)
			message->call = NULL;
		message->values.text[MRB_VAR_DOMAIN] = host + 2;
	}
	message->values.text[MRB_VAR_HOST] = host;
}

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

static void
begin(MrbMessage *message, const MrbItem *item, int64 epoch)
{
	MrbTemplateValues *values = &message->values;

	MemSet(values, 0, sizeof(MrbTemplateValues));
	message->call = item->endpoint->adapter->request;
	message->epoch = epoch;
	snprintf(message->epoch_text, sizeof(message->epoch_text), INT64_FORMAT,
			 epoch);
	values->text[MRB_VAR_EPOCH] = message->epoch_text;
	values->text[MRB_VAR_CHANGED_AT] =
		mrb_route_changed_at(item->route, message->changed_at);
}

static void
fill_route(MrbMessage *message, const MrbRoute *route)
{
	const char **text = message->values.text;

	text[		MRB_VAR_DEPLOYMENT_ID] = route->deployment_id;
	text[		MRB_VAR_KIND] = route->kind;
	text[		MRB_VAR_OPERATION_ID] = route->operation_id;
	text[		MRB_VAR_RELEASE_ID] = route->release_id;
	text[		MRB_VAR_SHA256] = route->sha256;

	/* A key in S3 can have characters that no template takes. */
	text[		MRB_VAR_STORAGE_URI] = route->storage_uri == NULL ? NULL :
	mrb_escape_uri(route->storage_uri);
	text[		MRB_VAR_TENANT_ID] = route->tenant_id;
	text[		MRB_VAR_VERSION_ID] = route->version_id;
	text[		MRB_VAR_VERSION_NUMBER] = route->version_number;
}

static const char *
name_route(const MrbItem *item, const char *epoch)
{
	if (item->bulk)
		return psprintf("%s@%s." INT64_FORMAT, item->route->deployment_id,
						epoch, item->endpoint->generation);
	return psprintf("%s@%s", item->route->deployment_id, epoch);
}

/*
 * A short name for all that the batch says.
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
 * Deployments, hosts and removed hosts of all items, one after the other.
 */
static void
list_hosts(MrbItem *const *items, int n, MrbTemplateValues *values)
{
	int			nhosts = 0;
	int			ngone = 0;
	char	   *host;

	for (int i = 0; i < n; i++)
	{
		nhosts += items[i]->route->hosts.n;
		ngone += items[i]->route->ngone;
	}
	values->deployment_ids.items = palloc(n * sizeof(char *));
	values->hosts.items = palloc((nhosts + 1) * sizeof(char *));
	values->plain_hosts.items = palloc((nhosts + 1) * sizeof(char *));
	values->wildcard_hosts.items = palloc((nhosts + 1) * sizeof(char *));
	values->removed_hosts.items = palloc((ngone + 1) * sizeof(char *));
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
		for (int g = 0; g < route->ngone; g++)
		{
			host = mrb_route_book_gone_host(route, g);
			if (host != NULL)
				values->removed_hosts.items[values->removed_hosts.n++] = host;
		}
	}
}
