/*-------------------------------------------------------------------------
 *
 * write_guard.h
 *	  Which statements may write what is derived in miosa.deployments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WRITE_GUARD_H
#define MRB_WRITE_GUARD_H

#include "common/query.h"

/*
 * Run a statement that updates one deployment, its first argument, as
 * mrb_query_run().
 */
extern uint64 mrb_write_guard_run(MrbQuery *query, const Datum *values,
								  const bool *nulls);

/*
 * For the trigger: whether the update that it is called for is that of
 * mrb_write_guard_run().  True once a statement.
 */
extern bool mrb_write_guard_passes(const char *deployment_id);

#endif							/* MRB_WRITE_GUARD_H */
