/*-------------------------------------------------------------------------
 *
 * array.c
 *	  Build SQL arrays, to pass many rows to one statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/lsyscache.h"

#include "common/array.h"

/*
 * Build an array of a type from n values.
 */
Datum
mrb_array_make(Datum *values, bool *nulls, int n, Oid type)
{
	int			lower = 1;
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower,
											  type, len, byval, align));
}
