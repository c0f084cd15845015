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
 * The index is scanned, and rows are deleted, without a query.  The planner
 * cannot know that nearly all rows before the start are dead, and for a table
 * that looked small when a statement was planned it would read every page of
 * them at each pass.
 *
 * Several changes of one deployment in a pass are merged into one, since edges
 * receive the present route.
 *
 * A deployment that has given a host to another one of the same transaction comes
 * after it, so that edges which are sent a deployment's hosts as a whole know the
 * host's new deployment before the old one has it no longer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/compat.h"
#include "common/id_hash.h"
#include "common/table.h"
#include "route/outbox.h"

/* Rows a pass; deliveries wait while it runs. */
#define TAKE_MAX 2000

/* Which transactions' rows a pass scans. */
typedef struct ScanStart
{
	uint64		from;			/* this transaction and newer ones */
	int			nrunning;		/* and these, in order */
	uint64	   *running;
} ScanStart;

/* A row of the outbox. */
typedef struct OutboxRow
{
	ItemPointerData tid;
	uint64		xid;
	char	   *kind;
	MrbRouteChange change;
} OutboxRow;

/* The outbox while it is scanned, and what was found. */
typedef struct OutboxScan
{
	Relation	table;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	int			nrows;
	OutboxRow  *rows;
	TransactionId xmin;			/* of the last row, unless it is frozen */
	XLogRecPtr	lsn;			/* where the newest commit ends, if it may not
								 * be flushed yet */
	int64		origin_epoch;	/* highest of all rows */
} OutboxScan;

/* A deployment with changes in this pass. */
typedef struct Touched
{
	char	   *id;				/* hash key */
	int			route;			/* index of its route change, -1: none */
	int64		route_seq;		/* its highest one */
} Touched;

/* Columns of the outbox that are read. */
enum
{
	COL_XID,
	COL_DEPLOYMENT_ID,
	COL_KIND,
	COL_ROUTE_SEQ,
	COL_HOST,
	COL_CREATED_AT,
	COL_ORIGIN_EPOCH,
};

static MrbTable outbox = {
	.name = "outbox",
	.index = "outbox_pkey",
	.columns = {
		[COL_XID] = "xid",
		[COL_DEPLOYMENT_ID] = "deployment_id",
		[COL_KIND] = "kind",
		[COL_ROUTE_SEQ] = "route_seq",
		[COL_HOST] = "host",
		[COL_CREATED_AT] = "created_at",
		[COL_ORIGIN_EPOCH] = "origin_epoch",
	},
	.types = {
		[COL_XID] = XID8OID,
		[COL_ROUTE_SEQ] = INT8OID,
		[COL_CREATED_AT] = TIMESTAMPTZOID,
		[COL_ORIGIN_EPOCH] = INT8OID,
	},
};

static ScanStart scan_start = {0, 0, NULL};
static ScanStart next_start = {0, 0, NULL}; /* once this pass has committed */

static void plan_next_start(const OutboxScan *scan);
static void get_running(ScanStart *start);
static int	compare_xids(const void *a, const void *b);
static void begin_scan(OutboxScan *scan);
static void end_scan(OutboxScan *scan);
static void scan_rows(OutboxScan *scan, StrategyNumber strategy, uint64 xid);
static void read_row(OutboxScan *scan);
static Datum read_column(OutboxScan *scan, int column, bool *isnull);
static void note_commit(OutboxScan *scan);
static int	compare_rows(const void *a, const void *b);
static void add_changes(const OutboxScan *scan, MrbRouteChanges *changes);
static void merge_changes(MrbRouteChanges *changes);
static void delete_rows(MrbRouteChanges *changes);

/*
 * Read one pass of work.  When it is as many rows as a pass can take,
 * changes->more asks for another pass.
 */
void
mrb_outbox_read(MrbRouteChanges *changes)
{
	OutboxScan	scan = {0};

	MemSet(changes, 0, sizeof(MrbRouteChanges));
	begin_scan(&scan);
	for (int i = 0; i < scan_start.nrunning; i++)
		if (scan_start.running[i] < scan_start.from)
			scan_rows(&scan, BTEqualStrategyNumber, scan_start.running[i]);
	scan_rows(&scan, BTGreaterEqualStrategyNumber, scan_start.from);
	end_scan(&scan);

	qsort(scan.rows, scan.nrows, sizeof(OutboxRow), compare_rows);
	plan_next_start(&scan);
	add_changes(&scan, changes);
	merge_changes(changes);
	changes->more = scan.nrows >= TAKE_MAX;
	changes->origin_epoch = scan.origin_epoch;

	/* The routes show what the rest has changed, whose commits are unknown. */
	changes->lsn = changes->more ? GetXLogInsertRecPtr() : scan.lsn;
}

