/*-------------------------------------------------------------------------
 *
 * variable.h
 *	  The variables of templates, and which characters their values can have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_VARIABLE_H
#define MRB_VARIABLE_H

#include "adapter/charset.h"

typedef enum MrbVariable
{
	MRB_VAR_ALERT,				/* a JSON object */
	MRB_VAR_CHANGED_AT,
	MRB_VAR_COUNT,
	MRB_VAR_DEPLOYMENT_ID,
	MRB_VAR_DEPLOYMENT_IDS,		/* list */
	MRB_VAR_DOMAIN,				/* a wildcard host without its "*." */
	MRB_VAR_EPOCH,
	MRB_VAR_HOST,
	MRB_VAR_HOSTS,				/* list */
	MRB_VAR_INSTANCE_ID,
	MRB_VAR_KIND,
	MRB_VAR_MESSAGE_ID,
	MRB_VAR_OPERATION_ID,
	MRB_VAR_ORIGIN,				/* this database, of several that tell an edge */
	MRB_VAR_PLAIN_HOSTS,		/* list: hosts without wildcards */
	MRB_VAR_RELEASE_ID,
	MRB_VAR_REMOVED_HOSTS,		/* list */
	MRB_VAR_ROUTES,				/* a JSON array: those of the batch */
	MRB_VAR_SECRET,				/* of the endpoint, or one by name */
	MRB_VAR_SHA256,
	MRB_VAR_STATEMENT,			/* of the audit trail, in base64 */
	MRB_VAR_STORAGE_URI,
	MRB_VAR_TENANT_ID,
	MRB_VAR_VERSION_ID,
	MRB_VAR_VERSION_NUMBER,
	MRB_VAR_WILDCARD_HOSTS,		/* list */
	MRB_VAR_WORKLOAD,
	MRB_VARIABLES
} MrbVariable;

/* A variable as a bit, for sets of them. */
#define MRB_VAR_BIT(variable) (UINT32_C(1) << (variable))

/* The characters that values of each variable can have. */
typedef struct MrbCharsets
{
	MrbCharset	of[MRB_VARIABLES];
} MrbCharsets;

/* The value of MRB_VAR_ORIGIN, which stays valid. */
extern const char *mrb_variable_origin(void);

/* Properties of a variable. */
extern const char *mrb_variable_name(MrbVariable variable);
extern bool mrb_variable_is_list(MrbVariable variable);
extern bool mrb_variable_is_number(MrbVariable variable);
extern bool mrb_variable_is_json(MrbVariable variable);

/* Find a variable by its name; MRB_VARIABLES if there is none. */
extern MrbVariable mrb_variable_find(const char *name, int len);

/*
 * Set the built-in charsets, and replace one of them with a part of it.
 * mrb_variable_narrow() returns false, with *problem and *offset, when
 * characters is invalid or holds others than the charset.
 */
extern void mrb_variable_charsets(MrbCharsets *charsets);
extern bool mrb_variable_narrow(MrbCharsets *charsets, MrbVariable variable,
								const char *characters,
								const char **problem, int *offset);

/* Whether a value has the charset and the form of its variable. */
extern bool mrb_variable_fits(MrbVariable variable, const MrbCharset *charset,
							  const char *value);

#endif							/* MRB_VARIABLE_H */
