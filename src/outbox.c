/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  Committed work: taken from the outbox, put in order in the route log.
 *
 * The outbox's key begins with the transaction.  A pass has seen everything
 * of the transactions that had ended when its snapshot was taken, so the next
 * one looks only at those that were running then and at younger ones, and
 * never wades through the rows that earlier passes deleted.
 *
 * Several changes of one deployment in a pass become one: what is told is the
 * present route.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "array.h"
#include "outbox.h"
#include "query.h"

/* Requests wait while a pass runs. */
#define TAKE_MAX 2000

/* Where the next pass looks. */
typedef struct Mark
{
	uint64		from;			/* this transaction and younger ones */
	char	   *running;		/* and these, as an array's text */
} Mark;

/* What happened to one deployment in this pass. */
typedef struct Touched
{
	char	   *id;				/* hash key */
	int			route;			/* its change of kind route, -1: none */
} Touched;

static MrbQuery peek_query = {
	.sql = "SELECT EXISTS (SELECT FROM miosa.outbox o"
	" WHERE o.xid = ANY ($2::pg_catalog.xid8[]))"
	" OR EXISTS (SELECT FROM miosa.outbox o"
	" WHERE o.xid >= $1::pg_catalog.xid8)",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

/* A removed host may be routed again. */
#define REMOVAL_IS_OVER(t) \
	t ".kind = 'host_removed' AND " MRB_HOST_IS_ROUTED(t ".host")

static MrbQuery take_query = {
	.sql = "WITH due AS ("
	" (SELECT o.ctid AS row, 0 AS part, o.xid FROM miosa.outbox o"
	" WHERE o.xid = ANY ($2::pg_catalog.xid8[])"
	" AND o.xid < $1::pg_catalog.xid8)"
	" UNION ALL"
	" (SELECT o.ctid, 1, o.xid FROM miosa.outbox o"
	" WHERE o.xid >= $1::pg_catalog.xid8 ORDER BY o.xid LIMIT $3)"
	"), taken AS ("
	" DELETE FROM miosa.outbox o"
	" USING (SELECT d.row FROM due d ORDER BY d.part, d.xid LIMIT $3) d"
	" WHERE o.ctid = d.row"
	" RETURNING o.xid, o.deployment_id, o.kind, o.route_seq, o.host,"
	" o.created_at)"
	" SELECT t.deployment_id, t.kind, t.route_seq, t.host, t.created_at,"
	" " REMOVAL_IS_OVER("t") ", t.xid::text"
	" FROM taken t ORDER BY t.xid, t.route_seq",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT4OID},
};

static MrbQuery snapshot_query = {
	.sql = "SELECT pg_catalog.pg_snapshot_xmax(s)::text,"
	" ARRAY(SELECT x::text FROM pg_catalog.pg_snapshot_xip(s) x)::text"
	" FROM pg_catalog.pg_current_snapshot() s",
};

