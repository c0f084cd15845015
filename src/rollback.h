/*-------------------------------------------------------------------------
 *
 * rollback.h
 *	  Roll back, promote, and say beforehand what that would do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROLLBACK_H
#define MRB_ROLLBACK_H

#include "utils/jsonb.h"

/* What a caller asks for; everything but the deployment may be NULL. */
typedef struct MrbRequest
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
} MrbRequest;

/* Returns the response, new or stored, allocated in the current context. */
extern Jsonb *mrb_rollback_run(const MrbRequest *request);

/* What mrb_rollback_run() would do, with every rule's finding. */
extern Jsonb *mrb_rollback_plan(const char *deployment_id,
								const char *version_id);

#endif							/* MRB_ROLLBACK_H */
