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

/* Callback that reads the n rows that a statement has returned. */
typedef void (*MrbSnapshotReading) (uint64 n, void *arg);

/*
 * Run a read_only statement with the newest snapshot, whatever the snapshot of
 * the transaction; miosa.positions() in it returns a copy that was made just
 * before.  What the callback copies is in the memory context of the caller.
 */
extern void mrb_progress_snapshot(MrbQuery *query, const Datum *args, const bool *nulls,
								  MrbSnapshotReading reading, void *arg);

#endif							/* MRB_PROGRESS_SNAPSHOT_H */
