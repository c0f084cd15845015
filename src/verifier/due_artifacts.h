/*-------------------------------------------------------------------------
 *
 * due_artifacts.h
 *	  Artifacts whose verification is due.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DUE_ARTIFACTS_H
#define MRB_DUE_ARTIFACTS_H

#include "nodes/pg_list.h"

#include "artifact/artifact.h"

/* An artifact that a rollback of the deployment can need. */
typedef struct MrbDueArtifact
{
	char	   *deployment_id;
	char	   *version_id;
	char	   *release_id;
	MrbArtifact artifact;
} MrbDueArtifact;

/*
 * Scan up to limit deployments that follow in the order of their ids, for a
 * few milliseconds at most, and return what is due.  *last is the last one
 * scanned, NULL when there are no more; *scanned is their number.
 */
extern List *mrb_due_artifacts_list(const char *after, int limit, char **last,
									int *scanned);

/* Estimated number of deployments, from the planner's statistics. */
extern int64 mrb_due_artifacts_estimate(void);

#endif							/* MRB_DUE_ARTIFACTS_H */
