/*-------------------------------------------------------------------------
 *
 * scale_result.h
 *	  Answers of schedulers, until they are written into tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_RESULT_H
#define MRB_SCALE_RESULT_H

#include "scheduler/scale_queue.h"

extern void mrb_scale_result_init(MrbScaling *scaling);

/*
 * healthy: the count that a poll returned, else -1; error: why the request or
 * the poll failed, or NULL.
 */
extern void mrb_scale_result_add(const MrbScaleEntry *entry,
								 const MrbScaleTask *task,
								 int healthy, const char *error);

/* Write a batch of answers in a short transaction. */
extern void mrb_scale_result_step(MrbScaling *scaling);

/* Milliseconds until there is something to write; at most most. */
extern long mrb_scale_result_wait(MrbScaling *scaling, long most);

#endif							/* MRB_SCALE_RESULT_H */
