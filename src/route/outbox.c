/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  Takes committed work from the outbox.
 *
 * The key of the outbox begins with the transaction.  A pass sees all rows of
 * the transactions that had ended when its snapshot was taken.  The next pass
 * therefore scans only the rows of those that were running then and of newer
 * ones, and skips the dead rows that earlier passes left.
 *
 * Several changes of one deployment in a pass are merged into one, since edges
 * receive the present route.
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

/* Rows a pass; deliveries wait while it runs. */
#define TAKE_MAX 2000

/* Which transactions' rows a pass scans. */
typedef struct ScanStart
{
	uint64		from;			/* this transaction and newer ones */
	char	   *running;		/* and these, as text of an array */
} ScanStart;

/* A deployment with changes in this pass. */
typedef struct Touched
{
	char	   *id;				/* hash key */
	int			route;			/* index of its route change, -1: none */
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

static ScanStart scan_start = {0, NULL};
static ScanStart next_start = {0, NULL};	/* once this pass has committed */

static void set_scan_args(Datum *args);
static uint64 take_rows(MrbRouteChanges *changes);
static void plan_next_start(uint64 n);
static void merge_changes(MrbRouteChanges *changes);

/*
 * Look for a row that the next pass would take.
 */
bool
mrb_outbox_has_work(void)
{
	Datum		args[2];
	bool		found;

	set_scan_args(args);
	mrb_query_open();
	mrb_query_run(&peek_query, args, NULL);
	found = mrb_query_bool(0, 1);
	mrb_query_close();
	return found;
}

/*
 * Take one pass of work.  When it takes as many rows as a pass can,
 * changes->more asks for another pass.
 */
void
mrb_outbox_take(int64 last_epoch, MrbRouteChanges *changes)
{
	uint64		n;

	MemSet(changes, 0, sizeof(MrbRouteChanges));
	n = take_rows(changes);
	merge_changes(changes);
	for (int i = 0; i < changes->nchanges; i++)
		changes->changes[i].epoch = ++last_epoch;
	changes->last_epoch = last_epoch;
	changes->more = n >= TAKE_MAX;
	if (changes->nchanges == 0)
		return;
	mrb_route_log_append(changes);
}

/*
 * Advance the start of the scan, now that the deletion is permanent.
 */
void
mrb_outbox_committed(void)
{
	if (scan_start.running != NULL)
		pfree(scan_start.running);
	scan_start = next_start;
	next_start.running = NULL;
}

/*
 * Fill in the arguments of a statement that say where its scan starts.
 */
static void
set_scan_args(Datum *args)
{
	char		from[24];

	snprintf(from, sizeof(from), UINT64_FORMAT, scan_start.from);
	args[0] = CStringGetTextDatum(from);
	args[1] = CStringGetTextDatum(scan_start.running ? scan_start.running : "{}");
}

/*
 * Delete up to TAKE_MAX rows of the outbox and read the changes in them.
 * Returns the number of rows.
 */
static uint64
take_rows(MrbRouteChanges *changes)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[3];
	uint64		n;

	set_scan_args(args);
	args[2] = Int32GetDatum(TAKE_MAX);
	mrb_query_open();
	n = mrb_query_run(&take_query, args, NULL);
	mrb_route_log_fetch(changes, n, context);
	plan_next_start(n);
	mrb_query_close();
	return n;
}

/*
 * Compute where the next pass starts.  When this pass was full, that is the
 * transaction of the last row; if that row belongs to a transaction that was
 * running at the last pass, the start stays where it is.
 */
static void
plan_next_start(uint64 n)
{
	uint64		last = 0;
	char	   *running;

	if (n > 0)
		last = strtoull(mrb_query_text(n - 1, TAKE_XID), NULL, 10);
	if (next_start.running != NULL)
		pfree(next_start.running);
	next_start.running = NULL;
	mrb_query_run(&snapshot_query, NULL, NULL);
	next_start.from = strtoull(mrb_query_text(0, SNAPSHOT_XMAX), NULL, 10);
	running = mrb_query_text(0, SNAPSHOT_XIP);
	if (n >= TAKE_MAX)
	{
		if (last < scan_start.from)
		{
			next_start.from = scan_start.from;
			running = scan_start.running != NULL ? scan_start.running : "{}";
		}
		else
			next_start.from = last;
	}
	next_start.running = MemoryContextStrdup(TopMemoryContext, running);
}

/*
 * Merge the route changes and purges of a deployment into its first route
 * change, which keeps its time and gets the newest sequence number.  The
 * removal of a host stays a change of its own.
 */
static void
merge_changes(MrbRouteChanges *changes)
{
	HTAB	   *touched;
	int			n = 0;

	if (changes->nchanges < 2)
		return;
	touched = mrb_id_hash_create("miosa_rollback pass", 256,
								 sizeof(Touched));
	for (int i = 0; i < changes->nchanges; i++)
	{
		MrbRouteChange *change = &changes->changes[i];
		Touched    *entry;
		bool		found;

		entry = hash_search(touched, &change->deployment_id, HASH_ENTER,
							&found);
		if (!found)
			entry->route = -1;
		if (entry->route >= 0 && (change->kind == MRB_ROUTE_CHANGE_ROUTE ||
								  change->kind == MRB_ROUTE_CHANGE_REPURGE))
		{
			MrbRouteChange *first = &changes->changes[entry->route];

			first->route_seq = Max(first->route_seq, change->route_seq);
			continue;
		}
		if (change->kind == MRB_ROUTE_CHANGE_ROUTE)
			entry->route = n;
		changes->changes[n++] = *change;
	}
	changes->nchanges = n;
	hash_destroy(touched);
}
