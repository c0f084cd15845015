/*-------------------------------------------------------------------------
 *
 * served.c
 *	  The versions of a deployment that served last.
 *
 * Rows that were loaded may lack their active version in recent_served.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/optional_text.h"
#include "operation/served.h"

/* Versions that are kept. */
#define SERVED_MAX 3

PG_FUNCTION_INFO_V1(mrb_add_served);

static bool is_text(Datum value, const char *other);

/*
 * miosa.add_served(served, until_now, from_now)
 */
Datum
mrb_add_served(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return mrb_served_add(PG_GETARG_DATUM(0),
						  mrb_optional_text_argument(fcinfo, 1),
						  mrb_optional_text_argument(fcinfo, 2));
}

/*
 * Put two versions in front of the others.
 */
Datum
mrb_served_add(Datum served, const char *until_now, const char *from_now)
{
	Datum		kept[SERVED_MAX];
	int			nkept = 0;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (from_now != NULL)
		kept[nkept++] = CStringGetTextDatum(from_now);
	if (until_now != NULL &&
		(from_now == NULL || strcmp(until_now, from_now) != 0))
		kept[nkept++] = CStringGetTextDatum(until_now);
	deconstruct_array(DatumGetArrayTypeP(served), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n && nkept < SERVED_MAX; i++)
	{
		if (!nulls[i] && !is_text(values[i], until_now) &&
			!is_text(values[i], from_now))
			kept[nkept++] = values[i];
	}
	return PointerGetDatum(construct_array(kept, nkept, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/*
 * Whether a value is this text; NULL is none.
 */
static bool
is_text(Datum value, const char *other)
{
	text	   *packed = DatumGetTextPP(value);
	size_t		len = VARSIZE_ANY_EXHDR(packed);

	return other != NULL && strlen(other) == len &&
		memcmp(VARDATA_ANY(packed), other, len) == 0;
}
