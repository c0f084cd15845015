/*-------------------------------------------------------------------------
 *
 * escape.h
 *	  Writing a value so that it stays one, whatever it stands in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ESCAPE_H
#define MRB_ESCAPE_H

#include "lib/stringinfo.h"

typedef enum MrbEscapeStyle
{
	MRB_ESCAPE_PLAIN,			/* as it is */
	MRB_ESCAPE_PERCENT,			/* in a URL */
	MRB_ESCAPE_PERCENT_PATH,	/* the same, but slashes stay */
	MRB_ESCAPE_IN_JSON_STRING,	/* between quotes that are there already */
	MRB_ESCAPE_JSON_STRING,		/* with its quotes */
	MRB_ESCAPE_XML,				/* text or a quoted attribute */
} MrbEscapeStyle;

extern void mrb_escape_append(StringInfo out, MrbEscapeStyle style,
							  const char *value);

/* With what no URI can have percent-encoded; palloc'd if anything was. */
extern const char *mrb_escape_uri(const char *uri);

/* Palloc'd. */
extern char *mrb_escape_base64(const char *value, int len);

#endif							/* MRB_ESCAPE_H */
