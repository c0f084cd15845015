/*-------------------------------------------------------------------------
 *
 * charset.h
 *	  Sets of ASCII characters, written like "a-z0-9._-".
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CHARSET_H
#define MRB_CHARSET_H

typedef struct MrbCharset
{
	uint64		bits[2];
} MrbCharset;

/*
 * Parse characters and ranges; a "-" that is not between two characters stands
 * for itself.  Returns false when the string is invalid or, unless within is
 * NULL, holds a character that is not in that set; then *problem says what is
 * wrong and *offset where.
 */
extern bool mrb_charset_parse(const char *string, const MrbCharset *within,
							  MrbCharset *set, const char **problem,
							  int *offset);

/* Whether the character is in the set. */
static inline bool
mrb_charset_has(const MrbCharset *set, char character)
{
	unsigned char c = character;

	return c < 128 && ((set->bits[c >> 6] >> (c & 63)) & 1) != 0;
}

#endif							/* MRB_CHARSET_H */