static MrbQuery append_query = {
	.sql = "INSERT INTO miosa.route_log"
	" (epoch, deployment_id, route_seq, kind, host, created_at)"
	" SELECT * FROM unnest($1::pg_catalog.int8[], $2::text[],"
	" $3::pg_catalog.int8[], $4::text[], $5::text[],"
	" $6::pg_catalog.timestamptz[])",
	.nargs = 6,
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

static MrbQuery read_query = {
	.sql = "SELECT l.deployment_id, l.kind, l.route_seq, l.host,"
	" l.created_at, " REMOVAL_IS_OVER("l") ", l.epoch"
	" FROM miosa.route_log l WHERE l.epoch > $1"
	" ORDER BY l.epoch LIMIT $2",
	.nargs = 2,
	.argtypes = {INT8OID, INT4OID},
};

static const char *const kind_names[] = {
	[MRB_KIND_ROUTE] = "route",
	[MRB_KIND_HOST_REMOVED] = "host_removed",
	[MRB_KIND_REPURGE] = "repurge",
	[MRB_KIND_OTHER] = "capacity",
};

static Mark mark = {0, NULL};
static Mark next_mark = {0, NULL};

static void mark_args(Datum *args);
static uint64 take_rows(MrbTaken *taken);
static void plan_next_mark(MrbTaken *taken, uint64 n);
static void fetch_changes(MrbTaken *taken, uint64 n, MemoryContext context);
static MrbKind parse_kind(const char *name);
static uint32 hash_id(const void *key, Size keysize);
static int	match_ids(const void *a, const void *b, Size keysize);
static void merge_changes(MrbTaken *taken);
static void read_routes(MrbTaken *taken);
static void append_log(MrbTaken *taken);
static void remember_removed(const MrbTaken *taken);

bool
mrb_outbox_has_work(void)
{
	Datum		args[2];
	bool		found;

	mark_args(args);
	mrb_query_open();
	mrb_query_run(&peek_query, args, NULL);
	found = mrb_query_bool(0, 1);
	mrb_query_close();
	return found;
}

void
mrb_outbox_take(int64 last_epoch, MrbTaken *taken)
{
	uint64		n;

	MemSet(taken, 0, sizeof(MrbTaken));
	n = take_rows(taken);
	merge_changes(taken);
	for (int i = 0; i < taken->nchanges; i++)
		taken->changes[i].epoch = ++last_epoch;
	taken->last_epoch = last_epoch;
	taken->more = n >= TAKE_MAX;
	if (taken->nchanges == 0)
		return;
	read_routes(taken);
	append_log(taken);
	remember_removed(taken);
}

/*
 * The rows are gone for good: look further on the next time.
 */
void
mrb_outbox_committed(void)
{
	if (mark.running != NULL)
		pfree(mark.running);
	mark = next_mark;
	next_mark.running = NULL;
}

void
mrb_outbox_read_log(int64 after, int limit, MrbTaken *taken)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[2] = {Int64GetDatum(after), Int32GetDatum(limit)};
	uint64		n;

	MemSet(taken, 0, sizeof(MrbTaken));
	mrb_query_open();
	n = mrb_query_run(&read_query, args, NULL);
	fetch_changes(taken, n, context);
	for (uint64 i = 0; i < n; i++)
		taken->changes[i].epoch = mrb_query_int64(i, 7, 0);
	mrb_query_close();
	taken->more = n >= (uint64) limit;
	taken->last_epoch = n > 0 ? taken->changes[n - 1].epoch : after;
	if (n > 0)
		read_routes(taken);
}

/*
 * Where this pass looks, as arguments of a statement.
 */
static void
mark_args(Datum *args)
{
	char		from[24];

	snprintf(from, sizeof(from), UINT64_FORMAT, mark.from);
	args[0] = CStringGetTextDatum(from);
	args[1] = CStringGetTextDatum(mark.running ? mark.running : "{}");
}

static uint64
take_rows(MrbTaken *taken)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[3];
	uint64		n;

	mark_args(args);
	args[2] = Int32GetDatum(TAKE_MAX);
	mrb_query_open();
	n = mrb_query_run(&take_query, args, NULL);
	fetch_changes(taken, n, context);
	plan_next_mark(taken, n);
	mrb_query_close();
	return n;
}

/*
 * What the next pass need not look at.  When there was too much for one pass,
 * it is what came before the last transaction that was taken; running ones
 * could also be cut short, then nothing is gained.
 */
static void
plan_next_mark(MrbTaken *taken, uint64 n)
{
	uint64		last = 0;
	char	   *running;

	if (n > 0)
		last = strtoull(mrb_query_text(n - 1, 7), NULL, 10);
	if (next_mark.running != NULL)
		pfree(next_mark.running);
	next_mark.running = NULL;
	mrb_query_run(&snapshot_query, NULL, NULL);
	next_mark.from = strtoull(mrb_query_text(0, 1), NULL, 10);
	running = mrb_query_text(0, 2);
	if (n >= TAKE_MAX)
	{
		if (last < mark.from)
		{
			next_mark.from = mark.from;
			running = mark.running != NULL ? mark.running : "{}";
		}
		else
			next_mark.from = last;
	}
	next_mark.running = MemoryContextStrdup(TopMemoryContext, running);
}

static void
fetch_changes(MrbTaken *taken, uint64 n, MemoryContext context)
{
	taken->changes = MemoryContextAllocZero(context,
											Max(n, 1) * sizeof(MrbChange));
	for (uint64 i = 0; i < n; i++)
	{
		MrbChange  *change = &taken->changes[taken->nchanges];
		char	   *kind = mrb_query_text(i, 2);

		if (strcmp(kind, "settings") == 0)
		{
			taken->settings = true;
			continue;
		}
		change->kind = parse_kind(kind);
		change->deployment_id = mrb_query_text(i, 1);
		change->route_seq = mrb_query_int64(i, 3, 0);
		change->host = mrb_query_text(i, 4);
		change->since = mrb_query_timestamp(i, 5, 0);
		change->routed = mrb_query_bool(i, 6);
		if (change->host == NULL && (change->kind == MRB_KIND_HOST_REMOVED ||
									 change->kind == MRB_KIND_REPURGE))
			change->kind = MRB_KIND_OTHER;	/* it says nothing */
		taken->nchanges++;
	}
}

