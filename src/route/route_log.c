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
#include "common/row_write.h"
#include "route/route_log.h"

enum
{
	LOG_EPOCH,
	LOG_DEPLOYMENT_ID,
	LOG_ROUTE_SEQ,
	LOG_KIND,
	LOG_HOST,
	LOG_CREATED_AT,
	LOG_COLUMNS
};

static MrbRowWriteTable route_log = {
	.table.name = "route_log",
	.table.columns = {
		[LOG_EPOCH] = "epoch",
		[LOG_DEPLOYMENT_ID] = "deployment_id",
		[LOG_ROUTE_SEQ] = "route_seq",
		[LOG_KIND] = "kind",
		[LOG_HOST] = "host",
		[LOG_CREATED_AT] = "created_at",
	},
	.table.types = {
		[LOG_EPOCH] = INT8OID,
		[LOG_ROUTE_SEQ] = INT8OID,
		[LOG_CREATED_AT] = TIMESTAMPTZOID,
	},
	.nwritten = LOG_COLUMNS,
};

static MrbRowWriteTable *const written[] = {&route_log};

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

static MrbQuery read_query = {
	.sql = "SELECT l.epoch, l.deployment_id, l.kind, l.route_seq, l.host,"
	" l.created_at FROM miosa.route_log l WHERE l.epoch > $1"
	" ORDER BY l.epoch LIMIT $2",
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID},
};

/* Columns of read_query. */
enum
{
	READ_EPOCH = 1,
	READ_DEPLOYMENT_ID,
	READ_KIND,
	READ_ROUTE_SEQ,
	READ_HOST,
	READ_CREATED_AT
};

