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
 * Fill in deployment->marked: the marked versions that a move to the target
 * crosses, newest first.
 */
extern void mrb_schema_marks_read(MrbDeployment *deployment);

#endif							/* MRB_SCHEMA_MARKS_H */
