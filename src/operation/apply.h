/*-------------------------------------------------------------------------
 *
 * apply.h
 *	  Effects of an operation: what routes resolve to, the deployment's
 *	  state, and the outcome.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_APPLY_H
#define MRB_APPLY_H

#include "operation/deployment.h"
#include "operation/operation.h"

/*
 * Fill in the effects of making the target active.  immediate: routes do not
 * wait for instances.
 */
extern void mrb_apply(const MrbDeployment *now, bool immediate,
					  MrbOperation *operation);

/* Fill in the effects of unpublishing the deployment. */
extern void mrb_apply_unpublish(const MrbDeployment *now,
								MrbOperation *operation);

/*
 * Switch routes to the active version if its healthy instances are enough, or
 * if it has one and has waited for cutover_deadline; set the state running if
 * they are all there, and withdraw the request for them.  True if routes
 * switched.  The caller holds the lock of the deployment's row.
 */
extern bool mrb_apply_complete(const char *deployment_id);

#endif							/* MRB_APPLY_H */
