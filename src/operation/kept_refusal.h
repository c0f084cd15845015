/*-------------------------------------------------------------------------
 *
 * kept_refusal.h
 *	  Audit events of refused calls.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_KEPT_REFUSAL_H
#define MRB_KEPT_REFUSAL_H

#include "base/errors.h"
#include "operation/caller_request.h"

/*
 * Write the audit event of a refused call, in the caller's transaction; false if
 * the refusal gets none, and has to be recorded elsewhere.
 */
extern bool mrb_kept_refusal_write(const MrbCallerRequest *request,
								   MrbCondition condition);

#endif							/* MRB_KEPT_REFUSAL_H */
