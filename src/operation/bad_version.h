/*-------------------------------------------------------------------------
 *
 * bad_version.h
 *	  Versions that are marked as bad.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_BAD_VERSION_H
#define MRB_BAD_VERSION_H

#include "utils/jsonb.h"

#include "operation/deployment.h"
#include "operation/finding.h"
#include "operation/version.h"

/*
 * Look for a mark of the artifact of a version that was read together with its
 * release, unless the version is marked itself; in the snapshot that was taken.
 */
extern void mrb_bad_version_look(MrbVersion *version, const char *deployment_id);

/* Why a version that is marked is no default target, palloc'd. */
extern char *mrb_bad_version_describe(const MrbVersion *version);

/* The guard: a promotion to a version that is marked is refused. */
extern MrbFinding mrb_bad_version_check(const MrbDeployment *deployment,
										bool promotion);

/*
 * For undo, by the marks of the operation that is undone and its time: whether it
 * has marked deployment->target, which counts as good from here on; and why the
 * active version is to be marked again, since the operation had lifted its mark, or
 * NULL.
 */
extern bool mrb_bad_version_lift(MrbDeployment *deployment, Jsonb *marks,
								 TimestampTz at);
extern char *mrb_bad_version_lifted(const MrbDeployment *deployment, Jsonb *marks);

/* Mark a version whose deployment is locked, by an actor; or clear it. */
extern void mrb_bad_version_clear(const char *deployment_id, const char *version_id);
extern void mrb_bad_version_mark(const char *deployment_id,
								 const char *version_id, TimestampTz since,
								 const char *reason, const char *actor_id);

#endif							/* MRB_BAD_VERSION_H */
