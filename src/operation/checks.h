/*-------------------------------------------------------------------------
 *
 * checks.h
 *	  Checks that a deployment must pass before it moves: one finding each.
 *
 * A rollback enforces one finding after another; a plan lists them all.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CHECKS_H
#define MRB_CHECKS_H

#include "artifact/artifact.h"
#include "operation/deployment.h"
#include "operation/finding.h"

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

/* undelivered: there are endpoints, and no dispatcher runs. */
extern MrbFinding mrb_checks_delivery(bool undelivered);

/* The SQL objects are of the library's version. */
extern MrbFinding mrb_checks_versions(void);

/* Whether miosa_rollback.actor is used. */
extern MrbFinding mrb_checks_actor_counts(bool ignored);

#endif							/* MRB_CHECKS_H */
