/*-------------------------------------------------------------------------
 *
 * rollback.h
 *	  Rollback and promotion, and plans of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROLLBACK_H
#define MRB_ROLLBACK_H

#include "operation/caller_request.h"

/* Returns the response, new or stored, allocated in the current context. */
extern Jsonb *mrb_rollback_run(const MrbCallerRequest *request);

/*
 * What mrb_rollback_run() would do, with the finding of every check.  Takes no
 * lock and writes nothing.
 */
extern Jsonb *mrb_rollback_plan(const MrbCallerRequest *request);

#endif							/* MRB_ROLLBACK_H */
