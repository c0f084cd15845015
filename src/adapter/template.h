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

#include "adapter/variable.h"

/* Where a text lands, which says how values are escaped. */
typedef enum MrbPlace
{
	MRB_PLACE_PATH,				/* of a URL: percent-encoded */
	MRB_PLACE_HEADER,			/* as it is */
	MRB_PLACE_JSON,				/* JSON, in and between its strings */
	MRB_PLACE_XML,				/* XML, its text and quoted attributes */
	MRB_PLACE_FORM,				/* of an HTML form: percent-encoded */
	MRB_PLACE_TEXT,				/* any other body: as it is */
} MrbPlace;

typedef struct MrbList
{
	int			n;
	char	  **items;
} MrbList;

/* Returns the value of the secret of that name, or NULL. */
typedef const char *(*MrbSecretLookup) (const char *name, void *arg);

typedef struct MrbValues
{
	const char *text[MRB_VARIABLES];	/* NULL: there is none */
	MrbList		hosts;			/* plain ones first */
	MrbList		plain_hosts;	/* parts of hosts */
	MrbList		wildcard_hosts;
	MrbList		removed_hosts;
	MrbList		deployment_ids; /* all of a batch */
	const char *previous_secret;	/* the one that is being rotated out */
	MrbSecretLookup named_secret;	/* for {secret:name} */
	void	   *named_secret_arg;
	const char *mask;			/* if not NULL, it is shown for secrets */
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
										 const MrbAlphabets *alphabets,
										 const char **problem, int *offset);

/* Append to out; when it fails, *variable is the name that did it. */
extern MrbRendered mrb_template_render(const MrbTemplate *template,
									   const MrbValues *values,
									   StringInfo out, const char **variable);

/* Append it with something harmless for each variable, to try its form. */
extern void mrb_template_sample(const MrbTemplate *template, StringInfo out);

/* The first secret that is missing, "" for the endpoint's own; or NULL. */
extern const char *mrb_template_lacks_secret(const MrbTemplate *template,
											 const MrbValues *values);

/* The variables in it, as bits of MRB_USES(). */
extern uint32 mrb_template_uses(const MrbTemplate *template);

/* What templates can hold, in a line for people. */
extern char *mrb_template_language(void);

#endif							/* MRB_TEMPLATE_H */
