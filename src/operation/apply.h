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

#endif							/* MRB_APPLY_H */
