/*-------------------------------------------------------------------------
 *
 * query.h
 *	  Prepared statements; the only user of SPI.
 *
 * Each module defines its statements as static MrbQuery structs and runs them
 * between mrb_query_open() and mrb_query_close().  A statement is planned on
 * first use, and its plan is kept for the life of the backend.  Copies are made
 * in the memory context that was current at open, which stays the current one;
 * other values are valid until close.  An error between open and close needs no
 * clean-up: the transaction's abort closes SPI.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_QUERY_H
#define MRB_QUERY_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#define MRB_QUERY_MAX_ARGS 26

/* What a statement does, and whether it returns rows. */
typedef enum MrbQueryKind
{
	MRB_QUERY_SELECT,
	MRB_QUERY_INSERT,
	MRB_QUERY_DELETE,
	MRB_QUERY_UPDATE,
	MRB_QUERY_INSERT_RETURNING,
	MRB_QUERY_DELETE_RETURNING,
	MRB_QUERY_UPDATE_RETURNING,
} MrbQueryKind;

typedef struct MrbQuery
{
	const char *sql;			/* one statement, every name qualified */
	int			nargs;
	Oid			argtypes[MRB_QUERY_MAX_ARGS];
	MrbQueryKind expected;		/* what the statement does */
	bool		read_only;		/* use the caller's snapshot, refuse writes */
	bool		custom;			/* plan it for the values of each run */
	void	   *plan;			/* SPIPlanPtr once prepared */
} MrbQuery;

extern void mrb_query_open(void);
extern void mrb_query_close(void);

/* nulls may be NULL: no argument is null.  Returns the number of rows. */
extern uint64 mrb_query_run(MrbQuery *query, const Datum *values,
							const bool *nulls);

/* Columns are counted from 1, rows from 0.  Valid until close. */
extern Datum mrb_query_datum(uint64 row, int column, bool *isnull);

/* Copies; NULL (or the given value) for SQL null. */
extern Datum mrb_query_copy(uint64 row, int column, bool *isnull);
extern char *mrb_query_text(uint64 row, int column);
extern Jsonb *mrb_query_jsonb(uint64 row, int column);
extern int64 mrb_query_int64(uint64 row, int column, int64 ifnull);
extern int32 mrb_query_int32(uint64 row, int column, int32 ifnull);
extern bool mrb_query_bool(uint64 row, int column);
extern TimestampTz mrb_query_timestamp(uint64 row, int column,
									   TimestampTz ifnull);

#endif							/* MRB_QUERY_H */
