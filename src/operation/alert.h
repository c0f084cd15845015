/*-------------------------------------------------------------------------
 *
 * alert.h
 *	  Alerts about deployments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ALERT_H
#define MRB_ALERT_H

#include "operation/alert_body.h"

/* What became of an alert. */
typedef struct MrbAlertResult
{
	const char *deployment_id;	/* NULL: it names none */
	const char *done;			/* rollback, hold, notified, recorded, known
								 * (came before) or unmatched */
	const char *operation_id;	/* of the audit event, or NULL */
	const char *why;
	bool		again;			/* the deployment is locked: judged when it
								 * comes again */
} MrbAlertResult;

/*
 * Take n alerts in one transaction, deployment by deployment in the order of
 * their ids.  Returns a result for each.  function is the one that was called,
 * for the record of what is refused.
 */
extern MrbAlertResult *mrb_alert_run(const MrbAlert *alerts, int n, Oid function);

#endif							/* MRB_ALERT_H */
