/*-------------------------------------------------------------------------
 *
 * pump.h
 *	  Starts requests: endpoints take turns, edges and schedulers alike.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PUMP_H
#define MRB_PUMP_H

/* Start requests; true when there may be more to start at once. */
extern bool mrb_pump_run(void);

#endif							/* MRB_PUMP_H */
