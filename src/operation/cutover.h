/*-------------------------------------------------------------------------
 *
 * cutover.h
 *	  When routes cut over to a version that runs in instances.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CUTOVER_H
#define MRB_CUTOVER_H

#include "datatype/timestamp.h"

typedef struct MrbCutover
{
	bool		needed;			/* the target runs in instances */
	bool		wanting;		/* fewer are healthy than desired */
	bool		enough;			/* routes may switch to the target now */
	bool		reached;		/* the deployment's state may be running */
	int			required;		/* healthy instances before routes switch */
} MrbCutover;

/*
 * Decide about a target of the given kind with healthy instances, for a
 * deployment with desired replicas that a version of serving_kind (NULL: none)
 * with serving_healthy instances serves.
 */
extern MrbCutover mrb_cutover_judge(const char *kind, int healthy,
									int desired, const char *serving_kind,
									int serving_healthy);

/* Whether versions of a kind run in instances. */
extern bool mrb_cutover_runs(const char *kind);

/* When one healthy instance is enough for a target that waits since then. */
extern TimestampTz mrb_cutover_due_at(TimestampTz since);

#endif							/* MRB_CUTOVER_H */
