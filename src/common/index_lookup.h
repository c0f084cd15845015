/*-------------------------------------------------------------------------
 *
 * index_lookup.h
 *	  Look rows up by their keys, without a query.
 *
 * Every operation makes these look-ups twice, and every delivery once; starting
 * the executor for them would cost several times the index scan.  Between
 * mrb_index_lookup_begin() and mrb_index_lookup_end() one new snapshot is used,
 * as in one statement.  A found row is valid until mrb_index_lookup_close();
 * texts and jsonb are copied for the caller.  An error needs no clean-up, unless
 * tables are kept open: the transaction's abort releases everything.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_INDEX_LOOKUP_H
#define MRB_INDEX_LOOKUP_H

#include "access/tableam.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "utils/jsonb.h"

#include "base/miosa_rollback.h"
#include "common/table.h"

typedef struct MrbIndexLookup
{
	LOCKMODE	lock;			/* of the table; 0: AccessShareLock */
	MrbTable	table;			/* with an index on one or two text columns,
								 * and the columns to read */
	AttrNumber	keys[2];		/* columns of the index, once it was used */
	uint64		keys_changes;	/* table.changes then */
	Relation	relation;		/* while the row is open */
	TupleTableSlot *slot;
	struct MrbIndexLookupKept *kept;	/* index_lookup.c's */
} MrbIndexLookup;

extern void mrb_index_lookup_begin(void);
extern void mrb_index_lookup_end(void);

/*
 * Between the two, look-ups keep their tables, indexes and slots open for the
 * next ones.  After an error mrb_index_lookup_forget_kept() has to be called
 * instead of mrb_index_lookup_close_kept().
 */
extern void mrb_index_lookup_keep(void);
extern void mrb_index_lookup_close_kept(void);
extern void mrb_index_lookup_forget_kept(void);

/*
 * Find a row by its key; false when it does not exist.  second is NULL for a key
 * of one column.  If several rows match, any one is found.
 */
extern bool mrb_index_lookup_find(MrbIndexLookup *row, const char *first, const char *second);

/*
 * When no row of this key was found, read a page of the table, and count it, as if
 * there were one: then what is read does not say that there is none.
 */
extern void mrb_index_lookup_pretend(MrbIndexLookup *row, const char *key);

/* Call visit for each row of a key, in no particular order. */
typedef void (*MrbIndexLookupVisit) (MrbIndexLookup *row, void *arg);

extern void mrb_index_lookup_each(MrbIndexLookup *row, const char *first,
								  MrbIndexLookupVisit visit, void *arg);

/*
 * Find a row that this transaction has found before, in this place; it may have
 * been updated or deleted since.  An invalid place is none.
 */
extern bool mrb_index_lookup_find_again(MrbIndexLookup *row, const ItemPointerData *place,
										const char *first, const char *second);

/* Where a row was found last; all zero: nowhere. */
typedef struct MrbIndexLookupPlace
{
	char		key[MRB_MAX_ID + 1];	/* longer ones are cut off, and never
										 * found */
	ItemPointerData tid;
} MrbIndexLookupPlace;

/*
 * Find a row by a key of one column, first in that place, which may be of another
 * transaction, and keep its place.
 */
extern bool mrb_index_lookup_find_near(MrbIndexLookup *row,
									   MrbIndexLookupPlace *place,
									   const char *key);

/*
 * Lock the row that was found FOR NO KEY UPDATE, and read its newest version:
 * TM_Ok, TM_WouldBlock if the policy is not to wait, or why it could not be
 * locked.  The row may be read after TM_Ok only.
 */
extern TM_Result mrb_index_lookup_lock(MrbIndexLookup *row, const char *first,
									   const char *second, LockWaitPolicy policy);
extern void mrb_index_lookup_close(MrbIndexLookup *row);

/* Columns are counted from 0, as in MrbTable.columns. */
extern Datum mrb_index_lookup_datum(MrbIndexLookup *row, int column, bool *isnull);
extern char *mrb_index_lookup_text(MrbIndexLookup *row, int column);
extern Jsonb *mrb_index_lookup_jsonb(MrbIndexLookup *row, int column);
extern int64 mrb_index_lookup_int64(MrbIndexLookup *row, int column);
extern int32 mrb_index_lookup_int32(MrbIndexLookup *row, int column);
extern TimestampTz mrb_index_lookup_timestamp(MrbIndexLookup *row, int column);

#endif							/* MRB_INDEX_LOOKUP_H */
