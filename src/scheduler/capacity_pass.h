/*-------------------------------------------------------------------------
 *
 * capacity_pass.h
 *	  Looking after the capacity of all deployments, again and again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CAPACITY_PASS_H
#define MRB_CAPACITY_PASS_H

#include "datatype/timestamp.h"

/* Look after the next page of deployments, if it is time to. */
extern void mrb_capacity_pass_step(void);

/* Something is due then that no tour has found yet. */
extern void mrb_capacity_pass_expect(MrbTick at);

/* Milliseconds until it is, at most most. */
extern long mrb_capacity_pass_wait(long most);

#endif							/* MRB_CAPACITY_PASS_H */
