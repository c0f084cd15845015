/*-------------------------------------------------------------------------
 *
 * write_guard.c
 *	  Permission of the extension's statements to write derived columns.
 *
 * The trigger on miosa.deployments derives or refuses the values of a plain
 * UPDATE.  Operations write without firing it (row_write.c).  The extension's
 * few statements that update a row run through mrb_write_guard_run(), and the
 * trigger recognizes them by a variable of the process, which no statement can
 * write, set or call.  The permission is for one update of one row, so that a
 * user's trigger that the same statement fires cannot use it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "operation/write_guard.h"

/*
 * The deployment whose row a statement of the extension is about to update;
 * NULL if none runs, or it has updated the row.
 */
static const char *permitted = NULL;

/*
 * Run a statement of the extension, whose first argument is the deployment.
 * An error restores the permission that was there before.
 */
uint64
mrb_write_guard_run(MrbQuery *query, const Datum *values, const bool *nulls)
{
	const char *before = permitted;
	uint64		rows;

	permitted = TextDatumGetCString(values[0]);
	PG_TRY();
	{
		rows = mrb_query_run(query, values, nulls);
	}
	PG_FINALLY();
	{
		permitted = before;
	}
	PG_END_TRY();
	return rows;
}

/*
 * Whether the current update, of this deployment's row, is permitted.
 */
bool
mrb_write_guard_passes(const char *deployment_id)
{
	if (permitted == NULL || strcmp(permitted, deployment_id) != 0)
		return false;
	permitted = NULL;
	return true;
}
