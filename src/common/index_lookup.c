/*-------------------------------------------------------------------------
 *
 * index_lookup.c
 *	  Look rows up by their keys, without a query.
 *
 * A look-up takes the same steps as an SPI statement: a new snapshot, a lock on
 * the table until the end of the transaction, an index scan (which also takes
 * part in serializable isolation).  Privileges are not checked, because the
 * functions of this extension run with its owner's.
 *
 * The lock of an index ends with its scan, as in the server's catalog scans.  A
 * process has room for the locks of 16 relations, and takes further ones from a
 * table that all processes share: kept to the end, those of indexes made each
 * rollback use that table for 15 locks instead of 4.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "common/index_lookup.h"

/*
 * What snapshots of one session see alike.  Transactions that ended in between
 * would have raised next or lowered nrunning; command is for changes of its own.
 */
typedef struct SnapshotView
{
	TransactionId next;
	uint32		nrunning;
	int32		nrunning_sub;
	CommandId	command;
} SnapshotView;

/* What a look-up keeps open. */
typedef struct MrbIndexLookupKept
{
	MrbIndexLookup *row;
	Relation	relation;
	TupleTableSlot *slot;
	uint64		changes;		/* of the table when it was opened */
	bool		used;			/* by a row that is open */
	Relation	index;			/* with the scan; NULL: none yet */
	IndexScanDesc scan;
	ScanKeyData keys[2];		/* of the scan */
	SnapshotView emptied;		/* in which the table had no page */
	bool		filled;			/* it has one */
	struct MrbIndexLookupKept *next;
} MrbIndexLookupKept;

/*
 * All that is kept open, while depth is not 0.  It belongs to one resource
 * owner: what runs with another one, as a subtransaction does, opens tables of
 * its own, which end with that owner.
 */
static struct
{
	int			depth;
	ResourceOwner owner;
	MemoryContext context;
	MrbIndexLookupKept *first;
} keeping;

static bool find_opened(MrbIndexLookup *row, const ItemPointerData *place,
						const char *first, const char *second);
static void open_row(MrbIndexLookup *row);
static bool use_kept(MrbIndexLookup *row);
static bool is_kept(const MrbIndexLookup *row);
static void open_kept(MrbIndexLookupKept *it);
static void close_kept(MrbIndexLookupKept *it);
static bool is_empty(MrbIndexLookup *row);
static bool search_index(MrbIndexLookup *row, const char *first,
						 const char *second);
static IndexScanDesc begin_search(MrbIndexLookup *row, const char *first,
								  const char *second);
static void make_keys(MrbIndexLookup *row, IndexScanDesc scan, ScanKeyData *keys);
static bool next_row(MrbIndexLookup *row, IndexScanDesc scan);
static IndexScanDesc begin_scan(MrbIndexLookup *row, int nkeys);
static void end_scan(MrbIndexLookup *row, IndexScanDesc scan);
static void close_scan(MrbIndexLookupKept *it);
static bool has_key(MrbIndexLookup *row, const char *first, const char *second);

/*
 * Take a new snapshot, which includes the changes of this transaction.
 */
