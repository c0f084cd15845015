/*-------------------------------------------------------------------------
 *
 * selector.h
 *	  Which deployments an endpoint receives.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SELECTOR_H
#define MRB_SELECTOR_H

#include "utils/jsonb.h"

/*
 * Whether an endpoint with this selector receives a deployment.  A NULL, of a
 * deployment that was deleted, matches every selector.
 */
extern bool mrb_selector_matches(Jsonb *selector, const char *deployment_id,
								 const char *tenant_id, const char *kind);

#endif							/* MRB_SELECTOR_H */
