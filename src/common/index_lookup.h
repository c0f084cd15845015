/*-------------------------------------------------------------------------
 *
 * index_lookup.h
 *	  Rows found by their keys, without a query.
 *
 * For the look-ups that every operation makes twice: to start the executor
 * for them costs several times what the index scan does.  Between
 * mrb_row_begin() and mrb_row_end() one new snapshot is used, as by one
 * statement.  A found row is there until mrb_row_close(); texts and jsonb are
 * copied for the caller.  An error needs no clean-up: the transaction's abort
 * releases everything.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_INDEX_LOOKUP_H
#define MRB_INDEX_LOOKUP_H

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#define MRB_ROW_MAX_COLUMNS 10

typedef struct MrbRow
{
	const char *table;			/* in schema miosa */
	const char *index;			/* on one or two text columns */
	const char *columns[MRB_ROW_MAX_COLUMNS];	/* those that are read */
	Oid			relid;			/* of the table that attnums are of */
	Oid			indexid;		/* while the row is open */
	AttrNumber	attnums[MRB_ROW_MAX_COLUMNS];
	Relation	relation;		/* while the row is open */
	TupleTableSlot *slot;
} MrbRow;

extern void mrb_row_begin(void);
extern void mrb_row_end(void);

/*
 * Whether there is such a row; second is NULL for a key of one column.  Of
 * several any one is found.
 */
extern bool mrb_row_find(MrbRow *row, const char *first, const char *second);
extern void mrb_row_close(MrbRow *row);

/* Columns are counted from 0, as in MrbRow.columns. */
extern Datum mrb_row_datum(MrbRow *row, int column, bool *isnull);
extern char *mrb_row_text(MrbRow *row, int column);
extern Jsonb *mrb_row_jsonb(MrbRow *row, int column);
extern int64 mrb_row_int64(MrbRow *row, int column);
extern int32 mrb_row_int32(MrbRow *row, int column);
extern TimestampTz mrb_row_timestamp(MrbRow *row, int column);

#endif							/* MRB_INDEX_LOOKUP_H */
