/*-------------------------------------------------------------------------
 *
 * artifact_http.h
 *	  Check artifacts over HTTP.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ARTIFACT_HTTP_H
#define MRB_ARTIFACT_HTTP_H

#include "artifact/artifact_check.h"
#include "artifact/storage.h"
#include "http/http.h"

typedef struct MrbArtifactHttp
{
	MrbArtifact artifact;
	MrbHttpRequest request;
	bool		get_too;		/* fall back to GET */
} MrbArtifactHttp;

/*
 * Make the request, palloc'd.  NULL when none is possible: then the result is
 * unknown, with the reason.
 */
extern MrbArtifactHttp *mrb_artifact_http_url(const MrbArtifact *artifact,
											  MrbArtifactCheck *check);
extern MrbArtifactHttp *mrb_artifact_http_s3(const MrbArtifact *artifact,
											 const MrbStorage *storage,
											 MrbArtifactCheck *check);

/* Make the request and wait, at most about miosa_rollback.artifact_timeout. */
extern void mrb_artifact_http_run(MrbArtifactHttp *probe, MrbArtifactCheck *check);

/*
 * For a caller with an engine of its own: whether, after this answer, the request
 * that is now in the probe must be made; if not, judge the answer.
 */
extern bool mrb_artifact_http_again(MrbArtifactHttp *probe, const MrbHttpAnswer *answer);
extern void mrb_artifact_http_judge(const MrbArtifactHttp *probe,
									const MrbHttpAnswer *answer,
									MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_HTTP_H */
