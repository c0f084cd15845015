/*-------------------------------------------------------------------------
 *
 * table.h
 *	  The extension's tables, found in the catalog once.
 *
 * Each module defines the tables that it reads or writes without a query as
 * static MrbTable structs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TABLE_H
#define MRB_TABLE_H

#include "storage/lockdefs.h"
#include "utils/rel.h"

#define MRB_TABLE_MAX_COLUMNS 20

typedef struct MrbTable
{
	const char *name;			/* in schema miosa */
	const char *index;			/* NULL: none is used */
	const char *columns[MRB_TABLE_MAX_COLUMNS]; /* that are used */
	Oid			types[MRB_TABLE_MAX_COLUMNS];	/* of these; 0: text */

	/* Found in the catalog; what follows is written by table.c only. */
	Oid			relid;
	Oid			indexid;
	AttrNumber	attnums[MRB_TABLE_MAX_COLUMNS];
	bool		valid;			/* nothing has changed since */
	uint64		changes;		/* counts what may have changed it */
	bool		known;			/* to the callbacks */
	struct MrbTable *next;
} MrbTable;

/*
 * Open and lock a table.  Its oids and column numbers are as in the catalog
 * until the lock is released.  An error if a column has another type: values are
 * read and written as they are.
 */
extern Relation mrb_table_open(MrbTable *table, LOCKMODE lock);

/*
 * Open the index of a table that is open, with an AccessShareLock.  An error if it
 * may lack rows.
 */
extern Relation mrb_table_open_index(const MrbTable *table);

/* Raise that error, unless the type of a column is the expected one. */
extern void mrb_table_check_type(const char *table, const char *column,
								 Oid type, Oid expected);

#endif							/* MRB_TABLE_H */
