/*-------------------------------------------------------------------------
 *
 * reconcile.h
 *	  What deployments need becomes work for schedulers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_RECONCILE_H
#define MRB_RECONCILE_H

#include "route/outbox.h"
#include "scheduler/capacity_request.h"

/* What a pass has read. */
typedef struct MrbReconcile
{
	bool		all;			/* of all deployments */
	char	  **ids;			/* else of these */
	int			nids;
	MrbCapacityRequest *needs;
	int			nneeds;
} MrbReconcile;

/*
 * Read what those deployments need whose capacity was queued, or all of them,
 * in the transaction of a pass; then make it work, after its commit.
 */
extern void mrb_reconcile_read(const MrbRouteChanges *taken, bool all,
							   MrbReconcile *demand);
extern void mrb_reconcile_enter(const MrbReconcile *demand);

/* The same with the needs of those deployments; ids NULL: of all. */
extern void mrb_reconcile_apply(char **ids, int nids, const MrbCapacityRequest *needs,
								int n);

/* Read all again, in the next step. */
extern void mrb_reconcile_refresh(void);

/* Read what is due to be read. */
extern void mrb_reconcile_step(void);

/* Milliseconds until that is so, at most most. */
extern long mrb_reconcile_wait(long most);

#endif							/* MRB_RECONCILE_H */
