/*-------------------------------------------------------------------------
 *
 * edges.h
 *	  The endpoints that receive a deployment, each with its state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_EDGES_H
#define MRB_EDGES_H

#include "delivery/edge_state.h"

/* The endpoints that receive a deployment, in no order. */
typedef struct MrbEdges
{
	MrbEdgeChange change;
	TimestampTz now;			/* when they were judged */
	int			n;
	MrbEdge    *items;
} MrbEdges;

/* How many edges receive a deployment. */
typedef struct MrbEdgeCount
{
	int			edges;			/* that are enabled */
	int			done;			/* of these */
	int			expired;		/* of those that are done */
} MrbEdgeCount;

/*
 * Read and judge the endpoints.  Called in work of mrb_progress_snapshot(),
 * at whose end their positions are freed.
 */
extern void mrb_edges_read(const char *deployment_id, MrbEdges *edges);

/* What a fleet still has to do. */
typedef struct MrbEdgesFleet
{
	bool		found;
	bool		works;			/* it has not ended */
	bool		waits;			/* a deployment waits for instances */
} MrbEdgesFleet;

/*
 * The same for the edges that receive any deployment of a fleet: whether they have
 * all that it has changed so far.  That caches expire does not count.
 */
extern MrbEdgesFleet mrb_edges_read_fleet(const char *fleet_id, MrbEdges *edges);

/* Whether an endpoint is an edge that counts. */
extern bool mrb_edges_counts(const MrbEdge *edge);

extern MrbEdgeCount mrb_edges_count(const MrbEdges *edges);

#endif							/* MRB_EDGES_H */
