/*-------------------------------------------------------------------------
 *
 * checks.h
 *	  What must hold before a deployment may move: one finding a rule.
 *
 * A rollback enforces the findings one after another; a plan lists them all.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CHECKS_H
#define MRB_CHECKS_H

#include "artifact/artifact.h"
#include "base/errors.h"
#include "operation/deployment.h"

typedef enum MrbSeverity
{
	MRB_HOLDS,
	MRB_WARNS,					/* may go on, but somebody should know */
	MRB_FAILS,					/* condition says as what */
} MrbSeverity;

typedef struct MrbFinding
{
	const char *rule;			/* name in miosa_plan */
	MrbSeverity verdict;
	MrbCondition condition;		/* when it fails */
	const char *warning;		/* its code when it warns */
	const char *message;		/* the texts: when it does not hold */
	const char *detail;
	const char *hint;
} MrbFinding;

extern MrbFinding mrb_checks_version_exists(const MrbDeployment *deployment,
											const char *asked);
extern MrbFinding mrb_checks_version_ready(const MrbDeployment *deployment);
extern MrbFinding mrb_checks_artifact_kept(const MrbDeployment *deployment);
extern MrbFinding mrb_checks_artifact_present(const MrbDeployment *deployment,
											  const char *version_id,
											  const MrbArtifactCheck *check,
											  bool promotion,
											  bool accept_unverified);
extern MrbFinding mrb_checks_active_expected(const MrbDeployment *deployment,
											 const char *expected);
extern MrbFinding mrb_checks_not_repeated(const MrbDeployment *deployment,
										  const char *default_target);
extern MrbFinding mrb_checks_compatible(const MrbDeployment *deployment);

/* untold: there are endpoints that nobody will tell. */
extern MrbFinding mrb_checks_told(bool untold);

/* Whether the actor is whom the application has named. */
extern MrbFinding mrb_checks_actor_counts(bool ignored);

/* What was accepted knowingly, a JSON object for the audit event. */
extern char *mrb_checks_marks(const MrbFinding *artifact,
							  const MrbFinding *compatible);

/* Raise what fails, warn of what warns. */
extern void mrb_checks_enforce(const MrbFinding *finding);

#endif							/* MRB_CHECKS_H */
