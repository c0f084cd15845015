/*-------------------------------------------------------------------------
 *
 * freeze.h
 *	  Freezes: times in which deployments are not promoted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FREEZE_H
#define MRB_FREEZE_H

#include "operation/deployment.h"

/* Guard: a deployment is not promoted in a freeze, unless the glass is broken. */
extern MrbFinding mrb_freeze_judge(const MrbDeployment *deployment, bool promotion);

/* What a plan of a rollback says of it. */
extern MrbFinding mrb_freeze_describe(const MrbDeployment *deployment);

#endif							/* MRB_FREEZE_H */