void
mrb_index_lookup_begin(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Release the snapshot.
 */
void
mrb_index_lookup_end(void)
{
	PopActiveSnapshot();
}

/*
 * Keep open what look-ups open from now on.
 */
void
mrb_index_lookup_keep(void)
{
	if (keeping.depth++ > 0)
		return;
	keeping.	owner = CurrentResourceOwner;
	keeping.	context = CurrentMemoryContext;
	keeping.	first = NULL;
}

/*
 * Close what was kept open.
 */
void
mrb_index_lookup_close_kept(void)
{
	for (MrbIndexLookupKept *it = keeping.first;
		 it != NULL && keeping.depth == 1; it = it->next)
	{
		close_kept(it);
		it->row->kept = NULL;
	}
	keeping.	depth--;
}

/*
 * Forget what was kept open and was, or will be, closed after an error.
 */
void
mrb_index_lookup_forget_kept(void)
{
	if (--keeping.depth > 0)
		return;
	for (MrbIndexLookupKept *it = keeping.first; it != NULL; it = it->next)
		it->row->kept = NULL;
}

/*
 * Find the row of a key; false when it does not exist.
 */
bool
mrb_index_lookup_find(MrbIndexLookup *row, const char *first, const char *second)
{
	bool		found;

	open_row(row);
	found = search_index(row, first, second);
	if (!found)
		mrb_index_lookup_close(row);
	return found;
}

/*
 * Read as much of the table as if a row had been found: the page where one of the
 * key might be, which is in memory about as often as others are.
 */
void
mrb_index_lookup_pretend(MrbIndexLookup *row, const char *key)
{
	BlockNumber pages;
	Relation	index;
	Buffer		buffer;

	open_row(row);
	index = mrb_table_open_index(&row->table);
	pages = RelationGetNumberOfBlocks(row->relation);
	if (pages > 0)
	{
		buffer = ReadBuffer(row->relation,
							hash_bytes((const unsigned char *) key,
									   strlen(key)) % pages);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		UnlockReleaseBuffer(buffer);
		pgstat_count_index_tuples(index, 1);
		pgstat_count_heap_fetch(row->relation);
	}
	index_close(index, AccessShareLock);
	mrb_index_lookup_close(row);
}

/*
 * Visit all rows of a key.
 */
void
mrb_index_lookup_each(MrbIndexLookup *row, const char *first,
					  MrbIndexLookupVisit visit, void *arg)
{
	IndexScanDesc scan;

	open_row(row);
	scan = begin_search(row, first, NULL);
	while (next_row(row, scan))
		visit(row, arg);
	end_scan(row, scan);
	mrb_index_lookup_close(row);
}

/*
 * Find a row again.  If what is in its place is visible and has the key, it is
 * the row, since keys are unique, and its index need not be searched.
 */
bool
mrb_index_lookup_find_again(MrbIndexLookup *row, const ItemPointerData *place,
							const char *first, const char *second)
{
	open_row(row);
	return find_opened(row, place, first, second);
}

/*
 * Find a row where another transaction found it.  VACUUM may have cut the place
 * off the table since; the table's lock keeps it from doing so now.
 */
bool
mrb_index_lookup_find_near(MrbIndexLookup *row, MrbIndexLookupPlace *place,
						   const char *key)
{
	open_row(row);
	if (strcmp(place->key, key) != 0 ||
		ItemPointerGetBlockNumberNoCheck(&place->tid) >=
		RelationGetNumberOfBlocks(row->relation))
		ItemPointerSetInvalid(&place->tid);
	if (!find_opened(row, &place->tid, key, NULL))
		return false;
	place->tid = row->slot->tts_tid;
	strlcpy(place->key, key, sizeof(place->key));
	return true;
}

/*
 * Lock a row, as SELECT FOR NO KEY UPDATE does: below REPEATABLE READ it is the
 * newest version that is locked, if that still has the key.
 */
TM_Result
mrb_index_lookup_lock(MrbIndexLookup *row, const char *first,
					  const char *second, LockWaitPolicy policy)
{
	ItemPointerData tid = row->slot->tts_tid;
	TM_FailureData failure;
	TM_Result	result;

	ExecClearTuple(row->slot);
	result = table_tuple_lock(row->relation, &tid, GetActiveSnapshot(),
							  row->slot, GetCurrentCommandId(true),
							  LockTupleNoKeyExclusive, policy,
							  IsolationUsesXactSnapshot() ? 0 :
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	if (result == TM_Ok && failure.traversed && !has_key(row, first, second))
		return TM_Updated;
	return result;
}

/*
 * Release a row that was found.
 */
void
mrb_index_lookup_close(MrbIndexLookup *row)
{
	if (is_kept(row))
	{
		ExecClearTuple(row->slot);
		row->kept->used = false;
	}
	else
	{
		ExecDropSingleTupleTableSlot(row->slot);
		table_close(row->relation, NoLock);
	}
	row->slot = NULL;
	row->relation = NULL;
}

/*
 * Return one value, valid until mrb_index_lookup_close().
 */
Datum
mrb_index_lookup_datum(MrbIndexLookup *row, int column, bool *isnull)
{
	return slot_getattr(row->slot, row->table.attnums[column], isnull);
}

/*
 * Return a copy of a text value; NULL for SQL null.
 */
char *
mrb_index_lookup_text(MrbIndexLookup *row, int column)
{
	bool		isnull;
	Datum		value = mrb_index_lookup_datum(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * Return a copy of a jsonb value; NULL for SQL null.
 */
Jsonb *
mrb_index_lookup_jsonb(MrbIndexLookup *row, int column)
{
	bool		isnull;
	Datum		value = mrb_index_lookup_datum(row, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

/*
 * Return a bigint; SQL null counts as 0.
 */
int64
mrb_index_lookup_int64(MrbIndexLookup *row, int column)
{
	bool		isnull;
	Datum		value = mrb_index_lookup_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/*
 * Return an integer; SQL null counts as 0.
 */
int32
mrb_index_lookup_int32(MrbIndexLookup *row, int column)
{
	bool		isnull;
	Datum		value = mrb_index_lookup_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

/*
 * Return a timestamp; SQL null counts as 0.
 */
TimestampTz
mrb_index_lookup_timestamp(MrbIndexLookup *row, int column)
{
	bool		isnull;
	Datum		value = mrb_index_lookup_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/*
 * Find a row of the open table in a place, or else by the index.
 */
static bool
find_opened(MrbIndexLookup *row, const ItemPointerData *place,
			const char *first, const char *second)
{
	ItemPointerData tid = *place;
	bool		found;

	found = ItemPointerIsValid(&tid) &&
		row->keys[0] != InvalidAttrNumber &&
		row->keys_changes == row->table.changes &&
		table_tuple_fetch_row_version(row->relation, &tid, GetActiveSnapshot(),
									  row->slot) &&
		has_key(row, first, second);
	if (!found)
		found = search_index(row, first, second);
	if (!found)
		mrb_index_lookup_close(row);
	return found;
}

/*
 * Open the table, and make a slot for its row.
 */
static void
open_row(MrbIndexLookup *row)
{
	if (keeping.depth > 0 && keeping.owner == CurrentResourceOwner &&
		use_kept(row))
		return;
	row->relation = mrb_table_open(&row->table,
								   row->lock != NoLock ? row->lock : AccessShareLock);
	row->slot = table_slot_create(row->relation, NULL);
}

/*
 * Use what is kept open, or open it to keep it; false if an outer look-up uses
 * it already, whose row triggers are being called for.
 */
static bool
use_kept(MrbIndexLookup *row)
{
	MemoryContext before = MemoryContextSwitchTo(keeping.context);

	if (row->kept == NULL)
	{
		row->kept = palloc0(sizeof(MrbIndexLookupKept));
		row->kept->row = row;
		row->kept->next = keeping.first;
		keeping.	first = row->kept;
	}
	if (!row->kept->used)
	{
		if (row->kept->relation != NULL &&
			row->kept->changes != row->table.changes)
			close_kept(row->kept);
		if (row->kept->relation == NULL)
			open_kept(row->kept);
		row->kept->used = true;
		row->relation = row->kept->relation;
		row->slot = row->kept->slot;
		MemoryContextSwitchTo(before);
		return true;
	}
	MemoryContextSwitchTo(before);
	return false;
}

/*
 * Whether the row that is open is one that is kept.
 */
static bool
is_kept(const MrbIndexLookup *row)
{
	return row->kept != NULL && row->slot == row->kept->slot;
}

/*
 * Open a table to keep it.
 */
static void
open_kept(MrbIndexLookupKept *it)
{
	MrbIndexLookup *row = it->row;

	it->relation = mrb_table_open(&row->table,
								  row->lock != NoLock ? row->lock : AccessShareLock);
	it->changes = row->table.changes;
	it->slot = table_slot_create(it->relation, NULL);
}

/*
 * Close a table that was kept.
 */
static void
close_kept(MrbIndexLookupKept *it)
{
	if (it->relation == NULL)
		return;
	close_scan(it);
	ExecDropSingleTupleTableSlot(it->slot);
	table_close(it->relation, NoLock);
	it->slot = NULL;
	it->relation = NULL;
	memset(&it->emptied, 0, sizeof(SnapshotView));
	it->filled = false;
}

/*
 * Whether a table that is kept has no page, and so no row that the snapshot sees.
 */
static bool
is_empty(MrbIndexLookup *row)
{
	MrbIndexLookupKept *kept = is_kept(row) ? row->kept : NULL;
	Snapshot	snapshot = GetActiveSnapshot();
	SnapshotView view = {
		snapshot->xmax, snapshot->xcnt, snapshot->subxcnt, snapshot->curcid
	};

	if (kept == NULL || kept->filled)
		return false;
	if (memcmp(&view, &kept->emptied, sizeof(SnapshotView)) == 0)
		return true;
	kept->filled = RelationGetNumberOfBlocks(row->relation) > 0;
	if (kept->filled)
		return false;
	PredicateLockRelation(row->relation, snapshot);
	kept->emptied = view;
	return true;
}

/*
 * Search the index; false when there is no row of the key.
 */
static bool
search_index(MrbIndexLookup *row, const char *first, const char *second)
{
	IndexScanDesc scan;
	bool		found;

	if (is_empty(row))
		return false;
	scan = begin_search(row, first, second);
	found = next_row(row, scan);
	end_scan(row, scan);
	return found;
}

/*
 * Begin a search of the index for a key.
 */
static IndexScanDesc
begin_search(MrbIndexLookup *row, const char *first, const char *second)
{
	const char *keys[] = {first, second};
	int			nkeys = second != NULL ? 2 : 1;
	ScanKeyData made[lengthof(keys)];
	IndexScanDesc scan = begin_scan(row, nkeys);
	ScanKeyData *scankeys = is_kept(row) ? row->kept->keys : made;
	MemoryContext before;

	if (scankeys == made)
		make_keys(row, scan, made);
	for (int i = 0; i < nkeys; i++)
		scankeys[i].sk_argument = CStringGetTextDatum(keys[i]);
	before = MemoryContextSwitchTo(GetMemoryChunkContext(scan));
	index_rescan(scan, scankeys, nkeys, NULL, 0);
	MemoryContextSwitchTo(before);
	return scan;
}

/*
 * Make the keys of a scan, without their values.
 */
static void
make_keys(MrbIndexLookup *row, IndexScanDesc scan, ScanKeyData *keys)
{
	Relation	index = scan->indexRelation;

	for (int i = 0; i < scan->numberOfKeys; i++)
	{
		row->keys[i] = index->rd_index->indkey.values[i];
		ScanKeyEntryInitialize(&keys[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, index->rd_indcollation[i], F_TEXTEQ,
							   (Datum) 0);
	}
	row->keys_changes = row->table.changes;
}

/*
 * Read the next row of the key; false when there is none.
 */
static bool
next_row(MrbIndexLookup *row, IndexScanDesc scan)
{
	MemoryContext before;
	bool		found;

	/* The scan may keep what it allocates. */
	before = MemoryContextSwitchTo(GetMemoryChunkContext(scan));
	found = index_getnext_slot(scan, ForwardScanDirection, row->slot);
	MemoryContextSwitchTo(before);
	return found;
}

/*
 * Begin a scan of the index with the active snapshot.  A snapshot at the same
 * address as an earlier one may be another one, but the scan only points to it.
 */
static IndexScanDesc
begin_scan(MrbIndexLookup *row, int nkeys)
{
	MrbIndexLookupKept *kept = is_kept(row) ? row->kept : NULL;
	MemoryContext before;
	Relation	index;
	IndexScanDesc scan;

	if (kept != NULL && kept->index != NULL)
	{
		if (kept->scan->xs_snapshot == GetActiveSnapshot() &&
			kept->scan->numberOfKeys == nkeys)
			return kept->scan;
		close_scan(kept);
	}
	before = CurrentMemoryContext;
	if (kept != NULL)
		MemoryContextSwitchTo(keeping.context);
	index = mrb_table_open_index(&row->table);
	scan = MRB_INDEX_BEGINSCAN(row->relation, index, GetActiveSnapshot(),
							   nkeys);
	if (kept != NULL)
	{
		kept->index = index;
		kept->scan = scan;
		make_keys(row, scan, kept->keys);
	}
	MemoryContextSwitchTo(before);
	return scan;
}

/*
 * End a search.  The slot pins the row's buffer itself.
 */
static void
end_scan(MrbIndexLookup *row, IndexScanDesc scan)
{
	Relation	index = scan->indexRelation;

	if (is_kept(row))
	{
		table_index_fetch_reset(scan->xs_heapfetch);
		return;
	}
	index_endscan(scan);
	index_close(index, AccessShareLock);
}

/*
 * Close the scan of an index that is kept.
 */
static void
close_scan(MrbIndexLookupKept *it)
{
	if (it->index == NULL)
		return;
	index_endscan(it->scan);
	index_close(it->index, AccessShareLock);
	it->index = NULL;
}

/*
 * Whether the row in the slot has the key.
 */
static bool
has_key(MrbIndexLookup *row, const char *first, const char *second)
{
	const char *keys[] = {first, second};

	for (int i = 0; i < (second != NULL ? 2 : 1); i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(row->slot, row->keys[i], &isnull);
		text	   *packed;

		if (isnull)
			return false;
		packed = DatumGetTextPP(value);
		if (VARSIZE_ANY_EXHDR(packed) != strlen(keys[i]) ||
			memcmp(VARDATA_ANY(packed), keys[i], strlen(keys[i])) != 0)
			return false;
	}
	return true;
}
