/*-------------------------------------------------------------------------
 *
 * refusal.h
 *	  Refused calls leave a trace.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REFUSAL_H
#define MRB_REFUSAL_H

#include "base/errors.h"
#include "operation/caller_request.h"

/* Have refused calls recorded, as far as there is shared memory, and logged. */
extern void mrb_refusal_install(void);

/*
 * Remember the request that is under way, and whether the caller is known to act
 * for the deployment's tenant, until the call ends.
 */
extern void mrb_refusal_note(const MrbCallerRequest *request, bool acts);
extern void mrb_refusal_forget(void);

/*
 * Record a condition that was caught to be returned; one that is an audit event
 * of this transaction only if that is rolled back.
 */
extern void mrb_refusal_caught(Oid function, bool event);

/* Record a target that a group has refused without an error. */
extern void mrb_refusal_record(const MrbCallerRequest *request,
							   MrbCondition condition, Oid function);

#endif							/* MRB_REFUSAL_H */
