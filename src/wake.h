/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Telling the dispatcher, at commit, that there is work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WAKE_H
#define MRB_WAKE_H

/*
 * Set the dispatcher's latch when the present transaction commits.  Where no
 * dispatcher runs, listeners are notified by the transaction itself, and a
 * warning is raised when there are endpoints that nobody will tell.  The
 * names may be NULL when the work is not a change of route.
 */
extern void mrb_wake_dispatcher(const char *deployment_id,
								const char *version_id);

/* Start a dispatcher for this database when the transaction commits. */
extern void mrb_wake_request_dispatcher(void);

#endif							/* MRB_WAKE_H */
