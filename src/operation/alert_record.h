/*-------------------------------------------------------------------------
 *
 * alert_record.h
 *	  What is recorded of alerts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ALERT_RECORD_H
#define MRB_ALERT_RECORD_H

#include "operation/alert_body.h"

/* What is done for an alert. */
typedef struct MrbAlertDeed
{
	const char *done;			/* rollback, hold, notified, recorded or known */
	const char *why;
	const char *condition;		/* that refused it, or NULL */
	const char *version_id;		/* that was active, or NULL */
	const char *target_id;		/* that was rolled back to, or NULL */
	Jsonb	   *response;		/* of the operation, or NULL */
} MrbAlertDeed;

/* What is known of an alert. */
typedef struct MrbAlertKnown
{
	bool		came;			/* before */
	bool		resolved;		/* its end came, too */
	bool		busy;			/* it has found the deployment locked */
} MrbAlertKnown;

extern MrbAlertKnown mrb_alert_record_find(const char *deployment_id,
										   const MrbAlert *alert);

/*
 * Leave a note in the deployment's history, which opens a hold if that is what is
 * done; add the alert to those that came, or
 * its end.  The deployment's lock is needed for the first one only.
 */
extern void mrb_alert_record_note(const char *deployment_id, const MrbAlert *alert,
								  MrbAlertDeed *deed);
extern void mrb_alert_record_add(const char *deployment_id, const MrbAlert *alert,
								 const MrbAlertDeed *deed);
extern void mrb_alert_record_end(const char *deployment_id, const MrbAlert *alert);

/*
 * Have the dispatcher send what was recorded as notified to hooks, and leave the
 * notes of what has found its deployment locked.
 */
extern void mrb_alert_record_notify(void);

/* The alert and what was done, as JSON for the marks of an audit event. */
extern char *mrb_alert_record_show(const MrbAlert *alert, const MrbAlertDeed *deed);

/* The id of the operation that was done, palloc'd; NULL: there is none. */
extern char *mrb_alert_record_operation(Jsonb *response);

#endif							/* MRB_ALERT_RECORD_H */
