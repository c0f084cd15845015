/*-------------------------------------------------------------------------
 *
 * artifact_batch.h
 *	  Check the artifacts of many versions, asking storage for many at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_BATCH_H
#define MRB_ARTIFACT_BATCH_H

#include "artifact/artifact_check.h"

typedef struct MrbArtifactBatch MrbArtifactBatch;

/* Create a batch in the current memory context. */
extern MrbArtifactBatch *mrb_artifact_batch_create(void);

/*
 * Check an artifact as mrb_artifact_verify() does.  If that needs a request to
 * storage, put it into the batch and return false.  After
 * mrb_artifact_batch_run() the same call returns true with the result, whose
 * reason lives as long as the batch.
 */
extern bool mrb_artifact_batch_verify(MrbArtifactBatch *batch,
									  const MrbArtifact *artifact, bool ask,
									  MrbArtifactCheck *check);

/* Make the requests of the batch, and wait; raises what a single check does. */
extern void mrb_artifact_batch_run(MrbArtifactBatch *batch);

#endif							/* MRB_ARTIFACT_BATCH_H */
