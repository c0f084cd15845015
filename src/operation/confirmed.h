/*-------------------------------------------------------------------------
 *
 * confirmed.h
 *	  Whether an operation that is seen can still be lost.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CONFIRMED_H
#define MRB_CONFIRMED_H

/*
 * Return when a stored operation of the deployment may be confirmed once more.
 * On a primary, this waits for the synchronous standby as a commit does.  On a
 * standby, raise NOT_PRIMARY if it is not known.
 */
extern void mrb_confirmed_require(const char *deployment_id);

#endif							/* MRB_CONFIRMED_H */
