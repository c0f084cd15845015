/*-------------------------------------------------------------------------
 *
 * artifact_check.h
 *	  The answer to whether an artifact is in storage.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_CHECK_H
#define MRB_ARTIFACT_CHECK_H

#include "datatype/timestamp.h"

typedef enum MrbArtifactState
{
	MRB_ARTIFACT_PRESENT,		/* also when only our own record says so */
	MRB_ARTIFACT_GONE,			/* storage says that there is none */
	MRB_ARTIFACT_UNKNOWN,		/* storage cannot or will not tell */
} MrbArtifactState;

/* What our own record says of it. */
typedef struct MrbArtifact
{
	const char *uri;
	int64		size;			/* in bytes, -1: not known */
	TimestampTz verified_at;	/* last seen, 0: never */
	TimestampTz missing_at;		/* storage did not have it, 0: it had */
} MrbArtifact;

typedef struct MrbArtifactCheck
{
	MrbArtifactState state;
	bool		probed;			/* storage was asked just now */
	bool		grace;			/* unknown, but verified not long ago */
	char	   *detail;			/* what was seen, a sentence, palloc'd */
} MrbArtifactCheck;

/* Set the state, and what was seen: a sentence, palloc'd. */
extern void mrb_artifact_check_set(MrbArtifactCheck *check,
								   MrbArtifactState state, char *detail);

/* Storage has another size than our record: unknown, and said so. */
extern bool mrb_artifact_check_size(const MrbArtifact *artifact, int64 size,
									MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_CHECK_H */
