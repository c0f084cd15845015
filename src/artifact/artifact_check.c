/*-------------------------------------------------------------------------
 *
 * artifact_check.c
 *	  The answer to whether an artifact is in storage.
 *
 * Files and HTTP both fill it in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "artifact/artifact_check.h"

/*
 * Conclude the check.
 */
void
mrb_artifact_check_set(MrbArtifactCheck *check, MrbArtifactState state,
					   char *detail)
{
	check->state = state;
	check->detail = detail;
}

/*
 * Another size leaves the question open: it could be anything, also what is
 * left of an upload that was cut off.
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
