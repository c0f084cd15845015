/*-------------------------------------------------------------------------
 *
 * deployment_selector.h
 *	  Which deployments a fleet or a freeze is about.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DEPLOYMENT_SELECTOR_H
#define MRB_DEPLOYMENT_SELECTOR_H

#include "utils/jsonb.h"

/* Number of conditions that a selector may have. */
#define MRB_DEPLOYMENT_SELECTOR_KEYS 8

/* A selector that was checked: the value of each condition, or null. */
typedef struct MrbDeploymentSelector
{
	Datum		values[MRB_DEPLOYMENT_SELECTOR_KEYS];
	bool		nulls[MRB_DEPLOYMENT_SELECTOR_KEYS];
	int			n_ids;			/* ids that it lists; 0: none */
} MrbDeploymentSelector;

/* Deployments that were found, in the order of their ids. */
typedef struct MrbSelected
{
	int			n;
	char	  **ids;
	char	   *tenant_id;		/* of all of them; NULL: of several or none */
} MrbSelected;

/* Check a selector; raises INVALID_ARGUMENT.  json may be NULL, for null. */
extern MrbDeploymentSelector mrb_deployment_selector_parse(Jsonb *json);

/*
 * Find the deployments that exist for the caller and match, in a new snapshot,
 * and those that the selector names by their ids although there are none: at most
 * so many, after an id ("": from the first one).
 */
extern MrbSelected mrb_deployment_selector_find(const MrbDeploymentSelector *selector,
												const char *after, int64 most);

/* Count them; tenant_id as in MrbSelected. */
extern int64 mrb_deployment_selector_count(const MrbDeploymentSelector *selector,
										   char **tenant_id);

/* Whether a deployment matches, whether or not it exists for the caller. */
extern bool mrb_deployment_selector_matches(const MrbDeploymentSelector *selector,
											const char *deployment_id);

#endif							/* MRB_DEPLOYMENT_SELECTOR_H */
