/*-------------------------------------------------------------------------
 *
 * candidates.h
 *	  Versions that a rollback could return to when none is named.
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
	char	   *why_not;		/* NULL: it qualifies, as far as our rows tell */
	char	   *release_id;		/* NULL: it has none */
	MrbArtifact artifact;		/* uri is NULL without a release */
} MrbCandidate;

/* Storage is asked for no more of them, so no more that qualify are listed. */
#define MRB_CANDIDATE_ENOUGH 3

/* What a rollback from the active version would try, in that order. */
extern List *mrb_candidates_list(const char *deployment_id);

/*
 * The version nearest to the given one that is ready and still has its
 * artifact by our own record; NULL when there is none.
 */
extern char *mrb_candidates_nearest(const char *deployment_id,
									const char *version_id);

/*
 * The version that was active before a deployment without an active version
 * was unpublished, and the operation that did it; NULL when none is known.
 */
extern char *mrb_candidates_unpublished(const char *deployment_id, int64 *seq);

#endif							/* MRB_CANDIDATES_H */
