/*-------------------------------------------------------------------------
 *
 * route_log.c
 *	  The log of route changes, in the order of their epochs.
 *
 * The position of an endpoint is an epoch of this log.  The log is trimmed;
 * removed hosts are also stored in a table of their own, so that a
 * resynchronization can remove them later.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/array.h"
#include "common/query.h"
#include "route/route_log.h"

/* The arguments of append_query: one array a column. */
enum
{
	ARG_EPOCH,
	ARG_DEPLOYMENT_ID,
	ARG_ROUTE_SEQ,
	ARG_KIND,
	ARG_HOST,
	ARG_CREATED_AT,
	APPEND_ARGS
};

static MrbQuery append_query = {
	.sql = "INSERT INTO miosa.route_log"
	" (epoch, deployment_id, route_seq, kind, host, created_at)"
	" SELECT * FROM unnest($1::pg_catalog.int8[], $2::text[],"
	" $3::pg_catalog.int8[], $4::text[], $5::text[],"
	" $6::pg_catalog.timestamptz[])",
	.nargs = APPEND_ARGS,
	.argtypes = {INT8ARRAYOID, TEXTARRAYOID, INT8ARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID, TIMESTAMPTZARRAYOID},
	.expected = MRB_QUERY_INSERT,
};

static MrbQuery removed_query = {
	.sql = "INSERT INTO miosa.removed_hosts AS r (host, deployment_id)"
	" SELECT DISTINCT ON (n.host) n.host, n.id"
	" FROM unnest($1::text[], $2::text[]) WITH ORDINALITY"
	" AS n(host, id, place) ORDER BY n.host, n.place DESC"
	" ON CONFLICT (host) DO UPDATE SET deployment_id = excluded.deployment_id,"
	" removed_at = excluded.removed_at",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	.expected = MRB_QUERY_INSERT,
};

/* The column that read_query adds. */
#define READ_EPOCH MRB_ROUTE_LOG_NEXT

static MrbQuery read_query = {
	.sql = "SELECT " MRB_ROUTE_LOG_COLUMNS("l") ", l.epoch"
	" FROM miosa.route_log l WHERE l.epoch > $1"
	" ORDER BY l.epoch LIMIT $2",
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID},
};

static const char *const kind_names[] = {
	[MRB_ROUTE_CHANGE_ROUTE] = "route",
	[MRB_ROUTE_CHANGE_HOST_REMOVED] = "host_removed",
	[MRB_ROUTE_CHANGE_REPURGE] = "repurge",
	[MRB_ROUTE_CHANGE_OTHER] = "capacity",
};

static MrbRouteChangeKind parse_kind(const char *name);
static void read_routes(MrbRouteChanges *changes);
static void append(const MrbRouteChanges *changes);
static void store_removed_hosts(const MrbRouteChanges *changes);

/*
 * A row of kind "settings" only sets a flag: it is no change of a route.
 */
void
mrb_route_log_fetch(MrbRouteChanges *changes, uint64 n, MemoryContext context)
{
	changes->changes = MemoryContextAllocZero(context,
											  Max(n, 1) * sizeof(MrbRouteChange));
	for (uint64 i = 0; i < n; i++)
	{
		MrbRouteChange *change = &changes->changes[changes->nchanges];
		char	   *kind = mrb_query_text(i, MRB_ROUTE_LOG_KIND);

		if (strcmp(kind, "settings") == 0)
		{
			changes->settings = true;
			continue;
		}
		change->kind = parse_kind(kind);
		change->deployment_id = mrb_query_text(i, MRB_ROUTE_LOG_DEPLOYMENT_ID);
		change->route_seq = mrb_query_int64(i, MRB_ROUTE_LOG_ROUTE_SEQ, 0);
		change->host = mrb_query_text(i, MRB_ROUTE_LOG_HOST);
		change->since = mrb_query_timestamp(i, MRB_ROUTE_LOG_CREATED_AT, 0);
		change->routed = mrb_query_bool(i, MRB_ROUTE_LOG_ROUTED_AGAIN);
		if (change->host == NULL && (change->kind == MRB_ROUTE_CHANGE_HOST_REMOVED ||
									 change->kind == MRB_ROUTE_CHANGE_REPURGE))
			change->kind = MRB_ROUTE_CHANGE_OTHER;	/* nothing to deliver */
		changes->nchanges++;
	}
}

/*
 * Write the changes to the log and the removed hosts to their table.
 */
void
mrb_route_log_append(MrbRouteChanges *changes)
{
	read_routes(changes);
	append(changes);
	store_removed_hosts(changes);
}

