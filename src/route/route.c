/*-------------------------------------------------------------------------
 *
 * route.c
 *	  Reads routes as edges receive them.
 *
 * A route and its epoch are read in one snapshot and stay together.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "common/iso_time.h"
#include "common/query.h"
#include "route/route.h"

/* The columns of ROUTE_COLUMNS(), in order. */
enum
{
	COL_DEPLOYMENT_ID = 1,
	COL_TENANT_ID,
	COL_DEPLOYMENT_KIND,
	COL_VERSION_ID,
	COL_VERSION_NUMBER,
	COL_VERSION_KIND,
	COL_RELEASE_ID,
	COL_STORAGE_URI,
	COL_SHA256,
	COL_OPERATION_ID,
	COL_HOSTS,
	COL_UPDATED_AT,
	COL_EPOCH,
	COL_REMOVED_HOSTS
};

#define ROUTE_COLUMNS(id, epoch, removed) \
	"SELECT " id ", p.tenant_id, p.kind, r.version_id," \
	" r.version_number::text, r.kind, r.release_id, r.storage_uri, r.sha256," \
	" CASE WHEN p.seq > 0 THEN p.id || '#' || p.seq::text END," \
	" ARRAY(SELECT h.host FROM miosa.hosts h WHERE h.deployment_id = p.id" \
	" ORDER BY h.host LIKE '*.%', h.host COLLATE \"C\"), p.updated_at," \
	" " epoch ", " removed

static MrbQuery read_query = {
	.sql = ROUTE_COLUMNS("p.id", "0::pg_catalog.int8", "NULL::text[]")
	" FROM miosa.deployments p JOIN miosa.routes r ON r.deployment_id = p.id"
	" WHERE p.id = ANY ($1)",
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

/*
 * The epoch of a deployment's last change.  If that was trimmed from the log,
 * it is at most the epoch up to which the log was trimmed.
 */
#define LAST_CHANGE \
	"coalesce((SELECT max(l.epoch) FROM miosa.route_log l" \
	" WHERE l.deployment_id = k.id)," \
	" (SELECT s.trimmed_epoch FROM miosa.dispatcher_state s))"

#define REMOVED_HOSTS \
	"ARRAY(SELECT h.host FROM miosa.removed_hosts h" \
	" WHERE h.deployment_id = k.id AND NOT " MRB_HOST_IS_ROUTED("h.host") ")"

static MrbQuery read_after_query = {
	.sql = ROUTE_COLUMNS("k.id", LAST_CHANGE, REMOVED_HOSTS)
	" FROM ((SELECT d.id FROM miosa.deployments d WHERE d.id > $1"
	" ORDER BY d.id LIMIT $2)"
	" UNION (SELECT h.deployment_id FROM miosa.removed_hosts h"
	" WHERE h.deployment_id > $1 GROUP BY h.deployment_id"
	" ORDER BY h.deployment_id LIMIT $2)"
	" ORDER BY 1 LIMIT $2) k"
	" LEFT JOIN miosa.deployments p ON p.id = k.id"
	" LEFT JOIN miosa.routes r ON r.deployment_id = p.id ORDER BY k.id",
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

static MrbRoute *fetch_routes(int n, MemoryContext context);
static void fetch_hosts(int row, int column, MrbStringList *hosts,
						MemoryContext context);

/*
 * Deployments that do not exist are left out.
 */
MrbRoute *
mrb_route_read(char **ids, int n, int *found)
{
	MemoryContext context = CurrentMemoryContext;
	Datum	   *elements = palloc(n * sizeof(Datum));
	Datum		arg;
	MrbRoute   *routes;

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(ids[i]);
	arg = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false,
										  TYPALIGN_INT));
	mrb_query_open();
	*found = mrb_query_run(&read_query, &arg, NULL);
	routes = fetch_routes(*found, context);
	mrb_query_close();
	return routes;
}

/*
 * A deleted deployment with removed hosts has a route without tenant.
 */
MrbRoute *
mrb_route_read_after(const char *id, int limit, int *found)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[2] = {CStringGetTextDatum(id), Int32GetDatum(limit)};
	MrbRoute   *routes;

	mrb_query_open();
	*found = mrb_query_run(&read_after_query, args, NULL);
	routes = fetch_routes(*found, context);
	mrb_query_close();
	return routes;
}

/*
 * The time is that of the change, or of the deployment's last change where the
 * route was not read for one.
 */
char *
mrb_route_changed_at(const MrbRoute *route, char *buffer)
{
	TimestampTz at = route->since != 0 ? route->since : route->updated_at;

	return at != 0 ? mrb_iso_time_write(at, buffer) : NULL;
}

/*
 * Hosts are validated on input, so a "*" at the start is a whole label.
 */
bool
mrb_route_is_wildcard(const char *host)
{
	return host[0] == '*';
}

/*
 * Read the routes from the last result.  Their strings are in the context that
 * was current at mrb_query_open().
 */
static MrbRoute *
fetch_routes(int n, MemoryContext context)
{
	MrbRoute   *routes = MemoryContextAllocZero(context,
												Max(n, 1) * sizeof(MrbRoute));

	for (int i = 0; i < n; i++)
	{
		MrbRoute   *route = &routes[i];

		route->deployment_id = mrb_query_text(i, COL_DEPLOYMENT_ID);
		route->tenant_id = mrb_query_text(i, COL_TENANT_ID);
		route->deployment_kind = mrb_query_text(i, COL_DEPLOYMENT_KIND);
		route->version_id = mrb_query_text(i, COL_VERSION_ID);
		route->version_number = mrb_query_text(i, COL_VERSION_NUMBER);
		route->kind = mrb_query_text(i, COL_VERSION_KIND);
		route->release_id = mrb_query_text(i, COL_RELEASE_ID);
		route->storage_uri = mrb_query_text(i, COL_STORAGE_URI);
		route->sha256 = mrb_query_text(i, COL_SHA256);
		route->operation_id = mrb_query_text(i, COL_OPERATION_ID);
		fetch_hosts(i, COL_HOSTS, &route->hosts, context);
		fetch_hosts(i, COL_REMOVED_HOSTS, &route->removed, context);
		route->updated_at = mrb_query_timestamp(i, COL_UPDATED_AT, 0);
		route->epoch = mrb_query_int64(i, COL_EPOCH, 0);
	}
	return routes;
}

/*
 * Read an array of hosts into the context; the list stays empty for null.
 */
static void
fetch_hosts(int row, int column, MrbStringList *hosts, MemoryContext context)
{
	bool		isnull;
	Datum		array = mrb_query_datum(row, column, &isnull);
	Datum	   *elements;
	MemoryContext old;

	if (isnull)
		return;
	old = MemoryContextSwitchTo(context);
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, &hosts->n);
	hosts->items = palloc(Max(hosts->n, 1) * sizeof(char *));
	for (int i = 0; i < hosts->n; i++)
		hosts->items[i] = TextDatumGetCString(elements[i]);
	MemoryContextSwitchTo(old);
}
