/*-------------------------------------------------------------------------
 *
 * due_artifacts.h
 *	  Artifacts that storage should be asked for again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DUE_ARTIFACTS_H
#define MRB_DUE_ARTIFACTS_H

#include "nodes/pg_list.h"

#include "artifact/artifact.h"

/* What a rollback may want, and who would want it. */
typedef struct MrbDueArtifact
{
	char	   *deployment_id;
	char	   *version_id;
	char	   *release_id;
	MrbArtifact artifact;
} MrbDueArtifact;

/*
 * Of the deployments that follow in the order of ids, at most so many and for
 * no longer than a few milliseconds.  *last is the last one that was looked
 * at, NULL when there are no more; *looked counts them.
 */
extern List *mrb_due_artifacts_list(const char *after, int most, char **last,
									int *looked);

/* How many deployments there may be, by the planner's statistics. */
extern int64 mrb_due_artifacts_estimate(void);

#endif							/* MRB_DUE_ARTIFACTS_H */
