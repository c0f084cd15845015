/*-------------------------------------------------------------------------
 *
 * capacity_request.h
 *	  Capacity requests: what schedulers are to do for a version, as read from
 *	  the tables.
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
	MRB_GOAL_WATCH,				/* poll only: the poll is its heartbeat */
	MRB_GOAL_UP,				/* start instances */
	MRB_GOAL_DOWN,				/* stop all of its instances */
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
	int			count;			/* instances requested in all */
	int			missing;		/* how many of the instances below to start */
	int			unknown;		/* how many more are missing for which no
								 * instance is known */
	TimestampTz since;			/* when the request was made */
	bool		asked;			/* a scheduler has acknowledged it */
	MrbStringList instances;	/* that can be started or are to stop, one by
								 * one */
	MrbStringList watchers;		/* endpoints whose polls are heartbeats */
} MrbCapacityRequest;

/*
 * Read the requests of deployments, ordered by deployment, in the caller's
 * transaction and memory context; ids NULL: of all.
 */
extern MrbCapacityRequest *mrb_capacity_request_read(char **ids, int n,
													 int *found);

/* A copy in the current context. */
extern void mrb_capacity_request_copy(MrbCapacityRequest *to,
									  const MrbCapacityRequest *from);

/* Whether polls of the endpoint count as heartbeats of the version. */
extern bool mrb_capacity_request_is_watched_by(const MrbCapacityRequest *request,
											   const char *endpoint);

#endif							/* MRB_CAPACITY_REQUEST_H */
