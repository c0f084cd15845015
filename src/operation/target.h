/*-------------------------------------------------------------------------
 *
 * target.h
 *	  Choice of the version to make active, before any lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TARGET_H
#define MRB_TARGET_H

#include "lib/stringinfo.h"
#include "operation/checks.h"
#include "operation/deployment.h"

struct MrbArtifactBatch;

typedef struct MrbTarget
{
	const char *id;				/* NULL: no version qualifies */
	const char *rule;			/* how it was found */
	const char *skipped;		/* JSON array of skipped versions, or NULL */
	const char *skipped_text;	/* the same as text */
	const char *brief;			/* the first one that was skipped because it
								 * served too briefly, or NULL */
	MrbFinding	artifact;		/* finding about its artifact */
	bool		verified;		/* storage confirmed the artifact just now */
	bool		pending;		/* not chosen: the batch has to run first */
} MrbTarget;

/*
 * The version that the caller named, which is deployment->target.  A batch is
 * NULL, or where requests to storage are put instead of waiting for them.
 */
extern void mrb_target_named(const MrbDeployment *deployment, bool promotion,
							 bool accept_unverified,
							 struct MrbArtifactBatch *batch, MrbTarget *target);

/* The same without asking storage: the recorded state decides. */
extern void mrb_target_recorded(const MrbDeployment *deployment,
								MrbTarget *target);

/*
 * The version to return to if the caller named none; it becomes
 * deployment->target.  With a batch the rows are read in the snapshot that was
 * taken, without one in new snapshots.
 */
extern void mrb_target_default(MrbDeployment *deployment,
							   bool accept_unverified,
							   struct MrbArtifactBatch *batch, MrbTarget *target);

/* The same without asking storage, for a deployment that is locked. */
extern void mrb_target_default_recorded(MrbDeployment *deployment,
										bool accept_unverified,
										MrbTarget *target);

/* The finding whether a version was chosen. */
extern MrbFinding mrb_target_check_previous_version(const MrbDeployment *deployment,
													const MrbTarget *target);

#endif							/* MRB_TARGET_H */
