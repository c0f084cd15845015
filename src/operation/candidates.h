/*-------------------------------------------------------------------------
 *
 * candidates.h
 *	  Versions that a rollback without a version could return to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CANDIDATES_H
#define MRB_CANDIDATES_H

#include "nodes/pg_list.h"

#include "artifact/artifact.h"
#include "base/errors.h"

typedef struct MrbCandidate
{
	char	   *id;
	int			number;			/* version_number */
	const char *rule;			/* promoted_over, promoted_at, version_number */
	MrbCondition condition;		/* with why_not */
	char	   *why_not;		/* NULL: it qualifies by the recorded state */
	char	   *release_id;		/* NULL: no release */
	MrbArtifact artifact;		/* uri is NULL without a release */
} MrbCandidate;

/* The list ends with so many qualifying ones, as storage is asked for no more. */
#define MRB_CANDIDATE_ENOUGH 3

/* The versions that a rollback tries, in this order. */
extern List *mrb_candidates_list(const char *deployment_id);

/*
 * The version nearest to the given one that is ready and whose artifact was
 * not collected; NULL if there is none.
 */
extern char *mrb_candidates_nearest(const char *deployment_id,
									const char *version_id);

/*
 * The version that was active before the deployment was unpublished, and the
 * number of the operation that unpublished it; NULL if there is none.
 */
extern char *mrb_candidates_unpublished(const char *deployment_id, int64 *seq);

#endif							/* MRB_CANDIDATES_H */
