/*-------------------------------------------------------------------------
 *
 * artifact_file.h
 *	  Artifacts in files of this machine.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_FILE_H
#define MRB_ARTIFACT_FILE_H

#include "artifact/artifact_check.h"

extern void mrb_artifact_file_check(const MrbArtifact *artifact,
									MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_FILE_H */
