/*-------------------------------------------------------------------------
 *
 * wakeup.h
 *	  Wake the dispatcher when a transaction with work commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WAKEUP_H
#define MRB_WAKEUP_H

/*
 * Set the dispatcher's latch when the current transaction commits.  Where no
 * dispatcher runs, the transaction itself notifies listeners, and warns if there
 * are endpoints.  The ids are NULL when the work is not a change of route.
 */
extern void mrb_wakeup_dispatcher(const char *deployment_id,
								  const char *version_id);

/*
 * Whether there are endpoints and no dispatcher to deliver changes to them, and
 * the warning about it.
 */
extern bool mrb_wakeup_undelivered(void);

#define MRB_WAKEUP_UNDELIVERED_MESSAGE \
	"no dispatcher runs in this database, so changes are not delivered yet"
#define MRB_WAKEUP_UNDELIVERED_HINT \
	"SELECT * FROM miosa_doctor() says why and what to do."

/* Start a dispatcher for this database when the transaction commits. */
extern void mrb_wakeup_request_dispatcher(void);

#endif							/* MRB_WAKEUP_H */
