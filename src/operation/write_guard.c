/*-------------------------------------------------------------------------
 *
 * write_guard.c
 *	  Which statements may write what is derived in miosa.deployments.
 *
 * The trigger on miosa.deployments derives or refuses what a plain UPDATE says
 * of the pointer and of what follows from it.  The extension's own statements
 * run through here, and the trigger knows them by a variable of this process:
 * nothing that a statement can write, set or call changes it.  It holds for
 * one update of the row that the statement is about, so that a trigger of
 * somebody else, fired by the same statement, has no use of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "operation/write_guard.h"

/*
 * The deployment whose row a statement of ours is about to update; NULL when
 * none runs, or it has updated the row.
 */
static const char *passes = NULL;

/*
 * Run a statement of our own, whose first argument is the deployment.  An
 * error leaves nothing behind.
 */
uint64
mrb_write_guard_run(MrbQuery *query, const Datum *values, const bool *nulls)
{
	const char *before = passes;
	uint64		rows;

	passes = TextDatumGetCString(values[0]);
	PG_TRY();
	{
		rows = mrb_query_run(query, values, nulls);
	}
	PG_FINALLY();
	{
		passes = before;
	}
	PG_END_TRY();
	return rows;
}

/*
 * Whether the present update, of this deployment's row, is ours.
 */
bool
mrb_write_guard_passes(const char *deployment_id)
{
	if (passes == NULL || strcmp(passes, deployment_id) != 0)
		return false;
	passes = NULL;
	return true;
}
