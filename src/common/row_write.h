/*-------------------------------------------------------------------------
 *
 * row_write.h
 *	  Writing of rows without a query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROW_WRITE_H
#define MRB_ROW_WRITE_H

#include "executor/tuptable.h"

#include "common/table.h"
#include "common/row_plan.h"

typedef struct MrbRowWriteTable
{
	MrbTable	table;			/* with the columns that are written, in the
								 * order of their values, and then others */
	int			nwritten;		/* number of columns that are written */
	const char *skipped;		/* function of a trigger that does not fire,
								 * in schema miosa; NULL: all fire */
	MrbRowPlan *plan;			/* row_plan.c's; NULL at first */
	bool		plan_used;		/* row_plan.c's: by a write */
} MrbRowWriteTable;

/* Writes that count as one statement. */
typedef struct MrbRowWrite MrbRowWrite;

/*
 * Begin writing of these tables, with a new snapshot; locks them.  The array
 * lasts until mrb_row_write_end().  Each table is either inserted into or
 * updated.  many: rows are inserted some at a time, mrb_row_write_end() inserts
 * the last ones.
 */
extern MrbRowWrite *mrb_row_write_begin(MrbRowWriteTable *const *tables, int n,
										bool many);

/*
 * Insert a row into the table of this index; columns without a value here get
 * their default.
 */
extern void mrb_row_write_insert(MrbRowWrite *write, int table,
								 const Datum *values, const bool *nulls);

/*
 * Update a row that this transaction has locked, and return it as written; NULL
 * if a trigger suppressed the update.  Valid until the next update of the table
 * or mrb_row_write_end().
 */
extern TupleTableSlot *mrb_row_write_update(MrbRowWrite *write, int table,
											TupleTableSlot *old,
											const Datum *values,
											const bool *nulls);

/* Fire the triggers that come after the statement, and free everything. */
extern void mrb_row_write_end(MrbRowWrite *write);

#endif							/* MRB_ROW_WRITE_H */