/*
 * Take what was read.
 */
void
mrb_outbox_take(MrbRouteChanges *changes, int64 last_epoch)
{
	for (int i = 0; i < changes->nchanges; i++)
		changes->changes[i].epoch = ++last_epoch;
	changes->last_epoch = last_epoch;
	if (changes->nchanges > 0)
		mrb_route_log_append(changes);
	if (changes->nrows > 0)
		delete_rows(changes);
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
 * Compute where the next pass starts.  When this pass is full, that is the
 * transaction of the last row; if that row belongs to a transaction that was
 * running at the last pass, the start stays where it is.
 */
static void
plan_next_start(const OutboxScan *scan)
{
	uint64		last = scan->nrows > 0 ? scan->rows[scan->nrows - 1].xid : 0;
	bool		full = scan->nrows >= TAKE_MAX;

	if (next_start.running != NULL)
		pfree(next_start.running);
	next_start.running = NULL;
	if (full && last < scan_start.from)
	{
		next_start = scan_start;
		next_start.running = MemoryContextAlloc(TopMemoryContext,
												(scan_start.nrunning + 1) * sizeof(uint64));
		memcpy(next_start.running, scan_start.running,
			   scan_start.nrunning * sizeof(uint64));
		return;
	}
	get_running(&next_start);
	if (full)
		next_start.from = last;
}

/*
 * Read from the snapshot which transactions had not ended.  Its numbers lack
 * their upper half; none of them is in the future.
 */
static void
get_running(ScanStart *start)
{
	Snapshot	snapshot = GetActiveSnapshot();
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());

#define WIDEN(xid) (next - (uint32) ((uint32) next - (xid)))
	start->from = WIDEN(snapshot->xmax);
	start->nrunning = snapshot->xcnt;
	start->running = MemoryContextAlloc(TopMemoryContext,
										(snapshot->xcnt + 1) * sizeof(uint64));
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		start->running[i] = WIDEN(snapshot->xip[i]);
#undef WIDEN
	qsort(start->running, start->nrunning, sizeof(uint64), compare_xids);
}

/*
 * Order transactions by age.
 */
static int
compare_xids(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return (left > right) - (left < right);
}

/*
 * Open the outbox and its key.
 */
static void
begin_scan(OutboxScan *scan)
{
	scan->table = mrb_table_open(&outbox, AccessShareLock);
	scan->index = mrb_table_open_index(&outbox);
	scan->slot = table_slot_create(scan->table, NULL);
	scan->scan = MRB_INDEX_BEGINSCAN(scan->table, scan->index,
									 GetActiveSnapshot(), 1);
	scan->rows = palloc(TAKE_MAX * sizeof(OutboxRow));
}

/*
 * Close them; they stay locked until the transaction ends.
 */
static void
end_scan(OutboxScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, NoLock);
	table_close(scan->table, NoLock);
}

/*
 * Read the rows of one transaction, or of it and all newer ones, until there
 * are enough.
 */
static void
scan_rows(OutboxScan *scan, StrategyNumber strategy, uint64 xid)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, strategy,
				strategy == BTEqualStrategyNumber ? F_XID8EQ : F_XID8GE,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
	index_rescan(scan->scan, &key, 1, NULL, 0);
	while (scan->nrows < TAKE_MAX &&
		   index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot))
		read_row(scan);
}

/*
 * Copy a row that was found.
 */
static void
read_row(OutboxScan *scan)
{
	OutboxRow  *row = &scan->rows[scan->nrows++];
	bool		isnull;
	Datum		host;
	Datum		origin_epoch;

	MemSet(row, 0, sizeof(OutboxRow));
	row->tid = scan->slot->tts_tid;
	row->xid = U64FromFullTransactionId(DatumGetFullTransactionId(read_column(scan, COL_XID, &isnull)));
	row->kind = TextDatumGetCString(read_column(scan, COL_KIND, &isnull));
	row->change.deployment_id =
		TextDatumGetCString(read_column(scan, COL_DEPLOYMENT_ID, &isnull));
	row->change.route_seq =
		DatumGetInt64(read_column(scan, COL_ROUTE_SEQ, &isnull));
	row->change.since =
		DatumGetTimestampTz(read_column(scan, COL_CREATED_AT, &isnull));
	host = read_column(scan, COL_HOST, &isnull);
	if (!isnull && strcmp(row->kind, "route") == 0)
		row->change.given = mrb_route_log_split(TextDatumGetCString(host));
	else if (!isnull)
		row->change.host = TextDatumGetCString(host);
	origin_epoch = read_column(scan, COL_ORIGIN_EPOCH, &isnull);
	if (!isnull)
		scan->origin_epoch = Max(scan->origin_epoch, DatumGetInt64(origin_epoch));
	note_commit(scan);
}

