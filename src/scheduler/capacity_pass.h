/*-------------------------------------------------------------------------
 *
 * capacity_pass.h
 *	  Checks the capacity of all deployments, again and again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CAPACITY_PASS_H
#define MRB_CAPACITY_PASS_H

#include "common/timer.h"

/* Check the next page of deployments, if it is due. */
extern void mrb_capacity_pass_step(void);

/* Begin a pass at this time at the latest. */
extern void mrb_capacity_pass_expect(MrbTick at);

/* Milliseconds until the next page is due; at most most. */
extern long mrb_capacity_pass_wait(long most);

#endif							/* MRB_CAPACITY_PASS_H */
