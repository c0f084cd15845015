/*-------------------------------------------------------------------------
 *
 * cutover.c
 *	  When routes cut over to a version that runs in instances.
 *
 * A cutover must not reduce availability: routes switch at once if
 * healthy(target) >= min(desired replicas, healthy(serving)).  With no healthy
 * instance of the serving version there is nothing to lose.  A static version
 * needs no instances; when one serves, the target needs all desired replicas.
 * With a cutover_deadline of 0 one healthy instance of the target is enough.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "operation/cutover.h"

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
