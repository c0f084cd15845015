/*-------------------------------------------------------------------------
 *
 * array.h
 *	  Build SQL arrays, to pass many rows to one statement.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARRAY_H
#define MRB_ARRAY_H

/* Build an array; nulls may be NULL when no value is null. */
extern Datum mrb_array_make(Datum *values, bool *nulls, int n, Oid type);

#endif							/* MRB_ARRAY_H */
