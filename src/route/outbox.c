/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  Committed work, taken from the outbox and put in order in the route log.
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
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "common/id_hash.h"
#include "common/query.h"
#include "route/outbox.h"

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

/* The column that take_query adds to those of a change. */
#define TAKE_XID MRB_ROUTE_LOG_NEXT

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
	" SELECT " MRB_ROUTE_LOG_COLUMNS("t") ", t.xid::text"
	" FROM taken t ORDER BY t.xid, t.route_seq",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT4OID},
};

enum
{
	SNAPSHOT_XMAX = 1,
	SNAPSHOT_XIP
};

static MrbQuery snapshot_query = {
	.sql = "SELECT pg_catalog.pg_snapshot_xmax(s)::text,"
	" ARRAY(SELECT x::text FROM pg_catalog.pg_snapshot_xip(s) x)::text"
	" FROM pg_catalog.pg_current_snapshot() s",
};

static Mark mark = {0, NULL};
static Mark next_mark = {0, NULL};

static void mark_args(Datum *args);
static uint64 take_rows(MrbRouteChanges *taken);
static void plan_next_mark(MrbRouteChanges *taken, uint64 n);
static void merge_changes(MrbRouteChanges *taken);

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
mrb_outbox_take(int64 last_epoch, MrbRouteChanges *taken)
{
	uint64		n;

	MemSet(taken, 0, sizeof(MrbRouteChanges));
	n = take_rows(taken);
	merge_changes(taken);
	for (int i = 0; i < taken->nchanges; i++)
		taken->changes[i].epoch = ++last_epoch;
	taken->last_epoch = last_epoch;
	taken->more = n >= TAKE_MAX;
	if (taken->nchanges == 0)
		return;
	mrb_route_log_append(taken);
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
take_rows(MrbRouteChanges *taken)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[3];
	uint64		n;

	mark_args(args);
	args[2] = Int32GetDatum(TAKE_MAX);
	mrb_query_open();
	n = mrb_query_run(&take_query, args, NULL);
	mrb_route_log_fetch(taken, n, context);
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
plan_next_mark(MrbRouteChanges *taken, uint64 n)
{
	uint64		last = 0;
	char	   *running;

	if (n > 0)
		last = strtoull(mrb_query_text(n - 1, TAKE_XID), NULL, 10);
	if (next_mark.running != NULL)
		pfree(next_mark.running);
	next_mark.running = NULL;
	mrb_query_run(&snapshot_query, NULL, NULL);
	next_mark.from = strtoull(mrb_query_text(0, SNAPSHOT_XMAX), NULL, 10);
	running = mrb_query_text(0, SNAPSHOT_XIP);
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

/*
 * One change of route a deployment, the newest, which also purges; its age is
 * that of the oldest.  A removed host is a change of its own.
 */
static void
merge_changes(MrbRouteChanges *taken)
{
	HTAB	   *touched;
	int			n = 0;

	if (taken->nchanges < 2)
		return;
	touched = mrb_id_hash_create("miosa_rollback pass", 256,
								 sizeof(Touched));
	for (int i = 0; i < taken->nchanges; i++)
	{
		MrbRouteChange *change = &taken->changes[i];
		Touched    *entry;
		bool		found;

		entry = hash_search(touched, &change->deployment_id, HASH_ENTER,
							&found);
		if (!found)
			entry->route = -1;
		if (entry->route >= 0 && (change->kind == MRB_ROUTE_CHANGE_ROUTE ||
								  change->kind == MRB_ROUTE_CHANGE_REPURGE))
		{
			MrbRouteChange *first = &taken->changes[entry->route];

			first->route_seq = Max(first->route_seq, change->route_seq);
			continue;
		}
		if (change->kind == MRB_ROUTE_CHANGE_ROUTE)
			entry->route = n;
		taken->changes[n++] = *change;
	}
	taken->nchanges = n;
	hash_destroy(touched);
}
