/*-------------------------------------------------------------------------
 *
 * scale_result.h
 *	  What schedulers have answered, until it is written down.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_RESULT_H
#define MRB_SCALE_RESULT_H

#include "scheduler/scale_queue.h"

/*
 * healthy: what a poll has found, else -1; error: why the scheduler did not
 * take the request or answer the poll, or NULL.
 */
extern void mrb_scale_result_add(const MrbScaleEntry *want, const MrbScaleTask *task,
								 int healthy, const char *error);

/* Write down what there is, in a short transaction. */
extern void mrb_scale_result_step(void);

/* Milliseconds until there is something to write, at most most. */
extern long mrb_scale_result_wait(long most);

#endif							/* MRB_SCALE_RESULT_H */
