/*-------------------------------------------------------------------------
 *
 * array.h
 *	  SQL arrays, to hand many rows to one statement.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARRAY_H
#define MRB_ARRAY_H

/* nulls may be NULL: none is null. */
extern Datum mrb_array_make(Datum *values, bool *nulls, int n, Oid type);

#endif							/* MRB_ARRAY_H */