static MrbQuery routed_query = {
	.sql = "SELECT h.place::pg_catalog.int4"
	" FROM unnest($1::text[]) WITH ORDINALITY AS h(host, place)"
	" WHERE h.host IS NOT NULL AND " MRB_HOST_IS_ROUTED("h.host"),
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

/* Column of routed_query. */
enum
{
	ROUTED_PLACE = 1
};

static const char *const kind_names[] = {
	[MRB_ROUTE_CHANGE_ROUTE] = "route",
	[MRB_ROUTE_CHANGE_HOST_REMOVED] = "host_removed",
	[MRB_ROUTE_CHANGE_REPURGE] = "repurge",
	[MRB_ROUTE_CHANGE_OTHER] = "capacity",
};

static MrbRouteChangeKind parse_kind(const char *name);
static void read_routes(MrbRouteChanges *changes);
static void mark_routed(MrbRouteChanges *changes);
static void choose_given(MrbRouteChanges *changes);
static const char *find_taker(const MrbRouteChanges *changes, const char *giver,
							  const char *host);
static void append(const MrbRouteChanges *changes);
static char *join_hosts(const List *hosts);
static void store_removed_hosts(const MrbRouteChanges *changes);

/*
 * A removed host or a purge without its name is not delivered.
 */
void
mrb_route_log_add(MrbRouteChanges *changes, const MrbRouteChange *change,
				  const char *kind)
{
	MrbRouteChange *added = &changes->changes[changes->nchanges];

	if (strcmp(kind, "settings") == 0)
	{
		changes->settings = true;
		return;
	}
	if (strcmp(kind, "alert") == 0)
	{
		changes->alerts = true;
		return;
	}
	*added = *change;
	added->kind = parse_kind(kind);
	if (added->host == NULL && (added->kind == MRB_ROUTE_CHANGE_HOST_REMOVED ||
								added->kind == MRB_ROUTE_CHANGE_REPURGE))
		added->kind = MRB_ROUTE_CHANGE_OTHER;
	changes->nchanges++;
}

/*
 * No host has a comma.
 */
List *
mrb_route_log_split(char *hosts)
{
	List	   *list = NIL;
	char	   *state;

	for (char *host = strtok_r(hosts, ",", &state); host != NULL;
		 host = strtok_r(NULL, ",", &state))
		list = lappend(list, host);
	return list;
}

/*
 * Write the changes to the log and the removed hosts to their table.
 */
void
mrb_route_log_append(MrbRouteChanges *changes)
{
	read_routes(changes);
	choose_given(changes);
	append(changes);
	store_removed_hosts(changes);
}

/*
 * The routes read are the present ones, not those at the time of the changes.
 */
void
mrb_route_log_read(int64 after, int limit, MrbRouteChanges *changes)
{
	Datum		args[2] = {Int64GetDatum(after), Int32GetDatum(limit)};
	uint64		n;

	MemSet(changes, 0, sizeof(MrbRouteChanges));
	changes->changes = palloc0(limit * sizeof(MrbRouteChange));
	mrb_query_open();
	n = mrb_query_run(&read_query, args, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		MrbRouteChange change = {0};
		char	   *kind;

		change.epoch = mrb_query_int64(i, READ_EPOCH, 0);
		change.deployment_id = mrb_query_text(i, READ_DEPLOYMENT_ID);
		change.route_seq = mrb_query_int64(i, READ_ROUTE_SEQ, 0);
		change.host = mrb_query_text(i, READ_HOST);
		change.since = mrb_query_timestamp(i, READ_CREATED_AT, 0);
		kind = mrb_query_text(i, READ_KIND);
		if (change.host != NULL && strcmp(kind, "route") == 0)
		{
			change.given = mrb_route_log_split(change.host);
			change.host = NULL;
		}
		mrb_route_log_add(changes, &change, kind);
	}
	mrb_query_close();
	changes->more = n >= (uint64) limit;
	changes->last_epoch = changes->nchanges > 0 ?
		changes->changes[changes->nchanges - 1].epoch : after;
	if (changes->nchanges > 0)
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
 * Read the present routes of the deployments that the changes name, and which
 * removed hosts are routed again.
 */
static void
read_routes(MrbRouteChanges *changes)
{
	char	  **ids = palloc(changes->nchanges * sizeof(char *));
	bool		removed = false;

	for (int i = 0; i < changes->nchanges; i++)
	{
		ids[i] = changes->changes[i].deployment_id;
		removed |= changes->changes[i].kind == MRB_ROUTE_CHANGE_HOST_REMOVED;
	}
	changes->routes = mrb_route_read(ids, changes->nchanges, &changes->nroutes);
	if (removed)
		mark_routed(changes);
}

/*
 * Mark the removed hosts that are routed again.
 */
static void
mark_routed(MrbRouteChanges *changes)
{
	Datum	   *hosts = palloc0(changes->nchanges * sizeof(Datum));
	bool	   *nulls = palloc0(changes->nchanges * sizeof(bool));
	Datum		arg;
	uint64		n;

	for (int i = 0; i < changes->nchanges; i++)
	{
		MrbRouteChange *change = &changes->changes[i];

		nulls[i] = change->kind != MRB_ROUTE_CHANGE_HOST_REMOVED;
		if (!nulls[i])
			hosts[i] = CStringGetTextDatum(change->host);
	}
	arg = mrb_array_make(hosts, nulls, changes->nchanges, TEXTOID);
	mrb_query_open();
	n = mrb_query_run(&routed_query, &arg, NULL);
	for (uint64 i = 0; i < n; i++)
		changes->changes[mrb_query_int32(i, ROUTED_PLACE, 0) - 1].routed = true;
	mrb_query_close();
}

/*
 * Of the hosts that a deployment has lost, leave one for each deployment that has
 * got any: a dispatcher that starts anew finds these by it.
 */
static void
choose_given(MrbRouteChanges *changes)
{
	for (int i = 0; i < changes->nchanges; i++)
	{
		MrbRouteChange *change = &changes->changes[i];
		List	   *takers = NIL;
		List	   *chosen = NIL;
		ListCell   *cell;

		foreach(cell, change->given)
		{
			const char *taker = find_taker(changes, change->deployment_id, lfirst(cell));

			if (taker == NULL || list_member_ptr(takers, taker))
				continue;
			takers = lappend(takers, unconstify(char *, taker));
			chosen = lappend(chosen, lfirst(cell));
			if (list_length(chosen) == MRB_ROUTE_TAKERS)
				break;
		}
		change->given = chosen;
	}
}

/*
 * Find the deployment that has got a host.
 */
static const char *
find_taker(const MrbRouteChanges *changes, const char *giver, const char *host)
{
	for (int i = 0; i < changes->nroutes; i++)
	{
		const MrbRoute *route = &changes->routes[i];

		if (strcmp(route->deployment_id, giver) != 0 && mrb_route_has_host(route, host))
			return route->deployment_id;
	}
	return NULL;
}

/*
 * Insert all changes into the log.
 */
static void
append(const MrbRouteChanges *changes)
{
	MrbRowWrite *write = mrb_row_write_begin(written, lengthof(written),
											 changes->nchanges > 1);

	for (int i = 0; i < changes->nchanges; i++)
	{
		const MrbRouteChange *change = &changes->changes[i];
		bool		nulls[LOG_COLUMNS] = {[LOG_HOST] = change->host == NULL};
		Datum		values[LOG_COLUMNS] = {
			[LOG_EPOCH] = Int64GetDatum(change->epoch),
			[LOG_DEPLOYMENT_ID] = CStringGetTextDatum(change->deployment_id),
			[LOG_ROUTE_SEQ] = Int64GetDatum(change->route_seq),
			[LOG_KIND] = CStringGetTextDatum(kind_names[change->kind]),
			[LOG_CREATED_AT] = TimestampTzGetDatum(change->since),
		};

		if (change->given != NIL)
		{
			nulls[LOG_HOST] = false;
			values[LOG_HOST] = CStringGetTextDatum(join_hosts(change->given));
		}
		else if (change->host != NULL)
			values[LOG_HOST] = CStringGetTextDatum(change->host);
		mrb_row_write_insert(write, 0, values, nulls);
	}
	mrb_row_write_end(write);
}

/*
 * Join hosts by commas.
 */
static char *
join_hosts(const List *hosts)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	foreach(cell, hosts)
		appendStringInfo(&buf, "%s%s", buf.len > 0 ? "," : "", (char *) lfirst(cell));
	return buf.data;
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
