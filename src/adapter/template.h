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
typedef enum MrbTemplatePlace
{
	MRB_TEMPLATE_PATH,			/* of a URL: percent-encoded */
	MRB_TEMPLATE_HEADER,		/* as it is */
	MRB_TEMPLATE_JSON,			/* JSON, in and between its strings */
	MRB_TEMPLATE_XML,			/* XML, its text and quoted attributes */
	MRB_TEMPLATE_FORM,			/* of an HTML form: percent-encoded */
	MRB_TEMPLATE_TEXT,			/* any other body: as it is */
} MrbTemplatePlace;

typedef struct MrbStringList
{
	int			n;
	char	  **items;
} MrbStringList;

/* Returns the value of the secret of that name, or NULL. */
typedef const char *(*MrbSecretLookup) (const char *name, void *arg);

typedef struct MrbTemplateValues
{
	const char *text[MRB_VARIABLES];	/* NULL: there is none */
	MrbStringList hosts;		/* plain ones first */
	MrbStringList plain_hosts;	/* parts of hosts */
	MrbStringList wildcard_hosts;
	MrbStringList removed_hosts;
	MrbStringList deployment_ids;	/* all of a batch */
	const char *previous_secret;	/* the one that is being rotated out */
	MrbSecretLookup named_secret;	/* for {secret:name} */
	void	   *named_secret_arg;
	const char *mask;			/* if not NULL, it is shown for secrets */
} MrbTemplateValues;

typedef enum MrbRenderResult
{
	MRB_RENDERED,
	MRB_RENDER_NO_VALUE,		/* a variable has no value here */
	MRB_RENDER_NO_SECRET,		/* the endpoint has no secret */
	MRB_RENDER_REFUSED,			/* a value does not fit where it lands */
} MrbRenderResult;

typedef struct MrbTemplate MrbTemplate;

/*
 * Compile in the current context.  NULL when it is wrong; then *problem says
 * what and *offset says where.
 */
extern MrbTemplate *mrb_template_compile(const char *text, MrbTemplatePlace place,
										 const MrbAlphabets *alphabets,
										 const char **problem, int *offset);

/* Append to out; when it fails, *variable is the name that did it. */
extern MrbRenderResult mrb_template_render(const MrbTemplate *template,
										   const MrbTemplateValues *values,
										   StringInfo out, const char **variable);

/* Append it with something harmless for each variable, to try its form. */
extern void mrb_template_sample(const MrbTemplate *template, StringInfo out);

/* The first secret that is missing, "" for the endpoint's own; or NULL. */
extern const char *mrb_template_lacks_secret(const MrbTemplate *template,
											 const MrbTemplateValues *values);

/* The variables in it, as bits of MRB_VAR_BIT(). */
extern uint32 mrb_template_uses(const MrbTemplate *template);

/* What templates can hold, in a line for people. */
extern char *mrb_template_language(void);

#endif							/* MRB_TEMPLATE_H */
