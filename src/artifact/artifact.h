/*-------------------------------------------------------------------------
 *
 * artifact.h
 *	  Is the artifact of a version still in storage?
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_H
#define MRB_ARTIFACT_H

#include "artifact/artifact_check.h"

struct MrbArtifactHttp;

/*
 * Find out, without a lock, in about miosa_rollback.artifact_timeout at most.
 * ask: also when a verification is young, which then counts only if storage
 * cannot tell.  Raises nothing but interrupts and want of resources.
 */
extern void mrb_artifact_check(const MrbArtifact *artifact, bool ask,
							   MrbArtifactCheck *check);

/*
 * The same, however young the verification is, up to where the network would
 * have to be waited for: then the request is returned, palloc'd, and without
 * one the check is complete.  Reads in the caller's transaction.
 */
extern struct MrbArtifactHttp *mrb_artifact_begin(const MrbArtifact *artifact,
												  MrbArtifactCheck *check);

/* Find out by our own record alone, as far as that tells; asks nobody. */
extern void mrb_artifact_recall(const MrbArtifact *artifact,
								MrbArtifactCheck *check);

/* Whether it is a file, which cannot be looked for without waiting. */
extern bool mrb_artifact_is_file(const char *uri);

/* Whether a verification is no older than so many seconds. */
extern bool mrb_artifact_younger(TimestampTz verified_at, int seconds);

/* Record that storage had it a moment ago; skipped when the row is locked. */
extern void mrb_artifact_remember(const char *deployment_id,
								  const char *release_id);

/*
 * Record that storage did not have it when it was asked; likewise.  Whether
 * that is news.
 */
extern bool mrb_artifact_miss(const char *deployment_id,
							  const char *release_id, TimestampTz asked_at);

/* Tell the server's log that an artifact is missing. */
extern void mrb_artifact_report(const char *deployment_id,
								const char *version_id,
								const MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_H */
