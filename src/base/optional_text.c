/*-------------------------------------------------------------------------
 *
 * optional_text.c
 *	  Texts that may be missing: NULL stands for SQL null.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/optional_text.h"

/*
 * Compare two texts.
 */
bool
mrb_optional_text_equals(const char *one, const char *other)
{
	if (one == NULL || other == NULL)
		return one == other;
	return strcmp(one, other) == 0;
}

/*
 * Copy a text.
 */
char *
mrb_optional_text_copy(const char *string)
{
	return string != NULL ? pstrdup(string) : NULL;
}

/*
 * Return a text argument.
 */
char *
mrb_optional_text_argument(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return NULL;
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}
