/*-------------------------------------------------------------------------
 *
 * artifact_check.h
 *	  Result of the check of an artifact.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_CHECK_H
#define MRB_ARTIFACT_CHECK_H

#include "datatype/timestamp.h"

typedef enum MrbArtifactState
{
	MRB_ARTIFACT_PRESENT,		/* in storage, or in the record alone */
	MRB_ARTIFACT_GONE,			/* storage reports that it does not exist */
	MRB_ARTIFACT_UNKNOWN,		/* storage gave no certain response */
} MrbArtifactState;

/* The database's record of an artifact. */
typedef struct MrbArtifact
{
	const char *uri;
	int64		size;			/* in bytes, -1: not known */
	TimestampTz verified_at;	/* last seen in storage, 0: never */
	TimestampTz missing_at;		/* found missing, 0: not missing */
} MrbArtifact;

typedef struct MrbArtifactCheck
{
	MrbArtifactState state;
	bool		probed;			/* storage was checked just now */
	bool		grace;			/* unknown, but verified recently */
	char	   *detail;			/* reason, a sentence, palloc'd */
} MrbArtifactCheck;

/* Set the state and the reason: a sentence, palloc'd. */
extern void mrb_artifact_check_set(MrbArtifactCheck *check,
								   MrbArtifactState state, char *detail);

/* Set the state to unknown if storage has another size than the record. */
extern bool mrb_artifact_check_size(const MrbArtifact *artifact, int64 size,
									MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_CHECK_H */
