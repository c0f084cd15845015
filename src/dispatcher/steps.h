/*-------------------------------------------------------------------------
 *
 * steps.h
 *	  The steps of one turn of the dispatcher's loop.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_STEPS_H
#define MRB_STEPS_H

#include "dispatcher/dispatcher.h"

/* Do all that is due, without waiting. */
extern void mrb_steps_run(MrbDispatcher *dispatcher);

/* Milliseconds until something is due; at most most. */
extern long mrb_steps_wait(MrbDispatcher *dispatcher, long most);

#endif							/* MRB_STEPS_H */
