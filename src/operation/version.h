/*-------------------------------------------------------------------------
 *
 * version.h
 *	  Reading of a version and its release.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_VERSION_H
#define MRB_VERSION_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"

#include "artifact/artifact.h"

/* A version, which may be together with its release. */
typedef struct MrbVersion
{
	char	   *id;				/* NULL: no such version */
	int			number;			/* version_number */
	char	   *kind;			/* static, dynamic, sandbox_backed */
	char	   *state;			/* must be ready to become active */
	char	   *promoted_over;	/* version that it was promoted over */
	bool		loaded;			/* no operation promoted it ... */
	TimestampTz promoted_at;	/* ... and it was promoted then; DT_NOBEGIN:
								 * at no known time */
	TimestampTz bad_since;		/* marked as bad, 0: it is not */
	char	   *bad_reason;		/* then */
	char	   *bad_by;			/* actor */
	bool		bad_artifact;	/* its artifact is marked, not it alone */
	char	   *release_id;		/* NULL: it has no release */
	MrbArtifact artifact;		/* uri is NULL without a release */
	char	   *sha256;			/* of its artifact */
	TimestampTz collected_at;	/* artifact given up, 0: kept */
	char	   *collected_by;	/* role that collected it */
	int			healthy;		/* healthy instances, 0 when static; set by
								 * deployment.c */
	ItemPointerData place;		/* of its row, when it was read */
	ItemPointerData release_place;	/* of its release's row */
} MrbVersion;

/*
 * Read a version in the snapshot that was taken; false when it does not exist.
 * before is what was read of it earlier in the transaction, or NULL.
 */
extern bool mrb_version_look(MrbVersion *version, const char *deployment_id,
							 const char *id, const MrbVersion *before);

/* Read its release. */
extern void mrb_version_look_release(MrbVersion *version,
									 const char *deployment_id,
									 const MrbVersion *before);

#endif							/* MRB_VERSION_H */
