/*-------------------------------------------------------------------------
 *
 * progress_snapshot.h
 *	  Looking at how far endpoints have come.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PROGRESS_SNAPSHOT_H
#define MRB_PROGRESS_SNAPSHOT_H

#include "common/query.h"

/* Reads what a statement has returned: so many rows. */
typedef void (*MrbSnapshotReading) (uint64 n, void *arg);

/*
 * Run a statement, read_only, on what is so now, whatever the transaction's
 * own snapshot shows; miosa.positions() in it is from just before.  What the
 * reading copies is in the context of the caller.
 */
extern void mrb_progress_snapshot(MrbQuery *query, const Datum *args, const bool *nulls,
								  MrbSnapshotReading reading, void *arg);

#endif							/* MRB_PROGRESS_SNAPSHOT_H */