static MrbKind
parse_kind(const char *name)
{
	for (size_t i = 0; i < lengthof(kind_names); i++)
		if (strcmp(kind_names[i], name) == 0)
			return i;
	return MRB_KIND_OTHER;
}

HTAB *
mrb_outbox_id_table(const char *name, long nelem, Size entrysize)
{
	HASHCTL		info = {
		.keysize = sizeof(char *),
		.entrysize = entrysize,
		.hash = hash_id,
		.match = match_ids,
		.hcxt = CurrentMemoryContext,
	};

	return hash_create(name, nelem, &info,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

static uint32
hash_id(const void *key, Size keysize)
{
	const char *id = *(const char *const *) key;

	return hash_bytes((const unsigned char *) id, strlen(id));
}

static int
match_ids(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/*
 * One change of route a deployment, the newest, which also purges; its age is
 * that of the oldest.  A removed host is a change of its own.
 */
static void
merge_changes(MrbTaken *taken)
{
	HTAB	   *touched;
	int			n = 0;

	if (taken->nchanges < 2)
		return;
	touched = mrb_outbox_id_table("miosa_rollback pass", 256,
								  sizeof(Touched));
	for (int i = 0; i < taken->nchanges; i++)
	{
		MrbChange  *change = &taken->changes[i];
		Touched    *entry;
		bool		found;

		entry = hash_search(touched, &change->deployment_id, HASH_ENTER,
							&found);
		if (!found)
			entry->route = -1;
		if (entry->route >= 0 && (change->kind == MRB_KIND_ROUTE ||
								  change->kind == MRB_KIND_REPURGE))
		{
			MrbChange  *first = &taken->changes[entry->route];

			first->route_seq = Max(first->route_seq, change->route_seq);
			continue;
		}
		if (change->kind == MRB_KIND_ROUTE)
			entry->route = n;
		taken->changes[n++] = *change;
	}
	taken->nchanges = n;
	hash_destroy(touched);
}

/*
 * The routes of all deployments in the changes; one that is gone has none.
 */
static void
read_routes(MrbTaken *taken)
{
	char	  **ids = palloc(taken->nchanges * sizeof(char *));

	for (int i = 0; i < taken->nchanges; i++)
		ids[i] = taken->changes[i].deployment_id;
	taken->routes = mrb_route_read(ids, taken->nchanges, &taken->nroutes);
}

static void
append_log(MrbTaken *taken)
{
	int			n = taken->nchanges;
	Datum	   *columns[6];
	bool	   *nulls = palloc0(n * sizeof(bool));
	Datum		args[6];

	for (int c = 0; c < 6; c++)
		columns[c] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		MrbChange  *change = &taken->changes[i];

		columns[0][i] = Int64GetDatum(change->epoch);
		columns[1][i] = CStringGetTextDatum(change->deployment_id);
		columns[2][i] = Int64GetDatum(change->route_seq);
		columns[3][i] = CStringGetTextDatum(kind_names[change->kind]);
		nulls[i] = change->host == NULL;
		columns[4][i] = nulls[i] ? (Datum) 0 :
			CStringGetTextDatum(change->host);
		columns[5][i] = TimestampTzGetDatum(change->since);
	}
	args[0] = mrb_array_make(columns[0], NULL, n, INT8OID);
	args[1] = mrb_array_make(columns[1], NULL, n, TEXTOID);
	args[2] = mrb_array_make(columns[2], NULL, n, INT8OID);
	args[3] = mrb_array_make(columns[3], NULL, n, TEXTOID);
	args[4] = mrb_array_make(columns[4], nulls, n, TEXTOID);
	args[5] = mrb_array_make(columns[5], NULL, n, TIMESTAMPTZOID);
	mrb_query_open();
	mrb_query_run(&append_query, args, NULL);
	mrb_query_close();
}

/*
 * What the log forgets sooner: a resync tells of removed hosts as well.
 */
static void
remember_removed(const MrbTaken *taken)
{
	Datum	   *hosts = palloc(taken->nchanges * sizeof(Datum));
	Datum	   *ids = palloc(taken->nchanges * sizeof(Datum));
	Datum		args[2];
	int			n = 0;

	for (int i = 0; i < taken->nchanges; i++)
	{
		MrbChange  *change = &taken->changes[i];

		if (change->kind != MRB_KIND_HOST_REMOVED || change->routed)
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
