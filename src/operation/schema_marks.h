/*-------------------------------------------------------------------------
 *
 * schema_marks.h
 *	  Schema changes that are marked as incompatible.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCHEMA_MARKS_H
#define MRB_SCHEMA_MARKS_H

#include "operation/deployment.h"

/*
 * Note in the deployment which marked versions its move to its target
 * crosses, newest first.
 */
extern void mrb_schema_marks_read(MrbDeployment *deployment);

#endif							/* MRB_SCHEMA_MARKS_H */
