/*-------------------------------------------------------------------------
 *
 * progress_snapshot.h
 *	  Consistent snapshots of the endpoints' progress.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PROGRESS_SNAPSHOT_H
#define MRB_PROGRESS_SNAPSHOT_H

#include "common/query.h"
#include "endpoint/endpoint_stats.h"

/* What is done in a snapshot. */
typedef void (*MrbSnapshotWork) (void *arg);

/* Callback that reads the n rows that a statement has returned. */
typedef void (*MrbSnapshotReading) (uint64 n, void *arg);

/*
 * Do the work with the newest snapshot, whatever the snapshot of the
 * transaction, and with a copy of the positions that was made just before.
 * Inside such work it is done with the snapshot and the copy that there are.
 */
extern void mrb_progress_snapshot(MrbSnapshotWork work, void *arg);

/*
 * The same for a single read_only statement.  What the callback copies is in
 * the memory context of the caller.
 */
extern void mrb_progress_snapshot_query(MrbQuery *query, const Datum *args,
										const bool *nulls,
										MrbSnapshotReading reading, void *arg);

/*
 * Position of an endpoint in the copy, and the entry of shared memory that had
 * it; NULL if it has none.  Only inside the work, after which it is freed.
 */
extern const MrbPosition *mrb_progress_snapshot_find(const char *endpoint, int *entry);

#endif							/* MRB_PROGRESS_SNAPSHOT_H */
