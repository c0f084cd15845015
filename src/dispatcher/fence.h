/*-------------------------------------------------------------------------
 *
 * fence.h
 *	  Whether this may be a primary no more, because it did not run for a while.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FENCE_H
#define MRB_FENCE_H

#include "common/timer.h"

typedef struct MrbFence
{
	MrbTick		seen;			/* when the process was last known to run */
	bool		raised;			/* nothing may be sent */
} MrbFence;

/*
 * Call it often.  True once the process did not run for a while, until
 * mrb_fence_lower().
 */
extern bool mrb_fence_check(MrbFence *fence);

/* Prove that this is the primary; the fence stays if that fails. */
extern void mrb_fence_lower(MrbFence *fence);

#endif							/* MRB_FENCE_H */
