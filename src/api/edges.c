/*-------------------------------------------------------------------------
 *
 * edges.c
 *	  The endpoints that receive a deployment, each with its state.
 *
 * Their rows are read in one statement, and their positions taken from shared
 * memory.  Rows of miosa.endpoint_state are written later than positions; they
 * are read only for endpoints without an entry there.  delivery/edge_state.c
 * makes a state out of both.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/edges.h"
#include "api/progress_snapshot.h"
#include "common/array.h"
#include "endpoint/health.h"

/* Columns of change_query, from 1. */
enum
{
	CHANGE_TENANT = 1,
	CHANGE_KIND,
	CHANGE_TTL,
	CHANGE_EPOCH,
	CHANGE_CREATED_AT,
	CHANGE_UNREAD,
	CHANGE_QUEUED,
	CHANGE_TERM,
	CHANGE_MOVED,

	/* of fleet_query */
	CHANGE_LAST_DEPLOYMENT,
	CHANGE_WORKS,
	CHANGE_WAITS
};

/* Columns of edges_query, from 1. */
enum
{
	EDGE_NAME = 1,
	EDGE_ZONE,
	EDGE_ROLE,
	EDGE_ADAPTER,
	EDGE_STAGE,
	EDGE_GENERATION,
	EDGE_ENABLED,
	EDGE_REASON,
	EDGE_SELF_EXPIRES,
	EDGE_SETTLES,
	EDGE_LOSES_TABLE,
	EDGE_REPURGE_EPOCH,
	EDGE_REPURGE_QUEUED,
	EDGE_FAILED,
	EDGE_FAILURE
};

/* Columns of rows_query, from 1. */
enum
{
	ROW_PLACE = 1,
	ROW_GENERATION,
	ROW_ACKED_EPOCH,
	ROW_SETTLED_EPOCH,
	ROW_VERIFIED_EPOCH,
	ROW_ACKED_AT,
	ROW_RESYNC_AFTER,
	ROW_HEALTH,
	ROW_LAST_ERROR,
	ROW_LAST_ERROR_AT
};

