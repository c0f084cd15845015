/*-------------------------------------------------------------------------
 *
 * verifier.h
 *	  Verifies artifacts in the background.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_VERIFIER_H
#define MRB_VERIFIER_H

#include "utils/palloc.h"

extern void mrb_verifier_init(MemoryContext context);

/* A descriptor to wait for, and for how long at most, in milliseconds. */
extern int	mrb_verifier_descriptor(void);
extern long mrb_verifier_wait(long max_ms);

/*
 * Do what can be done without waiting.  When disabled, only requests in flight
 * are completed.
 */
extern void mrb_verifier_step(bool enable);

#endif							/* MRB_VERIFIER_H */
