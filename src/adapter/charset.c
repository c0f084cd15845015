/*-------------------------------------------------------------------------
 *
 * charset.c
 *	  Sets of ASCII characters, written like "a-z0-9._-".
 *
 * There are no escapes and no negation: a set says what may be there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter/charset.h"

static const char *add_range(MrbCharset *set, unsigned char first,
							 unsigned char last, const MrbCharset *within);

bool
mrb_charset_parse(const char *text, const MrbCharset *within, MrbCharset *set,
				  const char **problem, int *offset)
{
	MrbCharset	parsed = {{0, 0}};

	*problem = text[0] == '\0' ? "it is empty" : NULL;

	*offset = 0;
	for (int i = 0; text[i] != '\0' && *problem == NULL; i++)
	{
		bool		range = text[i + 1] == '-' && text[i + 2] != '\0';

		*offset = i;
		*problem = add_range(&parsed, text[i], text[range ? i + 2 : i],
							 within);
		if (range)
			i += 2;
	}
	*set = parsed;
	return *problem == NULL;
}

/*
 * NULL when done, else what is wrong.
 */
static const char *
add_range(MrbCharset *set, unsigned char first, unsigned char last,
		  const MrbCharset *within)
{
	if (first < ' ' || first > '~' || last < ' ' || last > '~')
		return "it is not printable ASCII";
	if (last < first)
		return "the range runs backwards";
	for (int c = first; c <= last; c++)
	{
		if (within != NULL && !mrb_charset_has(within, c))
			return psprintf("\"%c\" is never in such a value", c);
		set->bits[c >> 6] |= UINT64CONST(1) << (c & 63);
	}
	return NULL;
}