/*
 * One column of the row that was found.
 */
static Datum
read_column(OutboxScan *scan, int column, bool *isnull)
{
	return slot_getattr(scan->slot, outbox.attnums[column], isnull);
}

/*
 * Remember where the commit of the row's transaction ends if that was
 * asynchronous, or that of a close one was.  The column xid does not say which
 * transaction that is where the row was restored from a dump or replicated.
 */
static void
note_commit(OutboxScan *scan)
{
	HeapTuple	tuple = ExecFetchSlotHeapTuple(scan->slot, false, NULL);
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);

	if (xmin == scan->xmin || HeapTupleHeaderXminFrozen(tuple->t_data))
		return;
	scan->xmin = xmin;
	scan->lsn = Max(scan->lsn, TransactionIdGetCommitLSN(xmin));
}

/*
 * Order rows by transaction, and those of a deployment by number; deployments
 * that gave hosts away come last.  Nearly all rows come in this order, which is
 * that of the key, and their routes are read and logged in the order of the
 * indexes.
 */
static int
compare_rows(const void *a, const void *b)
{
	const OutboxRow *left = a;
	const OutboxRow *right = b;
	int			result = compare_xids(&left->xid, &right->xid);

	if (result == 0)
		result = (left->change.given != NIL) - (right->change.given != NIL);
	if (result == 0)
		result = strcmp(left->change.deployment_id,
						right->change.deployment_id);
	if (result != 0)
		return result;
	return (left->change.route_seq > right->change.route_seq) -
		(left->change.route_seq < right->change.route_seq);
}

/*
 * Make changes of the rows, and remember which rows these are.
 */
static void
add_changes(const OutboxScan *scan, MrbRouteChanges *changes)
{
	changes->changes = palloc(Max(scan->nrows, 1) * sizeof(MrbRouteChange));
	changes->rows = palloc(Max(scan->nrows, 1) * sizeof(ItemPointerData));
	for (int i = 0; i < scan->nrows; i++)
	{
		mrb_route_log_add(changes, &scan->rows[i].change, scan->rows[i].kind);
		changes->rows[changes->nrows++] = scan->rows[i].tid;
	}
}

/*
 * Merge the route changes and purges of a deployment into its first route
 * change, which keeps its time and gets the newest sequence number.  If one of
 * them has lost a host, what came before is merged into that one, whose place
 * counts.  The removal of a host stays a change of its own.
 */
static void
merge_changes(MrbRouteChanges *changes)
{
	HTAB	   *touched;
	int			n = 0;
	int			left = 0;

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
		{
			entry->route = -1;
			entry->route_seq = 0;
		}
		entry->route_seq = Max(entry->route_seq, change->route_seq);
		if (change->given != NIL)
			change->route_seq = entry->route_seq;
		if (change->given != NIL && entry->route >= 0)
		{
			MrbRouteChange *first = &changes->changes[entry->route];

			change->since = first->since;
			change->given = list_concat(first->given, change->given);
			first->deployment_id = NULL;
		}
		else if (entry->route >= 0 && (change->kind == MRB_ROUTE_CHANGE_ROUTE ||
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
	for (int i = 0; i < n; i++)
	{
		if (changes->changes[i].deployment_id != NULL)
			changes->changes[left++] = changes->changes[i];
	}
	changes->nchanges = left;
	hash_destroy(touched);
}

/*
 * Delete the rows that were read; no trigger fires.  If another transaction
 * has deleted one of them since, the pass has lost a race, and is made again.
 */
static void
delete_rows(MrbRouteChanges *changes)
{
	Relation	table = mrb_table_open(&outbox, RowExclusiveLock);
	CommandId	command = GetCurrentCommandId(true);

	for (int i = 0; i < changes->nrows; i++)
	{
		TM_FailureData failure;

		if (table_tuple_delete(table, &changes->rows[i], command,
							   GetActiveSnapshot(), InvalidSnapshot, true,
							   &failure, false) != TM_Ok)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not take work that another transaction has deleted")));
	}
	table_close(table, NoLock);
}
