/*-------------------------------------------------------------------------
 *
 * sweep.h
 *	  Deleting what has expired, when nobody else does.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SWEEP_H
#define MRB_SWEEP_H

/* Sweep, if it is time to. */
extern void mrb_sweep_step(void);

#endif							/* MRB_SWEEP_H */
