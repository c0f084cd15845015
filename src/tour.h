/*-------------------------------------------------------------------------
 *
 * tour.h
 *	  Looking after the capacity of all deployments, again and again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TOUR_H
#define MRB_TOUR_H

/* Look after the next page of deployments, if it is time to. */
extern void mrb_tour_step(void);

/* Milliseconds until it is, at most most. */
extern long mrb_tour_wait(long most);

#endif							/* MRB_TOUR_H */
