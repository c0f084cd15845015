/*-------------------------------------------------------------------------
 *
 * group.h
 *	  Rollbacks of many deployments in one statement.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_GROUP_H
#define MRB_GROUP_H

#include "operation/caller_request.h"
#include "operation/finding.h"

/* What became of one target; valid until the next one. */
typedef struct MrbGroupResult
{
	const char *deployment_id;
	const char *outcome;		/* of the operation, or "replayed"; NULL: the
								 * target was refused */
	const MrbCallerRequest *request;
	const MrbFinding *refusal;	/* then */
	Jsonb	   *response;		/* else */
} MrbGroupResult;

typedef void (*MrbGroupReceiver) (const MrbGroupResult *result, void *arg);

/*
 * Roll back the targets of these requests, and pass on the result of each, in
 * the order of their deployments' ids.  Requests of one deployment have to be
 * the same, and count as one.  all: raise the condition of the first target
 * that is refused, so that nothing is done; else the other ones are rolled back.
 */
extern void mrb_group_run(MrbCallerRequest *requests, int n, bool all,
						  MrbGroupReceiver receive, void *arg);

#endif							/* MRB_GROUP_H */
