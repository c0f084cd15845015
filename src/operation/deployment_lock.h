/*-------------------------------------------------------------------------
 *
 * deployment_lock.h
 *	  Locking of a deployment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DEPLOYMENT_LOCK_H
#define MRB_DEPLOYMENT_LOCK_H

#include "storage/itemptr.h"

#include "operation/finding.h"

/*
 * Lock the deployment's row until the end of the transaction.  Waits about
 * miosa_rollback.lock_wait, then raises DEPLOYMENT_BUSY.  place is where the row
 * was last seen, and is where it was locked then.
 */
extern void mrb_deployment_lock(const char *id, ItemPointer place);

/*
 * The same, but waits for *wait milliseconds at most, from which it takes what
 * it waited, and returns DEPLOYMENT_BUSY as a finding.  A wait is a
 * subtransaction of its own.
 */
extern MrbFinding mrb_deployment_lock_within(const char *id, ItemPointer place,
											 int *wait);

/* The same without waiting; false if it is locked or does not exist. */
extern bool mrb_deployment_lock_try(const char *id);

#endif							/* MRB_DEPLOYMENT_LOCK_H */
