/*-------------------------------------------------------------------------
 *
 * refusals.h
 *	  Writes refused calls into miosa.refusals.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REFUSALS_H
#define MRB_REFUSALS_H

#include "common/timer.h"

typedef struct MrbRefusals
{
	bool		waits;			/* for its timer */
	MrbTimer	timer;
	MemoryContext context;		/* of one step */
} MrbRefusals;

extern void mrb_refusals_init(MrbRefusals *refusals);

/* Write what is there, at most every second. */
extern void mrb_refusals_step(MrbRefusals *refusals);

#endif							/* MRB_REFUSALS_H */
