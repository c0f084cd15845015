/*-------------------------------------------------------------------------
 *
 * edge_state.h
 *	  The state of an endpoint with the present route of one deployment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_EDGE_STATE_H
#define MRB_EDGE_STATE_H

#include "datatype/timestamp.h"

#include "endpoint/endpoint_stats.h"

/* As the table in edge_state.c describes them. */
typedef enum MrbEdgeState
{
	MRB_EDGE_EXCLUDED,
	MRB_EDGE_VERIFIED,
	MRB_EDGE_SETTLED,
	MRB_EDGE_ACKNOWLEDGED,
	MRB_EDGE_EXPIRED,
	MRB_EDGE_FAILED,
	MRB_EDGE_BACKING_OFF,
	MRB_EDGE_MISCONFIGURED,
	MRB_EDGE_GONE,
	MRB_EDGE_UNVERIFIED,
	MRB_EDGE_RESYNCING,
	MRB_EDGE_WAITING
} MrbEdgeState;

/* The newest route change of a deployment. */
typedef struct MrbEdgeChange
{
	const char *deployment_id;
	int64		epoch;			/* 0: none is known */
	TimestampTz created_at;		/* 0: not known */
	Interval   *route_ttl;
	bool		queued;			/* the dispatcher has still to take it */
	bool		unread;			/* changed settings of endpoints wait, too */
	int64		term;			/* of the dispatcher */
	bool		moved;			/* its positions are of another timeline */
} MrbEdgeChange;

/* An endpoint that receives the deployment: rows, position, decision. */
typedef struct MrbEdge
{
	char	   *name;
	char	   *zone;
	char	   *role;
	char	   *adapter;
	bool		edge;			/* a router or a cache */
	int			stage;
	int64		generation;
	bool		enabled;
	char	   *reason;			/* why it is disabled, or NULL */
	bool		self_expires;	/* what it keeps expires by itself */
	bool		settles;		/* its purges are repeated */
	bool		loses_table;	/* its marker is read back */
	int64		repurge_epoch;	/* purge that it repeats; 0: none */
	bool		repurge_queued; /* the dispatcher has still to take one */
	bool		failed;			/* it refuses this deployment */
	char	   *failure;		/* why */
	const MrbPosition *position;	/* NULL: it has none yet */
	int			entry;			/* of shared memory; -1: none */

	/* by mrb_edge_state_judge() */
	MrbEdgeState state;
	int64		epoch;			/* what it must acknowledge; 0: none known */
	bool		acknowledged;
	bool		done;			/* acknowledged, or expired */
	bool		behind;			/* an acknowledgement is all that it lacks */
	const char *error;			/* why it is not done, or NULL */
} MrbEdge;

/* Judge all endpoints that receive a deployment. */
extern void mrb_edge_state_judge(const MrbEdgeChange *change, MrbEdge *edges, int n,
								 TimestampTz now);

extern const char *mrb_edge_state_name(MrbEdgeState state);

#endif							/* MRB_EDGE_STATE_H */
