/*-------------------------------------------------------------------------
 *
 * guards.h
 *	  What may keep a deployment from moving to a version that could serve.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_GUARDS_H
#define MRB_GUARDS_H

#include "operation/deployment.h"
#include "operation/finding.h"

/* Number of guards, at most. */
#define MRB_GUARDS_MAX 8

/* The findings of the guards, in their order. */
typedef struct MrbGuards
{
	int			n;
	MrbFinding	findings[MRB_GUARDS_MAX];
} MrbGuards;

/*
 * Let the guards judge a move to deployment->target.  Returns the first finding
 * that refuses it; else one that holds.
 */
extern MrbFinding mrb_guards_judge(MrbDeployment *deployment, bool promotion,
								   MrbGuards *guards);

/* Warn of what the guards let pass. */
extern void mrb_guards_warn(const MrbGuards *guards);

#endif							/* MRB_GUARDS_H */
