/*-------------------------------------------------------------------------
 *
 * route_api.c
 *	  SQL-callable functions for routes.
 *
 * A page has up to 10,000 routes.  Read by a statement and put together by
 * jsonb_build_object(), each took three times as long.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "base/shown_uri.h"
#include "common/jsonb_write.h"
#include "common/query.h"
#include "operation/deployment.h"
#include "operation/tenancy.h"
#include "operation/actor.h"
#include "route/route.h"

PG_FUNCTION_INFO_V1(mrb_route_changes);

/* A page ends before the change that makes it larger, in bytes. */
#define MAX_PAGE (4 * 1024 * 1024)

/* Bytes of a change's other members and names. */
#define CHANGE_OVERHEAD 500

/* Columns of changes_query, from 1. */
enum
{
	CHANGE_EPOCH = 1,
	CHANGE_KIND,
	CHANGE_DEPLOYMENT_ID,
	CHANGE_HOST
};

static MrbQuery changes_query = {
	.sql = "SELECT l.epoch, l.kind, l.deployment_id,"
	" CASE WHEN l.kind = 'host_removed' THEN l.host END"
	" FROM miosa.route_log l"
	" WHERE l.epoch > $1 AND l.kind IN ('route', 'host_removed')"
	" ORDER BY l.epoch LIMIT $2",
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID},
	.read_only = true,
};

/* The members of a change, in the order of jsonb: by length, then bytes. */
enum
{
	MEMBER_KIND,
	MEMBER_EPOCH,
	MEMBER_HOSTS,
	MEMBER_SHA256,
	MEMBER_ROUTE_SEQ,
	MEMBER_RELEASE_ID,
	MEMBER_VERSION_ID,
	MEMBER_STORAGE_URI,
	MEMBER_REMOVED_HOST,
	MEMBER_DEPLOYMENT_ID,
	MEMBER_COUNT
};

static const char *const member_names[MEMBER_COUNT] = {
	[MEMBER_KIND] = "kind",
	[MEMBER_EPOCH] = "epoch",
	[MEMBER_HOSTS] = "hosts",
	[MEMBER_SHA256] = "sha256",
	[MEMBER_ROUTE_SEQ] = "route_seq",
	[MEMBER_RELEASE_ID] = "release_id",
	[MEMBER_VERSION_ID] = "version_id",
	[MEMBER_STORAGE_URI] = "storage_uri",
	[MEMBER_REMOVED_HOST] = "removed_host",
	[MEMBER_DEPLOYMENT_ID] = "deployment_id",
};

/* An entry of the log. */
typedef struct Change
{
	int64		epoch;
	char	   *kind;
	char	   *deployment_id;
	char	   *removed_host;
} Change;

static int	count_fitting(const Change *changes, int n, const MrbRoute *routes,
						  int nroutes);
static Change *read_changes(int64 epoch, int limit, int *n);
static int	keep_seen(Change *changes, int n);
static void build_change(JsonbValue *object, const Change *change,
						 const MrbRoute *route, bool full);
static void build_hosts(JsonbValue *array, const MrbRoute *route);
static const MrbRoute *find_route(const MrbRoute *routes, int n,
								  const char *deployment_id);
static int	compare_route(const void *id, const void *route);
static int	compare_hosts(const void *a, const void *b);
static void set_key(JsonbPair *pair, const char *name);
static void set_text(JsonbValue *value, const char *text);
static void set_number(JsonbValue *value, int64 number);

/*
 * miosa.route_changes(epoch, "limit", gap)
 */
Datum
mrb_route_changes(PG_FUNCTION_ARGS)
{
	int64		epoch = PG_GETARG_INT64(0);
	JsonbPair	pairs[3];
	JsonbValue	result = {.type = jbvObject};
	JsonbValue *data = &pairs[1].value;
	int			n;
	int			nseen;
	int			nroutes;
	Change	   *changes = read_changes(epoch, PG_GETARG_INT32(1), &n);
	char	  **ids = palloc(Max(n, 1) * sizeof(char *));
	bool		full = mrb_actor_fetches();
	int64		next_epoch = n > 0 ? changes[n - 1].epoch : epoch;
	MrbRoute   *routes;

	nseen = keep_seen(changes, n);
	for (int i = 0; i < nseen; i++)
		ids[i] = changes[i].deployment_id;
	routes = mrb_route_read_active(ids, nseen, &nroutes);
	n = count_fitting(changes, nseen, routes, nroutes);
	if (n < nseen)
		next_epoch = changes[n - 1].epoch;

	set_key(&pairs[0], "gap");
	pairs[0].value.type = jbvBool;
	pairs[0].value.val.boolean = PG_GETARG_BOOL(2);
	set_key(&pairs[1], "data");
	data->type = jbvArray;
	data->val.array.nElems = n;
	data->val.array.rawScalar = false;
	data->val.array.elems = palloc(Max(n, 1) * sizeof(JsonbValue));
	for (int i = 0; i < n; i++)
		build_change(&data->val.array.elems[i], &changes[i],
					 find_route(routes, nroutes, changes[i].deployment_id),
					 full);
	set_key(&pairs[2], "next_epoch");
	set_number(&pairs[2].value, next_epoch);
	result.val.object.nPairs = lengthof(pairs);
	result.val.object.pairs = pairs;
	PG_RETURN_JSONB_P(mrb_jsonb_write(&result));
}

/*
 * Return how many of the changes fit into a page, which has at least one: each
 * has all hosts of its deployment.
 */
