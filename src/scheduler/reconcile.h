/*-------------------------------------------------------------------------
 *
 * reconcile.h
 *	  Brings the queues of schedulers in line with the capacity requests in
 *	  the tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RECONCILE_H
#define MRB_RECONCILE_H

#include "route/outbox.h"
#include "scheduler/capacity_request.h"
#include "scheduler/scaling.h"

/* What one transaction has read. */
typedef struct MrbReconcile
{
	bool		all;			/* the requests of all deployments */
	char	  **ids;			/* else of these */
	int			nids;
	MrbCapacityRequest *requests;
	int			nrequests;
} MrbReconcile;

/*
 * Read the requests of the deployments whose capacity was queued, or of all,
 * in the transaction of a pass; queue them for schedulers after its commit.
 */
extern void mrb_reconcile_read(const MrbRouteChanges *taken, bool all,
							   MrbReconcile *reconcile);
extern void mrb_reconcile_enter(MrbScaling *scaling,
								const MrbReconcile *reconcile);

/* Queue all requests of these deployments; ids NULL: of all deployments. */
extern void mrb_reconcile_apply(MrbScaling *scaling, char **ids, int nids,
								const MrbCapacityRequest *requests, int n);

/* Have the next step read the requests of all deployments. */
extern void mrb_reconcile_refresh(MrbScaling *scaling);

/* Read and queue what is due. */
extern void mrb_reconcile_step(MrbScaling *scaling);

/* Milliseconds until a step is due; at most most. */
extern long mrb_reconcile_wait(MrbScaling *scaling, long most);

#endif							/* MRB_RECONCILE_H */
