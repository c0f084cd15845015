/*-------------------------------------------------------------------------
 *
 * html.h
 *	  Texts in HTML and SVG.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTML_H
#define MRB_HTML_H

#include "lib/stringinfo.h"

/*
 * Append a text as content of an element or as a quoted attribute; NULL is
 * nothing.
 */
extern void mrb_html_append(StringInfo page, const char *value);

/* Append an element with a text in it. */
extern void mrb_html_element(StringInfo page, const char *name, const char *value);

#endif							/* MRB_HTML_H */
