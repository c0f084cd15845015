/*-------------------------------------------------------------------------
 *
 * template.h
 *	  Text with {variables}, compiled once and rendered for every request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TEMPLATE_H
#define MRB_TEMPLATE_H

#include "lib/stringinfo.h"

#include "adapter/variable.h"

/* Where the text is used, which determines how values are escaped. */
typedef enum MrbTemplatePlace
{
	MRB_TEMPLATE_PATH,			/* of a URL: percent-encoded */
	MRB_TEMPLATE_HEADER,		/* not escaped */
	MRB_TEMPLATE_JSON,			/* inside and outside of strings */
	MRB_TEMPLATE_XML,			/* text and quoted attributes */
	MRB_TEMPLATE_FORM,			/* body of an HTML form: percent-encoded */
	MRB_TEMPLATE_TEXT,			/* any other body: not escaped */
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
	const char *text[MRB_VARIABLES];	/* NULL: no value */
	MrbStringList hosts;		/* plain ones first */
	MrbStringList plain_hosts;	/* both are parts of hosts */
	MrbStringList wildcard_hosts;
	MrbStringList removed_hosts;
	MrbStringList deployment_ids;	/* of the batch */
	int			nroutes;
	const struct MrbTemplateValues *routes; /* the values of each of them */
	const char *previous_secret;	/* valid until the rotation ends */
	MrbSecretLookup named_secret;	/* for {secret:name} */
	void	   *named_secret_arg;
	const char *mask;			/* shown in place of secrets, or NULL */
} MrbTemplateValues;

typedef enum MrbRenderResult
{
	MRB_RENDERED,
	MRB_RENDER_NO_VALUE,		/* a variable has no value */
	MRB_RENDER_NO_SECRET,		/* the endpoint has no secret */
	MRB_RENDER_REFUSED,			/* a value has invalid characters */
} MrbRenderResult;

typedef struct MrbTemplate MrbTemplate;

/*
 * Compile a template in the current context.  Returns NULL when it is invalid;
 * then *problem says what is wrong and *offset where.
 */
extern MrbTemplate *mrb_template_compile(const char *source, MrbTemplatePlace place,
										 const MrbCharsets *charsets,
										 const char **problem, int *offset);

/* Append the text to out.  On failure *variable names the cause. */
extern MrbRenderResult mrb_template_render(const MrbTemplate *template,
										   const MrbTemplateValues *values,
										   StringInfo out, const char **variable);

/* Append the text with a placeholder for each variable, to check its form. */
extern void mrb_template_sample(const MrbTemplate *template, StringInfo out);

/* The first secret without value, "" for the endpoint's own; or NULL. */
extern const char *mrb_template_lacks_secret(const MrbTemplate *template,
											 const MrbTemplateValues *values);

/* The variables in it, as bits MRB_VAR_BIT(). */
extern uint32 mrb_template_uses(const MrbTemplate *template);

/* The variables and filters of templates, as a HINT. */
extern char *mrb_template_language(void);

#endif							/* MRB_TEMPLATE_H */
