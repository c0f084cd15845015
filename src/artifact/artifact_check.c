/*-------------------------------------------------------------------------
 *
 * artifact_check.c
 *	  Result of the check of an artifact.
 *
 * artifact_file.c and artifact_http.c fill it in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "artifact/artifact_check.h"

/*
 * Set the result of a check.
 */
void
mrb_artifact_check_set(MrbArtifactCheck *check, MrbArtifactState state,
					   char *detail)
{
	check->state = state;
	check->detail = detail;
}

/*
 * Compare the sizes.  Another size makes the result unknown: it may be another
 * file, or an upload that was cut off.
 */
bool
mrb_artifact_check_size(const MrbArtifact *artifact, int64 size,
						MrbArtifactCheck *check)
{
	if (size < 0 || artifact->size < 0 || size == artifact->size)
		return false;
	mrb_artifact_check_set(check, MRB_ARTIFACT_UNKNOWN,
						   psprintf("Storage has " INT64_FORMAT " bytes there, but the artifact has " INT64_FORMAT ".",
									size, artifact->size));
	return true;
}