static MrbQuery change_query = {
	.sql = "SELECT c.tenant_id, c.kind, c.route_ttl, c.epoch, c.created_at,"
	" c.unread, c.queued, c.term, c.moved FROM miosa.newest_change($1) c",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

static MrbQuery fleet_query = {
	.sql = "SELECT c.tenant_id, c.kind, c.route_ttl, c.epoch, c.created_at,"
	" c.unread, c.queued, c.term, c.moved, c.last_deployment_id, c.works,"
	" c.waits FROM miosa.fleet_change($1) c",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

/* Names are compared by bytes: the rules of a language cost much. */
static MrbQuery edges_query = {
	.sql = "SELECT e.name, e.zone, a.role, e.adapter,"
	" coalesce(e.stage, a.stage), e.generation, e.enabled, e.reason,"
	" a.self_expires, a.settle > '0', a.volatile,"
	" r.epoch, r.queued, f.endpoint IS NOT NULL, f.last_error"
	" FROM miosa.endpoints e"
	" JOIN miosa.adapters a ON a.name = e.adapter"
	" AND a.role IN ('edge', 'hook') AND NOT a.alerts"
	" LEFT JOIN miosa.open_repurges($1) r ON r.zone = e.zone"
	" AND coalesce(e.stage, a.stage) = 1"
	" LEFT JOIN miosa.delivery_failures f ON f.deployment_id = $1"
	" AND f.endpoint = e.name"
	" WHERE miosa.selects(e.selector, $1, $2, $3)"
	" UNION ALL SELECT e.name, e.site, 'edge', 'site', 0, 1, true, NULL::text,"
	" false, false, false, NULL::bigint, false, $1 = ANY (e.failed)"
	" OR e.failures > pg_catalog.cardinality(e.failed), 'an edge of the site refuses it'"
	" FROM miosa.replica_sites e",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID},
	.read_only = true,
};

/* Most selectors are empty, and need no look at the deployments. */
static MrbQuery fleet_edges_query = {
	.sql = "SELECT e.name, e.zone, a.role, e.adapter,"
	" coalesce(e.stage, a.stage), e.generation, e.enabled, e.reason,"
	" false, false, false, NULL::bigint, false, f.failed, f.last_error"
	" FROM miosa.endpoints e"
	" JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'"
	" CROSS JOIN LATERAL (SELECT count(*) > 0 AS failed,"
	" min(d.last_error) AS last_error FROM miosa.delivery_failures d"
	" WHERE d.endpoint = e.name AND EXISTS (SELECT FROM miosa.audit_events m"
	" WHERE m.deployment_id = d.deployment_id AND m.marks ? 'fleet'"
	" AND m.marks ->> 'fleet' = $1)) f"
	" WHERE e.enabled AND (e.selector = '{}' OR EXISTS (SELECT"
	" FROM miosa.audit_events m JOIN miosa.deployments p"
	" ON p.id = m.deployment_id WHERE m.marks ? 'fleet'"
	" AND m.marks ->> 'fleet' = $1"
	" AND miosa.selects(e.selector, p.id, p.tenant_id, p.kind)))"
	" UNION ALL SELECT e.name, e.site, 'edge', 'site', 0, 1, true, NULL::text,"
	" false, false, false, NULL::bigint, false, e.failures > 0,"
	" 'an edge of the site refuses some deployment'"
	" FROM miosa.replica_sites e",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.read_only = true,
};

static MrbQuery rows_query = {
	.sql = "SELECT n.place, s.generation, s.acked_epoch, s.settled_epoch,"
	" s.verified_epoch, s.acked_at, s.resync_after, s.health, s.last_error,"
	" s.last_error_at"
	" FROM unnest($1::text[], $2::pg_catalog.int4[]) AS n(endpoint, place)"
	" JOIN miosa.endpoint_state s ON s.endpoint = n.endpoint"
	" UNION ALL SELECT n.place, 1, e.epoch, e.epoch, e.epoch, e.heard_at,"
	" NULL, CASE WHEN e.silent THEN 'backing off' ELSE 'healthy' END,"
	" CASE WHEN e.silent THEN 'the site was last heard at '"
	" || miosa.iso(e.heard_at) END, CASE WHEN e.silent THEN e.heard_at END"
	" FROM unnest($1::text[], $2::pg_catalog.int4[]) AS n(endpoint, place)"
	" JOIN miosa.replica_sites e ON e.name = n.endpoint",
	.nargs = 2,
	.argtypes = {TEXTARRAYOID, INT4ARRAYOID},
	.read_only = true,
};

static bool read_change(const char *deployment_id, MrbEdgeChange *change, Datum args[3]);
static void fill_change(MrbEdgeChange *change);
static void read_edges(MrbQuery *query, const Datum *args, MrbEdges *edges,
					   MemoryContext caller);
static void read_edge(uint64 row, MrbEdge *edge);
static void read_rows(MrbEdges *edges, MemoryContext caller);
static void read_row(uint64 row, MrbPosition *position);
static void copy_text(char *to, Size size, const char *from);

/*
 * Read and judge the endpoints; there are none for an unknown deployment.
 */
void
mrb_edges_read(const char *deployment_id, MrbEdges *edges)
{
	Datum		args[3];
	MemoryContext caller = CurrentMemoryContext;

	MemSet(edges, 0, sizeof(MrbEdges));
	mrb_query_open();
	if (read_change(deployment_id, &edges->change, args))
		read_edges(&edges_query, args, edges, caller);
	mrb_query_close();
	edges->now = GetCurrentTimestamp();
	mrb_edge_state_judge(&edges->change, edges->items, edges->n, edges->now);
}

/*
 * Read and judge the edges of a fleet by its newest change.
 */
MrbEdgesFleet
mrb_edges_read_fleet(const char *fleet_id, MrbEdges *edges)
{
	Datum		args[1] = {CStringGetTextDatum(fleet_id)};
	MemoryContext caller = CurrentMemoryContext;
	MrbEdgesFleet fleet = {0};

	MemSet(edges, 0, sizeof(MrbEdges));
	mrb_query_open();
	fleet.found = mrb_query_run(&fleet_query, args, NULL) > 0;
	if (fleet.found)
	{
		fill_change(&edges->change);
		edges->change.deployment_id = mrb_query_text(0, CHANGE_LAST_DEPLOYMENT);
		fleet.works = mrb_query_bool(0, CHANGE_WORKS);
		fleet.waits = mrb_query_bool(0, CHANGE_WAITS);
		read_edges(&fleet_edges_query, args, edges, caller);
	}
	mrb_query_close();
	edges->now = GetCurrentTimestamp();
	mrb_edge_state_judge(&edges->change, edges->items, edges->n, edges->now);
	return fleet;
}

/*
 * Hooks receive the same as edges, and no call waits for them.
 */
bool
mrb_edges_counts(const MrbEdge *edge)
{
	return edge->edge && edge->state != MRB_EDGE_EXCLUDED;
}

/*
 * Count the edges.
 */
MrbEdgeCount
mrb_edges_count(const MrbEdges *edges)
{
	MrbEdgeCount count = {0};

	for (int i = 0; i < edges->n; i++)
	{
		const MrbEdge *edge = &edges->items[i];

		if (!mrb_edges_counts(edge))
			continue;
		count.edges++;
		count.done += edge->done;
		count.expired += edge->state == MRB_EDGE_EXPIRED;
	}
	return count;
}

/*
 * Read the newest change, and make the arguments of edges_query.  Return false
 * if there is no such deployment.
 */
static bool
read_change(const char *deployment_id, MrbEdgeChange *change, Datum args[3])
{
	bool		isnull;

	args[0] = CStringGetTextDatum(deployment_id);
	if (mrb_query_run(&change_query, args, NULL) == 0)
		return false;
	fill_change(change);
	change->deployment_id = deployment_id;
	args[1] = mrb_query_copy(0, CHANGE_TENANT, &isnull);
	args[2] = mrb_query_copy(0, CHANGE_KIND, &isnull);
	return true;
}

/*
 * Fill a change from the row that was read.
 */
static void
fill_change(MrbEdgeChange *change)
{
	bool		isnull;
	Datum		ttl;

	change->epoch = mrb_query_int64(0, CHANGE_EPOCH, 0);
	change->created_at = mrb_query_timestamp(0, CHANGE_CREATED_AT, 0);
	change->queued = mrb_query_bool(0, CHANGE_QUEUED);
	change->unread = mrb_query_bool(0, CHANGE_UNREAD);
	change->term = mrb_query_int64(0, CHANGE_TERM, 1);
	change->moved = mrb_query_bool(0, CHANGE_MOVED);
	ttl = mrb_query_copy(0, CHANGE_TTL, &isnull);
	change->route_ttl = DatumGetIntervalP(ttl);
}

/*
 * Read the endpoints.
 */
static void
read_edges(MrbQuery *query, const Datum *args, MrbEdges *edges,
		   MemoryContext caller)
{
	uint64		n = mrb_query_run(query, args, NULL);

	edges->items = MemoryContextAllocZero(caller, Max(n, 1) * sizeof(MrbEdge));
	for (uint64 i = 0; i < n; i++)
		read_edge(i, &edges->items[edges->n++]);
	read_rows(edges, caller);
}

/*
 * Read an endpoint, and find its position.
 */
static void
read_edge(uint64 row, MrbEdge *edge)
{
	edge->name = mrb_query_text(row, EDGE_NAME);
	edge->zone = mrb_query_text(row, EDGE_ZONE);
	edge->role = mrb_query_text(row, EDGE_ROLE);
	edge->adapter = mrb_query_text(row, EDGE_ADAPTER);
	edge->edge = strcmp(edge->role, "edge") == 0;
	edge->stage = mrb_query_int32(row, EDGE_STAGE, 0);
	edge->generation = mrb_query_int64(row, EDGE_GENERATION, 0);
	edge->enabled = mrb_query_bool(row, EDGE_ENABLED);
	edge->reason = mrb_query_text(row, EDGE_REASON);
	edge->self_expires = mrb_query_bool(row, EDGE_SELF_EXPIRES);
	edge->settles = mrb_query_bool(row, EDGE_SETTLES);
	edge->loses_table = mrb_query_bool(row, EDGE_LOSES_TABLE);
	edge->repurge_epoch = mrb_query_int64(row, EDGE_REPURGE_EPOCH, 0);
	edge->repurge_queued = mrb_query_bool(row, EDGE_REPURGE_QUEUED);
	edge->failed = mrb_query_bool(row, EDGE_FAILED);
	edge->failure = mrb_query_text(row, EDGE_FAILURE);
	edge->position = mrb_progress_snapshot_find(edge->name, &edge->entry);
}

/*
 * Read the rows of endpoints that have no entry in shared memory.
 */
static void
read_rows(MrbEdges *edges, MemoryContext caller)
{
	MrbPosition *positions;
	Datum	   *names = palloc((edges->n + 1) * sizeof(Datum));
	Datum	   *places = palloc((edges->n + 1) * sizeof(Datum));
	int			lacking = 0;
	Datum		args[2];
	uint64		n;

	for (int i = 0; i < edges->n; i++)
	{
		if (edges->items[i].position != NULL)
			continue;
		names[lacking] = CStringGetTextDatum(edges->items[i].name);
		places[lacking++] = Int32GetDatum(i);
	}
	if (lacking == 0)
		return;
	args[0] = mrb_array_make(names, NULL, lacking, TEXTOID);
	args[1] = mrb_array_make(places, NULL, lacking, INT4OID);
	n = mrb_query_run(&rows_query, args, NULL);
	positions = MemoryContextAllocHuge(caller, Max(n, 1) * sizeof(MrbPosition));
	for (uint64 i = 0; i < n; i++)
	{
		read_row(i, &positions[i]);
		edges->items[mrb_query_int32(i, ROW_PLACE, 0)].position = &positions[i];
	}
}

/*
 * Fill a position from a row, with all that a judgement needs.
 */
static void
read_row(uint64 row, MrbPosition *position)
{
	char	   *after = mrb_query_text(row, ROW_RESYNC_AFTER);

	MemSet(position, 0, sizeof(MrbPosition));
	position->generation = mrb_query_int64(row, ROW_GENERATION, 0);
	position->acked_epoch = mrb_query_int64(row, ROW_ACKED_EPOCH, 0);
	position->settled_epoch = mrb_query_int64(row, ROW_SETTLED_EPOCH, 0);
	position->verified_epoch = mrb_query_int64(row, ROW_VERIFIED_EPOCH, 0);
	position->acked_at = mrb_query_timestamp(row, ROW_ACKED_AT, 0);
	position->health = mrb_health_find(mrb_query_text(row, ROW_HEALTH));
	position->last_error_at = mrb_query_timestamp(row, ROW_LAST_ERROR_AT, 0);
	position->resyncing = after != NULL;
	copy_text(position->resync_after, sizeof(position->resync_after), after);
	copy_text(position->last_error, sizeof(position->last_error),
			  mrb_query_text(row, ROW_LAST_ERROR));
}

/*
 * Copy a text that may be NULL, as much of it as there is room for.
 */
static void
copy_text(char *to, Size size, const char *from)
{
	int			len = from != NULL ? pg_mbcliplen(from, strlen(from), size - 1) : 0;

	memcpy(to, from != NULL ? from : "", len);
	to[len] = '\0';
}
