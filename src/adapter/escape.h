/*-------------------------------------------------------------------------
 *
 * escape.h
 *	  Escapes values for the text that they are inserted into.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ESCAPE_H
#define MRB_ESCAPE_H

#include "lib/stringinfo.h"

typedef enum MrbEscapeStyle
{
	MRB_ESCAPE_PLAIN,			/* not escaped */
	MRB_ESCAPE_PERCENT,			/* in a URL */
	MRB_ESCAPE_PERCENT_PATH,	/* the same, but slashes are kept */
	MRB_ESCAPE_IN_JSON_STRING,	/* between quotes that exist already */
	MRB_ESCAPE_JSON_STRING,		/* with quotes */
	MRB_ESCAPE_XML,				/* in text or in a quoted attribute */
} MrbEscapeStyle;

/* Append an escaped value. */
extern void mrb_escape_append(StringInfo out, MrbEscapeStyle style,
							  const char *value);

/*
 * Percent-encode the characters that a URI cannot contain.  Returns the URI
 * itself if there are none, else a palloc'd copy.
 */
extern const char *mrb_escape_uri(const char *uri);

/* The same JSON in ASCII, palloc'd; it is in UTF-8. */
extern char *mrb_escape_json_ascii(const char *json);

/* Encode len bytes as base64, palloc'd. */
extern char *mrb_escape_base64(const char *value, int len);

#endif							/* MRB_ESCAPE_H */
