/*-------------------------------------------------------------------------
 *
 * capacity_request.h
 *	  What a version needs of schedulers, as read from the tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CAPACITY_REQUEST_H
#define MRB_CAPACITY_REQUEST_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "adapter/template.h"

typedef enum MrbGoal
{
	MRB_GOAL_WATCH,				/* only be polled, as its heartbeat */
	MRB_GOAL_UP,
	MRB_GOAL_DOWN,
} MrbGoal;

typedef struct MrbCapacityRequest
{
	char	   *deployment_id;
	char	   *tenant_id;
	char	   *deployment_kind;
	char	   *version_id;
	char	   *version_number;
	char	   *kind;			/* of the version */
	char	   *release_id;		/* or NULL, like the next two */
	char	   *storage_uri;
	char	   *sha256;
	char	   *operation_id;
	char	   *workload;
	MrbGoal		goal;
	int			count;			/* instances that there shall be */
	int			missing;		/* so many of the instances below are to start */
	int			unknown;		/* missing, and not among the instances below */
	TimestampTz since;
	bool		asked;			/* some scheduler took the request */
	MrbStringList instances;	/* that can be started, or are to stop, one by
								 * one */
	MrbStringList watchers;		/* endpoints whose polls are a heartbeat */
} MrbCapacityRequest;

/*
 * Read what the deployments need, ordered by deployment, in the caller's
 * transaction and memory context; ids NULL: all.
 */
extern MrbCapacityRequest *mrb_capacity_request_read(char **ids, int n, int *found);

/* A copy in the current context. */
extern void mrb_capacity_request_copy(MrbCapacityRequest *to, const MrbCapacityRequest *from);

extern bool mrb_capacity_request_is_watched_by(const MrbCapacityRequest *need, const char *endpoint);

#endif							/* MRB_CAPACITY_REQUEST_H */
