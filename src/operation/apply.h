/*-------------------------------------------------------------------------
 *
 * apply.h
 *	  What an operation that may go ahead does: what routes resolve to, and
 *	  what that is called.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_APPLY_H
#define MRB_APPLY_H

#include "operation/deployment.h"
#include "operation/operation.h"

/*
 * Fill in what follows from the deployment and its target.  immediate: routes
 * do not wait for instances.
 */
extern void mrb_apply(const MrbDeployment *now, bool immediate,
					  MrbOperation *operation);

/* Nothing shall serve any more. */
extern void mrb_apply_unpublish(const MrbDeployment *now,
								MrbOperation *operation);

#endif							/* MRB_APPLY_H */
