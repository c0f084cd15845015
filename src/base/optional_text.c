/*-------------------------------------------------------------------------
 *
 * optional_text.c
 *	  Texts that may be missing: NULL stands for SQL null.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

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
