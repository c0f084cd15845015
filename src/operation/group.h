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

/* What a target that is refused means for the others. */
typedef enum MrbGroupMode
{
	MRB_GROUP_EACH,				/* nothing: they are rolled back */
	MRB_GROUP_FIRST,			/* its condition is raised */
	MRB_GROUP_ALL,				/* they are judged, and the caller has to
								 * raise an error, because some may be written */
	MRB_GROUP_PLAN				/* nothing is locked or written anyway */
} MrbGroupMode;

/* What became of one target; valid until the next one. */
typedef struct MrbGroupResult
{
	const char *deployment_id;
	const char *outcome;		/* of the operation, or "replayed"; NULL: the
								 * target was refused */
	const char *from;			/* active version before; NULL: not known */
	const char *to;				/* version to make active; NULL: not known */
	int64		route_seq;		/* of the change that was queued; 0: none */
	const MrbCallerRequest *request;
	const MrbFinding *refusal;	/* then */
	Jsonb	   *response;		/* else; NULL in plans */
} MrbGroupResult;

typedef void (*MrbGroupReceiver) (const MrbGroupResult *result, void *arg);

/*
 * Roll back the targets of these requests, and pass on the result of each, in
 * the order of their deployments' ids.  Requests of one deployment have to be
 * the same, and count as one.
 */
extern void mrb_group_run(MrbCallerRequest *requests, int n, MrbGroupMode mode,
						  MrbGroupReceiver receive, void *arg);

#endif							/* MRB_GROUP_H */