/*
 * The routes read are the present ones, not those at the time of the changes.
 */
void
mrb_route_log_read(int64 after, int limit, MrbRouteChanges *changes)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[2] = {Int64GetDatum(after), Int32GetDatum(limit)};
	uint64		n;

	MemSet(changes, 0, sizeof(MrbRouteChanges));
	mrb_query_open();
	n = mrb_query_run(&read_query, args, NULL);
	mrb_route_log_fetch(changes, n, context);
	for (uint64 i = 0; i < n; i++)
		changes->changes[i].epoch = mrb_query_int64(i, READ_EPOCH, 0);
	mrb_query_close();
	changes->more = n >= (uint64) limit;
	changes->last_epoch = n > 0 ? changes->changes[n - 1].epoch : after;
	if (n > 0)
		read_routes(changes);
}

/*
 * Convert the name of a kind.  Kinds that are not delivered to edges have no
 * name here.
 */
static MrbRouteChangeKind
parse_kind(const char *name)
{
	for (size_t i = 0; i < lengthof(kind_names); i++)
		if (strcmp(kind_names[i], name) == 0)
			return i;
	return MRB_ROUTE_CHANGE_OTHER;
}

/*
 * Read the present routes of the deployments that the changes name.
 */
static void
read_routes(MrbRouteChanges *changes)
{
	char	  **ids = palloc(changes->nchanges * sizeof(char *));

	for (int i = 0; i < changes->nchanges; i++)
		ids[i] = changes->changes[i].deployment_id;
	changes->routes = mrb_route_read(ids, changes->nchanges, &changes->nroutes);
}

/*
 * Insert all changes into the log with one statement.
 */
static void
append(const MrbRouteChanges *changes)
{
	static const Oid element_types[APPEND_ARGS] = {
		[ARG_EPOCH] = INT8OID,
		[ARG_DEPLOYMENT_ID] = TEXTOID,
		[ARG_ROUTE_SEQ] = INT8OID,
		[ARG_KIND] = TEXTOID,
		[ARG_HOST] = TEXTOID,
		[ARG_CREATED_AT] = TIMESTAMPTZOID,
	};
	int			n = changes->nchanges;
	Datum	   *columns[APPEND_ARGS];
	bool	   *nulls = palloc0(n * sizeof(bool));
	Datum		args[APPEND_ARGS];

	for (int c = 0; c < APPEND_ARGS; c++)
		columns[c] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		MrbRouteChange *change = &changes->changes[i];

		columns[ARG_EPOCH][i] = Int64GetDatum(change->epoch);
		columns[ARG_DEPLOYMENT_ID][i] =
			CStringGetTextDatum(change->deployment_id);
		columns[ARG_ROUTE_SEQ][i] = Int64GetDatum(change->route_seq);
		columns[ARG_KIND][i] = CStringGetTextDatum(kind_names[change->kind]);
		nulls[i] = change->host == NULL;
		columns[ARG_HOST][i] = nulls[i] ? (Datum) 0 :
			CStringGetTextDatum(change->host);
		columns[ARG_CREATED_AT][i] = TimestampTzGetDatum(change->since);
	}
	for (int c = 0; c < APPEND_ARGS; c++)
		args[c] = mrb_array_make(columns[c], c == ARG_HOST ? nulls : NULL, n,
								 element_types[c]);
	mrb_query_open();
	mrb_query_run(&append_query, args, NULL);
	mrb_query_close();
}

/*
 * Store the removed hosts that are not routed again.  A resynchronization
 * reads them after the log has been trimmed.
 */
static void
store_removed_hosts(const MrbRouteChanges *changes)
{
	Datum	   *hosts = palloc(changes->nchanges * sizeof(Datum));
	Datum	   *ids = palloc(changes->nchanges * sizeof(Datum));
	Datum		args[2];
	int			n = 0;

	for (int i = 0; i < changes->nchanges; i++)
	{
		MrbRouteChange *change = &changes->changes[i];

		if (change->kind != MRB_ROUTE_CHANGE_HOST_REMOVED || change->routed)
			continue;
		hosts[n] = CStringGetTextDatum(change->host);
		ids[n++] = CStringGetTextDatum(change->deployment_id);
	}
	if (n == 0)
		return;
	args[0] = mrb_array_make(hosts, NULL, n, TEXTOID);
	args[1] = mrb_array_make(ids, NULL, n, TEXTOID);
	mrb_query_open();
	mrb_query_run(&removed_query, args, NULL);
	mrb_query_close();
}
