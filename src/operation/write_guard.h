/*-------------------------------------------------------------------------
 *
 * write_guard.h
 *	  Permission of the extension's statements to write derived columns.
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
 * For the trigger: whether the update that fires it is that of
 * mrb_write_guard_run().  True once per statement.
 */
extern bool mrb_write_guard_passes(const char *deployment_id);

#endif							/* MRB_WRITE_GUARD_H */
