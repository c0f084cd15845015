/*-------------------------------------------------------------------------
 *
 * candidates.h
 *	  Versions that a rollback without a version could return to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CANDIDATES_H
#define MRB_CANDIDATES_H

#include "operation/deployment.h"

typedef struct MrbCandidate
{
	MrbVersion	version;		/* with its release */
	const char *rule;			/* promoted_over, promoted_at, version_number */
	const char *why_not;		/* NULL: it qualifies by the recorded state */
	const char *code;			/* else: a condition, or MRB_CANDIDATE_BRIEF */
} MrbCandidate;

/* The code of a version that did not serve for min_served, by what is known. */
#define MRB_CANDIDATE_BRIEF "MIN_SERVED"

/* What was found so far. */
typedef struct MrbCandidates MrbCandidates;

/* There are no more after so many that qualify: storage is asked for no more. */
#define MRB_CANDIDATE_ENOUGH 3

/*
 * Begin to look for the versions that a rollback from the active version tries,
 * in this order.  The deployment and the memory context have to last as long.
 */
extern MrbCandidates *mrb_candidates_begin(const MrbDeployment *deployment);

/* The next one, in the snapshot that was taken; NULL: there is none. */
extern MrbCandidate *mrb_candidates_next(MrbCandidates *search);

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
