/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Which statements may write what is derived in miosa.deployments.
 *
 * The trigger on miosa.deployments derives or refuses what a plain UPDATE says
 * of the pointer and of what follows from it.  The extension's own statements
 * run through here, and the trigger knows them by a variable of this process:
 * nothing that a statement can write, set or call changes it.  It holds for
 * one row, so that a trigger of somebody else, fired by the same statement,
 * has no use of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "guard.h"

/* A statement of ours runs, and its row was not updated yet. */
static bool passes = false;

/*
 * Run a statement of our own.  An error leaves nothing behind.
 */
uint64
mrb_guard_run(MrbQuery *query, const Datum *values, const bool *nulls)
{
	bool		before = passes;
	uint64		rows;

	passes = true;
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
 * Whether the present update is ours.
 */
bool
mrb_guard_passes(void)
{
	bool		it = passes;

	passes = false;
	return it;
}
