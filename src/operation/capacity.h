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
 * The caller of each function holds the lock of the deployment's row.
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
 * Return the versions whose instances are never drained, as a text[].  active
 * and serving may be NULL; recent_served is the column.
 */
extern Datum mrb_capacity_kept(const char *deployment_id, const char *active,
							   const char *serving, Datum recent_served);

/* Whether there are versions that count as not needed. */
extern bool mrb_capacity_has_idle(const char *deployment_id);

/* Keep the instances of idle versions that are needed again. */
extern void mrb_capacity_keep(const char *deployment_id, Datum kept);

#endif							/* MRB_CAPACITY_H */
