/*-------------------------------------------------------------------------
 *
 * operation_stats.h
 *	  Shared memory: how many operations each database has had.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OPERATION_STATS_H
#define MRB_OPERATION_STATS_H

#include "base/errors.h"
#include "common/buckets.h"
#include "operation/caller_request.h"

/* Outcomes of operations. */
typedef enum MrbOutcome
{
	MRB_OUTCOME_CHANGED,
	MRB_OUTCOME_PENDING,
	MRB_OUTCOME_CUTOVER,
	MRB_OUTCOME_UNCHANGED,
	MRB_OUTCOMES				/* their number */
} MrbOutcome;

#define MRB_CONDITION_COUNT (MRB_ERR_NOT_PRIMARY + 1)

/* Actions that move the pointer come first in MrbAction. */
#define MRB_MOVES (MRB_UNPUBLISH + 1)

/* All of it only grows. */
typedef struct MrbOperationStats
{
	Oid			database;		/* InvalidOid: free */
	bool		gone;			/* the database is not known any more */
	pg_atomic_uint64 operations[MRB_ACTIONS][MRB_OUTCOMES];
	pg_atomic_uint64 refusals[MRB_CONDITION_COUNT];
	pg_atomic_uint64 replays;
	MrbBuckets	durations[MRB_MOVES];	/* of calls for one deployment */
	MrbBuckets	convergence;	/* of operations, until the last edge */
} MrbOperationStats;

/* Request shared memory, while the server preloads libraries. */
extern void mrb_operation_stats_install(void);

/*
 * Those of this database; NULL: none, because the library is not preloaded or
 * more databases than max_databases have the extension.
 */
extern MrbOperationStats *mrb_operation_stats_mine(void);

/* Let others have the entries of databases that were dropped. */
extern void mrb_operation_stats_retain(bool (*is_known) (Oid database));

/* Names of outcomes; false for one that is not counted. */
extern const char *mrb_operation_stats_outcome(MrbOutcome outcome);
extern bool mrb_operation_stats_find_outcome(const char *name, MrbOutcome *outcome);

#endif							/* MRB_OPERATION_STATS_H */
