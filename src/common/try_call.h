/*-------------------------------------------------------------------------
 *
 * try_call.h
 *	  Calls whose conditions are returned instead of raised.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TRY_CALL_H
#define MRB_TRY_CALL_H

#include "base/errors.h"
#include "fmgr.h"

/*
 * Call a function as mrb_lock_wait_call() does, in a subtransaction.  Returns
 * true with its result; false with the condition that it raised, after all that
 * it did was rolled back and its locks were released.  Every other error is
 * raised.
 */
extern bool mrb_try_call(PGFunction function, FunctionCallInfo fcinfo,
						 Datum *result, MrbRefused *refused);

#endif							/* MRB_TRY_CALL_H */
