/*-------------------------------------------------------------------------
 *
 * artifact.h
 *	  Check whether the artifact of a version is still in storage.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_H
#define MRB_ARTIFACT_H

#include "artifact/artifact_check.h"

struct MrbArtifactHttp;

/*
 * Check an artifact in at most about miosa_rollback.artifact_timeout, holding no
 * lock.  ask: also when it was verified recently; the verification then counts
 * only if the result is unknown.  Raises only interrupts and lack of resources.
 */
extern void mrb_artifact_verify(const MrbArtifact *artifact, bool ask,
								MrbArtifactCheck *check);

/*
 * The same without waiting for the network, and however recent the verification
 * is.  Returns the request to make, palloc'd; NULL: the check is complete.  Reads
 * in the caller's transaction.
 */
extern struct MrbArtifactHttp *mrb_artifact_begin(const MrbArtifact *artifact,
												  MrbArtifactCheck *check);

/* The first step of a check without ask: whether the last verification decides. */
extern bool mrb_artifact_read_recent(const MrbArtifact *artifact,
									 MrbArtifactCheck *check);

/* The last step: whether the last verification excuses an unknown result. */
extern void mrb_artifact_grant_grace(const MrbArtifact *artifact,
									 MrbArtifactCheck *check);

/* Check an artifact by the database's record alone, without a request. */
extern void mrb_artifact_read_record(const MrbArtifact *artifact,
									 MrbArtifactCheck *check);

/* Whether it is a file, which cannot be checked without waiting. */
extern bool mrb_artifact_is_file(const char *uri);

/* Whether a verification is no older than so many seconds. */
extern bool mrb_artifact_is_younger(TimestampTz verified_at, int seconds);

/* Record that storage has it, unless the row is locked; or has n of them. */
extern void mrb_artifact_record_present(const char *deployment_id,
										const char *release_id);
extern void mrb_artifact_record_all_present(Datum *deployment_ids,
											Datum *release_ids, int n);

/*
 * Record that storage did not have it at asked_at, unless the row is locked.
 * Whether it was not recorded before.
 */
extern bool mrb_artifact_record_missing(const char *deployment_id,
										const char *release_id, TimestampTz asked_at);

/* Log that an artifact is missing. */
extern void mrb_artifact_log_missing(const char *deployment_id,
									 const char *version_id,
									 const MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_H */
