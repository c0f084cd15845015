/*-------------------------------------------------------------------------
 *
 * capacity.h
 *	  Capacity requests that operations make and withdraw, and versions whose
 *	  instances stay.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CAPACITY_H
#define MRB_CAPACITY_H

/*
 * Functions that write: the caller holds the lock of the deployment's row.
 */

/* Request instances of a version; a request that exists keeps its age. */
extern void mrb_capacity_want(const char *deployment_id,
							  const char *version_id);

/* Delete all requests for instances. */
extern void mrb_capacity_cancel(const char *deployment_id);

/*
 * Withdraw the request for instances of a version, which are there; false if
 * nothing changed.
 */
extern bool mrb_capacity_withdraw(const char *deployment_id,
								  const char *version_id);

/*
 * Return the versions whose instances are never drained, as a text[]: given
 * are the active version, the one that serves and the one that the active one
 * was promoted over, each of which may be NULL, and the column recent_served.
 */
extern Datum mrb_capacity_kept(const char *active, const char *serving,
							   const char *before, Datum recent_served);

/* Keep the instances of idle versions that are among these. */
extern void mrb_capacity_keep(const char *deployment_id, Datum kept);

/* Keep those that are needed after an operation. */
extern void mrb_capacity_keep_needed(const char *deployment_id,
									 const char *active, const char *serving,
									 Datum recent_served);

#endif							/* MRB_CAPACITY_H */
