/*-------------------------------------------------------------------------
 *
 * artifact_http.h
 *	  Asking storage for an artifact over HTTP.
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
	bool		get_too;		/* a server without HEAD is asked by GET */
} MrbArtifactHttp;

/*
 * Make the request, palloc'd.  NULL when there can be none, and check says
 * why: the question stays open.
 */
extern MrbArtifactHttp *mrb_artifact_http_url(const MrbArtifact *artifact,
											  MrbArtifactCheck *check);
extern MrbArtifactHttp *mrb_artifact_http_s3(const MrbArtifact *artifact,
											 const MrbStorage *storage,
											 MrbArtifactCheck *check);

/* Ask and wait, in about miosa_rollback.artifact_timeout at most. */
extern void mrb_artifact_http_run(MrbArtifactHttp *probe, MrbArtifactCheck *check);

/*
 * For who asks by itself: whether, after this answer, the request that is now
 * in the probe must be made; if not, judge.
 */
extern bool mrb_artifact_http_again(MrbArtifactHttp *probe, const MrbHttpAnswer *answer);
extern void mrb_artifact_http_judge(const MrbArtifactHttp *probe,
									const MrbHttpAnswer *answer,
									MrbArtifactCheck *check);

#endif							/* MRB_ARTIFACT_HTTP_H */
