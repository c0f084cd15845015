/*-------------------------------------------------------------------------
 *
 * scaling.h
 *	  What the dispatcher knows of its requests to schedulers, in named parts
 *	  with one writer each.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALING_H
#define MRB_SCALING_H

#include "lib/ilist.h"

#include "common/timer.h"

struct entries_hash;

/* Entries, one for each scheduler and deployment; by scale_queue.c. */
typedef struct MrbScaleQueue
{
	MemoryContext context;		/* of the entries */
	struct entries_hash *entries;
	dlist_head	stale;			/* entries to be read again */
} MrbScaleQueue;

/* When capacity requests are read; by reconcile.c. */
typedef struct MrbReconcileState
{
	bool		all_due;		/* those of all deployments */
	MrbTick		not_before;
} MrbReconcileState;

/* Answers that are not written yet; by scale_result.c. */
typedef struct MrbScaleResults
{
	dlist_head	list;
	MrbTick		not_before;
} MrbScaleResults;

/* The check of the capacity of all deployments; by capacity_pass.c. */
typedef struct MrbCapacityPass
{
	char	   *cursor;			/* where the next page begins; NULL: no pass
								 * goes on */
	MrbTick		begun_at;		/* when the last pass began; 0: never */
	MrbTick		due;			/* earliest deadline known, or MRB_TICK_NEVER */
	MrbTick		not_before;
} MrbCapacityPass;

typedef struct MrbScaling
{
	MrbScaleQueue queue;
	MrbReconcileState reconcile;
	MrbScaleResults results;
	MrbCapacityPass pass;
} MrbScaling;

#endif							/* MRB_SCALING_H */
