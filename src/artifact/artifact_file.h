/*-------------------------------------------------------------------------
 *
 * artifact_file.h
 *	  Check artifacts in files of this server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_FILE_H
#define MRB_ARTIFACT_FILE_H

#include "artifact/artifact_check.h"

/* Check the file of a file:// URI. */
extern void mrb_artifact_file_check(const MrbArtifact *artifact,
									MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_FILE_H */
