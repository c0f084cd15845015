/*-------------------------------------------------------------------------
 *
 * html_page.h
 *	  What all pages have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTML_PAGE_H
#define MRB_HTML_PAGE_H

#include "lib/stringinfo.h"

/*
 * Begin a page: head is what its head has besides, style the style sheet of its
 * own.
 */
extern void mrb_html_page_begin(StringInfo page, const char *title, const char *head,
								const char *style);
extern void mrb_html_page_end(StringInfo page);

/* Append the names of columns, and begin the rows of a table. */
extern void mrb_html_page_columns(StringInfo page, const char *const *names, int n);

#endif							/* MRB_HTML_PAGE_H */
