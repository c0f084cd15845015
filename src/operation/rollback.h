/*-------------------------------------------------------------------------
 *
 * rollback.h
 *	  Rollback and promotion, and plans of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROLLBACK_H
#define MRB_ROLLBACK_H

#include "operation/attempt.h"

/* Returns the response, new or stored, allocated in the current context. */
extern Jsonb *mrb_rollback_run(const MrbCallerRequest *request);

/*
 * Its two halves, for a caller that locks the deployment between them and goes on
 * after a refusal: the finding says whether there is one.  Both return the stored
 * response of the key; the second one the new response, too.
 */
extern Jsonb *mrb_rollback_prepare(MrbAttempt *attempt, MrbFinding *finding);
extern Jsonb *mrb_rollback_finish(MrbAttempt *attempt, MrbFinding *finding,
								  bool *replayed);

/*
 * What mrb_rollback_run() would do, with the finding of every check.  Takes no
 * lock and writes nothing.
 */
extern Jsonb *mrb_rollback_plan(const MrbCallerRequest *request);

#endif							/* MRB_ROLLBACK_H */
