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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "common/index_lookup.h"

static void open_table(MrbIndexLookup *row);

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
 * Find the row of a key; false when it does not exist.
 */
bool
mrb_index_lookup_find(MrbIndexLookup *row, const char *first, const char *second)
{
	const char *keys[] = {first, second};
	int			nkeys = second != NULL ? 2 : 1;
	ScanKeyData scankeys[lengthof(keys)];
	Relation	index;
	IndexScanDesc scan;
	bool		found;

	open_table(row);
	row->slot = table_slot_create(row->relation, NULL);
	index = index_open(row->indexid, AccessShareLock);
	for (int i = 0; i < nkeys; i++)
		ScanKeyEntryInitialize(&scankeys[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, index->rd_indcollation[i],
							   F_TEXTEQ, CStringGetTextDatum(keys[i]));

	scan = MRB_INDEX_BEGINSCAN(row->relation, index, GetActiveSnapshot(),
							   nkeys);
	index_rescan(scan, scankeys, nkeys, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, row->slot);

	/* The slot pins the row's buffer itself. */
	index_endscan(scan);
	index_close(index, NoLock);
	if (!found)
		mrb_index_lookup_close(row);
	return found;
}

/*
 * Release a row that was found.
 */
void
mrb_index_lookup_close(MrbIndexLookup *row)
{
	ExecDropSingleTupleTableSlot(row->slot);
	table_close(row->relation, NoLock);
	row->slot = NULL;
	row->relation = NULL;
}

/*
 * Return one value, valid until mrb_index_lookup_close().
 */
Datum
mrb_index_lookup_datum(MrbIndexLookup *row, int column, bool *isnull)
{
	return slot_getattr(row->slot, row->attnums[column], isnull);
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
 * Lock the table and find its index and columns.  The index is looked up by
 * name every time, because REINDEX CONCURRENTLY replaces it; it cannot drop the
 * old index while the table is locked.  Column numbers are cached: they are
 * constant for a table, and CREATE EXTENSION creates a table with a new oid.
 */
static void
open_table(MrbIndexLookup *row)
{
	Oid			schema = get_namespace_oid("miosa", false);
	Oid			relid = get_relname_relid(row->table, schema);

	if (!OidIsValid(relid))
		elog(ERROR, "table miosa.%s is missing", row->table);
	row->relation = table_open(relid, AccessShareLock);
	row->indexid = get_relname_relid(row->index, schema);
	if (!OidIsValid(row->indexid))
		elog(ERROR, "index \"%s\" of table miosa.%s is missing",
			 row->index, row->table);

	if (relid == row->relid)
		return;
	row->relid = InvalidOid;
	for (int i = 0; i < MRB_ROW_MAX_COLUMNS && row->columns[i] != NULL; i++)
	{
		row->attnums[i] = get_attnum(relid, row->columns[i]);
		if (row->attnums[i] == InvalidAttrNumber)
			elog(ERROR, "column \"%s\" of table miosa.%s is missing",
				 row->columns[i], row->table);
	}
	row->relid = relid;
}
