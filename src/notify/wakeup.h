/*-------------------------------------------------------------------------
 *
 * wakeup.h
 *	  Telling the dispatcher, at commit, that there is work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WAKEUP_H
#define MRB_WAKEUP_H

/*
 * Set the dispatcher's latch when the present transaction commits.  Where no
 * dispatcher runs, listeners are notified by the transaction itself, and a
 * warning is raised when there are endpoints that nobody will tell.  The
 * names may be NULL when the work is not a change of route.
 */
extern void mrb_wakeup_dispatcher(const char *deployment_id,
								  const char *version_id);

/*
 * Whether there are endpoints and no dispatcher that will tell them, and the
 * warning about it.
 */
extern bool mrb_wakeup_untold(void);

#define MRB_WAKE_UNTOLD_MESSAGE \
	"no dispatcher runs in this database, so no endpoint will be told yet"
#define MRB_WAKE_UNTOLD_HINT \
	"SELECT * FROM miosa_doctor() says why and what to do."

/* Start a dispatcher for this database when the transaction commits. */
extern void mrb_wakeup_request_dispatcher(void);

#endif							/* MRB_WAKEUP_H */
