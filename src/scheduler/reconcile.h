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
typedef struct MrbDemand
{
	bool		all;			/* of all deployments */
	char	  **ids;			/* else of these */
	int			nids;
	MrbNeed    *needs;
	int			nneeds;
} MrbDemand;

/*
 * Read what those deployments need whose capacity was queued, or all of them,
 * in the transaction of a pass; then make it work, after its commit.
 */
extern void mrb_demand_read(const MrbTaken *taken, bool all,
							MrbDemand *demand);
extern void mrb_demand_enter(const MrbDemand *demand);

/* The same with the needs of those deployments; ids NULL: of all. */
extern void mrb_demand_apply(char **ids, int nids, const MrbNeed *needs,
							 int n);

/* Read all again, in the next step. */
extern void mrb_demand_refresh(void);

/* Read what is due to be read. */
extern void mrb_demand_step(void);

/* Milliseconds until that is so, at most most. */
extern long mrb_demand_wait(long most);

#endif							/* MRB_RECONCILE_H */
