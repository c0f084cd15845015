/*-------------------------------------------------------------------------
 *
 * cutover.h
 *	  How many healthy instances are enough to switch to a version.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CUTOVER_H
#define MRB_CUTOVER_H

typedef struct MrbCutover
{
	bool		needed;			/* the target runs in instances */
	bool		wanting;		/* the scheduler must start some */
	bool		enough;			/* routes may switch to the target now */
	bool		reached;		/* the deployment counts as running */
	int			required;		/* healthy instances before routes switch */
} MrbCutover;

/*
 * Judge a target of the given kind with that many healthy instances, for a
 * deployment that wants desired ones and is served by a version of
 * serving_kind (NULL: by none) with serving_healthy instances.
 */
extern MrbCutover mrb_cutover_judge(const char *kind, int healthy,
									int desired, const char *serving_kind,
									int serving_healthy);

/* Whether versions of a kind run in instances. */
extern bool mrb_cutover_runs(const char *kind);

#endif							/* MRB_CUTOVER_H */
