/*-------------------------------------------------------------------------
 *
 * cutover.c
 *	  When routes cut over to a version that runs in instances.
 *
 * A cutover must not reduce availability: routes switch at once if
 * healthy(target) >= min(desired replicas, healthy(serving)).  With no healthy
 * instance of the serving version there is nothing to lose.  A static version
 * needs no instances; when one serves, the target needs all desired replicas.
 * After cutover_deadline one healthy instance of the target is enough; if that
 * is 0, at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "operation/cutover.h"

PG_FUNCTION_INFO_V1(mrb_cutover_due);

/*
 * Decide whether routes may switch to a target.
 */
MrbCutover
mrb_cutover_judge(const char *kind, int healthy, int desired,
				  const char *serving_kind, int serving_healthy)
{
	MrbCutover	it = {
		.enough = true,
		.reached = true,
	};

	if (!mrb_cutover_runs(kind))
		return it;

	it.needed = true;
	if (serving_kind == NULL)
		it.required = 0;
	else if (!mrb_cutover_runs(serving_kind))
		it.required = desired;
	else
		it.required = Min(desired, serving_healthy);
	it.wanting = healthy < desired;
	it.enough = healthy >= it.required ||
		(mrb_cutover_deadline == 0 && healthy > 0);
	it.reached = healthy >= Max(it.required, Min(desired, 1));
	return it;
}

/*
 * Whether versions of a kind run in instances.
 */
bool
mrb_cutover_runs(const char *kind)
{
	return strcmp(kind, "static") != 0;
}

/*
 * miosa.cutover_due(since)
 */
Datum
mrb_cutover_due(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(mrb_cutover_due_at(PG_GETARG_TIMESTAMPTZ(0)));
}

/*
 * The end of cutover_deadline.
 */
TimestampTz
mrb_cutover_due_at(TimestampTz since)
{
	if (TIMESTAMP_NOT_FINITE(since))
		return since;
	return TimestampTzPlusMilliseconds(since, mrb_cutover_deadline);
}
