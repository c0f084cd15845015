/*-------------------------------------------------------------------------
 *
 * template.h
 *	  Texts with {variables}, compiled once and rendered for every request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TEMPLATE_H
#define MRB_TEMPLATE_H

#include "lib/stringinfo.h"

typedef enum MrbVariable
{
	MRB_VAR_DEPLOYMENT_ID,
	MRB_VAR_EPOCH,
	MRB_VAR_HOST,
	MRB_VAR_HOSTS,				/* list */
	MRB_VAR_KIND,
	MRB_VAR_MESSAGE_ID,
	MRB_VAR_OPERATION_ID,
	MRB_VAR_RELEASE_ID,
	MRB_VAR_REMOVED_HOSTS,		/* list */
	MRB_VAR_SECRET,				/* the endpoint's, or one by name */
	MRB_VAR_SHA256,
	MRB_VAR_STORAGE_URI,
	MRB_VAR_TENANT_ID,
	MRB_VAR_VERSION_ID,
	MRB_VAR_VERSION_NUMBER,
	MRB_VARIABLES
} MrbVariable;

/* Where a text lands, which says how values are escaped. */
typedef enum MrbPlace
{
	MRB_PLACE_PATH,				/* of a URL: percent-encoded */
	MRB_PLACE_HEADER,			/* as it is */
	MRB_PLACE_JSON,				/* JSON, in and between its strings */
	MRB_PLACE_TEXT,				/* a body that is not JSON: as it is */
} MrbPlace;

typedef struct MrbList
{
	int			n;
	char	  **items;
} MrbList;

typedef struct MrbValues
{
	const char *text[MRB_VARIABLES];	/* NULL: there is none */
	MrbList		hosts;
	MrbList		removed_hosts;
	const char *(*named_secret) (const char *name);
} MrbValues;

typedef enum MrbRendered
{
	MRB_RENDERED,
	MRB_RENDER_NO_VALUE,		/* a variable has no value here */
	MRB_RENDER_NO_SECRET,		/* the endpoint has no secret */
	MRB_RENDER_REFUSED,			/* a value does not fit where it lands */
} MrbRendered;

typedef struct MrbTemplate MrbTemplate;

/*
 * Compile in the current context.  NULL when it is wrong; then *problem says
 * what and *offset says where.
 */
extern MrbTemplate *mrb_template_compile(const char *text, MrbPlace place,
										 const char **problem, int *offset);

/* Append to out; when it fails, *variable is the name that did it. */
extern MrbRendered mrb_template_render(const MrbTemplate *template,
									   const MrbValues *values,
									   StringInfo out, const char **variable);

extern char *mrb_template_variables(void);

#endif							/* MRB_TEMPLATE_H */
