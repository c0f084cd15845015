/*-------------------------------------------------------------------------
 *
 * artifact.h
 *	  Is the artifact of a version still in storage?
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_H
#define MRB_ARTIFACT_H

#include "datatype/timestamp.h"

typedef enum MrbArtifactState
{
	MRB_ARTIFACT_PRESENT,		/* also when only our own record says so */
	MRB_ARTIFACT_GONE,			/* storage says that there is none */
	MRB_ARTIFACT_UNKNOWN,		/* storage cannot or will not tell */
} MrbArtifactState;

typedef struct MrbArtifactCheck
{
	MrbArtifactState state;
	bool		probed;			/* storage was asked just now */
	bool		grace;			/* unknown, but verified not long ago */
	TimestampTz verified_at;	/* as given, 0: never */
	char	   *detail;			/* what was seen, a sentence, palloc'd */
} MrbArtifactCheck;

/*
 * Find out, without a lock, in about miosa_rollback.artifact_timeout at most.
 * Raises nothing but interrupts and want of resources.
 */
extern void mrb_artifact_check(const char *storage_uri,
							   TimestampTz verified_at,
							   MrbArtifactCheck *check);

/* Record that storage had it a moment ago; skipped when the row is locked. */
extern void mrb_artifact_remember(const char *deployment_id,
								  const char *release_id);

#endif							/* MRB_ARTIFACT_H */
