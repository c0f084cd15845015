/*-------------------------------------------------------------------------
 *
 * size_limit.h
 *	  How long texts and JSON values may be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SIZE_LIMIT_H
#define MRB_SIZE_LIMIT_H

#include "commands/trigger.h"
#include "fmgr.h"

/*
 * Raise INVALID_ARGUMENT for any argument, or for one, of the call that is too
 * long.
 */
extern void mrb_size_limit_check_arguments(FunctionCallInfo fcinfo);
extern void mrb_size_limit_check_argument(FunctionCallInfo fcinfo, int argument);

/* The same for the columns of a row that is written; returns the row. */
extern HeapTuple mrb_size_limit_check_row(const TriggerData *trigger);

#endif							/* MRB_SIZE_LIMIT_H */
