/*-------------------------------------------------------------------------
 *
 * capacity_pass.h
 *	  Checks the capacity of all deployments, again and again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CAPACITY_PASS_H
#define MRB_CAPACITY_PASS_H

#include "scheduler/scaling.h"

extern void mrb_capacity_pass_init(MrbScaling *scaling);

/* Check the next page of deployments, if it is due. */
extern void mrb_capacity_pass_step(MrbScaling *scaling);

/* Begin a pass at this time at the latest. */
extern void mrb_capacity_pass_schedule(MrbScaling *scaling, MrbTick at);

/* Milliseconds until the next page is due; at most most. */
extern long mrb_capacity_pass_wait(MrbScaling *scaling, long most);

#endif							/* MRB_CAPACITY_PASS_H */
