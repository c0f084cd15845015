/*-------------------------------------------------------------------------
 *
 * cutover.c
 *	  How many healthy instances are enough to switch to a version.
 *
 * A switch must never make availability worse: as many instances of the
 * target as still serve, at most as many as are wanted.  When none serves any
 * more there is nothing to lose, and routes switch at once.  A static version
 * needs no instances, so one that serves now is as good as all of them.  Who
 * does not wait at all is content with one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "operation/cutover.h"

/*
 * Judge a target.
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
