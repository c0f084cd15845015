/*-------------------------------------------------------------------------
 *
 * schema_guard.h
 *	  Whether a version can work with the schema that is applied now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCHEMA_GUARD_H
#define MRB_SCHEMA_GUARD_H

#include "operation/deployment.h"
#include "operation/finding.h"

/* A guard (guards.h). */
extern MrbFinding mrb_schema_guard_judge(const MrbDeployment *deployment,
										 bool promotion);

#endif							/* MRB_SCHEMA_GUARD_H */
