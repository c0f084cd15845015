/*-------------------------------------------------------------------------
 *
 * page_parts.h
 *	  Parts of the live page.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PAGE_PARTS_H
#define MRB_PAGE_PARTS_H

#include "lib/stringinfo.h"

/* What a bar counts; the rest of total is unknown. */
typedef struct MrbPageBar
{
	int64		good;
	int64		late;
	int64		bad;
	int64		total;
} MrbPageBar;

/* The subject of a page: a row of miosa.page_head(). */
typedef struct MrbPageHead
{
	char	   *deployment_id;	/* NULL: all deployments */
	char	   *title;
	char	   *made;
	char	   *database;
	char	   *old;			/* NULL: a primary made it */
	char	   *dispatcher;
	bool		delivering;
	char	   *deployments;	/* how many there are */
	bool		endpoints;		/* the caller sees them */
	char	   *clock;
	char	   *doctor;			/* how to call it */
} MrbPageHead;

/*
 * Begin a page.  title is what tabs show; kind is good, warn or bad; headline is
 * the first thing that is read; sum is HTML, which its head ends with.
 */
extern void mrb_page_parts_begin(StringInfo page, const MrbPageHead *head, const char *title,
								 const char *kind, const char *headline, const char *sum);

/* Append a section's heading, and how many things it has if that is known. */
extern void mrb_page_parts_section(StringInfo page, const char *id, const char *title,
								   const char *n);

/* Append an element of a class; nothing if there is no value. */
extern void mrb_page_parts_text(StringInfo page, const char *element, const char *kind,
								const char *value);

/* Append a name that people gave, and its id. */
extern void mrb_page_parts_name(StringInfo page, const char *name, const char *id);

/* Append a command to paste. */
extern void mrb_page_parts_command(StringInfo page, const char *value);

/* Append a text whose line feeds stay. */
extern void mrb_page_parts_lines(StringInfo page, const char *value);

extern void mrb_page_parts_bar(StringInfo page, const MrbPageBar *bar);

#endif							/* MRB_PAGE_PARTS_H */