static int
count_fitting(const Change *changes, int n, const MrbRoute *routes, int nroutes)
{
	size_t		bytes = 0;

	for (int i = 0; i < n; i++)
	{
		const MrbRoute *route = find_route(routes, nroutes,
										   changes[i].deployment_id);

		bytes += CHANGE_OVERHEAD;
		for (int host = 0; route != NULL && host < route->hosts.n; host++)
			bytes += strlen(route->hosts.items[host]);
		if (i > 0 && bytes > MAX_PAGE)
			return i;
	}
	return n;
}

/*
 * Read a page of the log.
 */
static Change *
read_changes(int64 epoch, int limit, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[2] = {Int64GetDatum(epoch), Int32GetDatum(limit)};
	Change	   *changes;

	mrb_query_open();
	*n = (int) mrb_query_run(&changes_query, args, NULL);
	changes = MemoryContextAlloc(context, Max(*n, 1) * sizeof(Change));
	for (int i = 0; i < *n; i++)
	{
		changes[i].epoch = mrb_query_int64(i, CHANGE_EPOCH, 0);
		changes[i].kind = mrb_query_text(i, CHANGE_KIND);
		changes[i].deployment_id = mrb_query_text(i, CHANGE_DEPLOYMENT_ID);
		changes[i].removed_host = mrb_query_text(i, CHANGE_HOST);
	}
	mrb_query_close();
	return changes;
}

/*
 * Keep the changes of deployments that exist for the caller, and return how many
 * these are.
 */
static int
keep_seen(Change *changes, int n)
{
	int			kept = 0;

	if (mrb_tenancy_sees_all())
		return n;
	for (int i = 0; i < n; i++)
	{
		char	   *tenant_id = mrb_deployment_tenant(changes[i].deployment_id);

		if (tenant_id != NULL && mrb_tenancy_sees(tenant_id))
			changes[kept++] = changes[i];
	}
	return kept;
}

/*
 * Build the object of a change.  A deployment that was deleted has no route.
 * full: also the query of a presigned URI.
 */
static void
build_change(JsonbValue *object, const Change *change, const MrbRoute *route,
			 bool full)
{
	static const MrbRoute none = {0};
	JsonbPair  *pairs = palloc(MEMBER_COUNT * sizeof(JsonbPair));

	for (int i = 0; i < MEMBER_COUNT; i++)
	{
		set_key(&pairs[i], member_names[i]);
		pairs[i].value.type = jbvNull;
	}
	if (route != NULL)
		set_number(&pairs[MEMBER_ROUTE_SEQ].value, route->route_seq);
	else
		route = &none;
	set_text(&pairs[MEMBER_KIND].value, change->kind);
	set_number(&pairs[MEMBER_EPOCH].value, change->epoch);
	build_hosts(&pairs[MEMBER_HOSTS].value, route);
	set_text(&pairs[MEMBER_SHA256].value, route->sha256);
	set_text(&pairs[MEMBER_RELEASE_ID].value, route->release_id);
	set_text(&pairs[MEMBER_VERSION_ID].value, route->version_id);
	set_text(&pairs[MEMBER_STORAGE_URI].value,
			 full || route->storage_uri == NULL ? route->storage_uri :
			 mrb_shown_uri_mask(route->storage_uri));
	set_text(&pairs[MEMBER_REMOVED_HOST].value, change->removed_host);
	set_text(&pairs[MEMBER_DEPLOYMENT_ID].value, change->deployment_id);
	object->type = jbvObject;
	object->val.object.nPairs = MEMBER_COUNT;
	object->val.object.pairs = pairs;
}

/*
 * Build the array of a route's hosts, in the order of their bytes.
 */
static void
build_hosts(JsonbValue *array, const MrbRoute *route)
{
	int			n = route->hosts.n;
	char	  **hosts = palloc(Max(n, 1) * sizeof(char *));

	if (n > 0)
		memcpy(hosts, route->hosts.items, n * sizeof(char *));
	if (n > 1)
		qsort(hosts, n, sizeof(char *), compare_hosts);
	array->type = jbvArray;
	array->val.array.nElems = n;
	array->val.array.rawScalar = false;
	array->val.array.elems = palloc(Max(n, 1) * sizeof(JsonbValue));
	for (int i = 0; i < n; i++)
		set_text(&array->val.array.elems[i], hosts[i]);
}

/*
 * Find the route of a deployment among routes in the order of the ids; NULL for
 * none.
 */
static const MrbRoute *
find_route(const MrbRoute *routes, int n, const char *deployment_id)
{
	return bsearch(deployment_id, routes, n, sizeof(MrbRoute), compare_route);
}

/*
 * Compare an id with that of a route.
 */
static int
compare_route(const void *id, const void *route)
{
	return strcmp(id, ((const MrbRoute *) route)->deployment_id);
}

/*
 * Order hosts by their bytes.
 */
static int
compare_hosts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/*
 * Set the name of a member.
 */
static void
set_key(JsonbPair *pair, const char *name)
{
	set_text(&pair->key, name);
	pair->order = 0;
}

/*
 * Set a text; NULL stands for null.
 */
static void
set_text(JsonbValue *value, const char *text)
{
	if (text == NULL)
	{
		value->type = jbvNull;
		return;
	}
	value->type = jbvString;
	value->val.string.val = unconstify(char *, text);
	value->val.string.len = strlen(text);
}

/*
 * Set a number.
 */
static void
set_number(JsonbValue *value, int64 number)
{
	value->type = jbvNumeric;
	value->val.numeric = int64_to_numeric(number);
}
