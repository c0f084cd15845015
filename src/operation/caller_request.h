/*-------------------------------------------------------------------------
 *
 * caller_request.h
 *	  What a caller asks for, and how to ask again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CALLER_REQUEST_H
#define MRB_CALLER_REQUEST_H

#include "utils/jsonb.h"

/* What a caller asks for; everything but the deployment may be NULL. */
typedef struct MrbCallerRequest
{
	bool		promotion;		/* else a rollback */
	const char *deployment_id;
	const char *version_id;		/* NULL: the previous one */
	const char *key;			/* idempotency key */
	const char *reason;
	const char *expected_active;	/* refuse when another one is active */
	const char *cutover;		/* when_healthy (NULL too) or immediate */
	Jsonb	   *attribution;	/* an object: the tenant's own ids */
	bool		accept_unverified;	/* go on when storage cannot tell */
	const char *console_name;	/* the deployment for people; NULL: called by
								 * a program */
} MrbCallerRequest;

/*
 * The caller's call with another version, to paste.  With accept_unverified
 * it also goes on when storage cannot tell.  request may be NULL when there
 * was no call.
 */
extern char *mrb_caller_request_again(const MrbCallerRequest *request, bool promotion,
									  const char *deployment_id,
									  const char *version_id,
									  bool accept_unverified);

/* A call of a console function about the deployment, to paste. */
extern char *mrb_caller_request_show(const MrbCallerRequest *request, const char *function,
									 const char *deployment_id);

#endif							/* MRB_CALLER_REQUEST_H */
