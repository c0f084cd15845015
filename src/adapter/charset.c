/*-------------------------------------------------------------------------
 *
 * charset.c
 *	  Sets of ASCII characters, written like "a-z0-9._-".
 *
 * There are no escapes and no negation: a set lists what is allowed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter/charset.h"

static const char *add_range(MrbCharset *set, unsigned char first,
							 unsigned char last, const MrbCharset *within);

/*
 * *set is assigned at the end only, since it can be the same as within.
 */
bool
mrb_charset_parse(const char *string, const MrbCharset *within, MrbCharset *set,
				  const char **problem, int *offset)
{
	MrbCharset	parsed = {{0, 0}};

	*problem = string[0] == '\0' ? "the set is empty" : NULL;

	*offset = 0;
	for (int i = 0; string[i] != '\0' && *problem == NULL; i++)
	{
		bool		range = string[i + 1] == '-' && string[i + 2] != '\0';

		*offset = i;
		*problem = add_range(&parsed, string[i], string[range ? i + 2 : i],
							 within);
		if (range)
			i += 2;
	}
	*set = parsed;
	return *problem == NULL;
}

/*
 * Add a range, or one character, to the set.  Returns NULL, or the problem.
 */
static const char *
add_range(MrbCharset *set, unsigned char first, unsigned char last,
		  const MrbCharset *within)
{
	if (first < ' ' || first > '~' || last < ' ' || last > '~')
		return "the character is not printable ASCII";
	if (last < first)
		return "the range is reversed";
	for (int c = first; c <= last; c++)
	{
		if (within != NULL && !mrb_charset_has(within, c))
			return psprintf("values of this variable cannot contain \"%c\"", c);
		set->bits[c >> 6] |= UINT64CONST(1) << (c & 63);
	}
	return NULL;
}
