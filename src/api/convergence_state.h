/*-------------------------------------------------------------------------
 *
 * convergence_state.h
 *	  The state of an operation: what miosa_wait_converged() returns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CONVERGENCE_STATE_H
#define MRB_CONVERGENCE_STATE_H

#include "api/edges.h"

/* As the table in convergence_state.c describes them. */
typedef enum MrbConvergence
{
	MRB_CONVERGENCE_UNKNOWN,	/* there is no such deployment */
	MRB_CONVERGENCE_SUPERSEDED,
	MRB_CONVERGENCE_WAITING_INSTANCES,
	MRB_CONVERGENCE_NO_EDGES,
	MRB_CONVERGENCE_EXPIRED,
	MRB_CONVERGENCE_CONVERGED,
	MRB_CONVERGENCE_WAITING_EDGES,
	MRB_CONVERGENCE_NO_DISPATCHER
} MrbConvergence;

/*
 * Decide the state of an operation, given its deployment's edges.  seq -1 means
 * the newest operation.  Called in the snapshot in which edges were counted.
 */
extern MrbConvergence mrb_convergence_state_decide(const char *deployment_id, int64 seq,
												   const MrbEdgeCount *count);

/* The state of a fleet, given its edges. */
extern MrbConvergence mrb_convergence_state_of_fleet(const MrbEdgesFleet *fleet,
													 const MrbEdgeCount *count);

/* NULL for MRB_CONVERGENCE_UNKNOWN. */
extern const char *mrb_convergence_state_name(MrbConvergence state);

#endif							/* MRB_CONVERGENCE_STATE_H */
