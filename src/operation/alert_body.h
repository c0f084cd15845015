/*-------------------------------------------------------------------------
 *
 * alert_body.h
 *	  The body that Alertmanager's webhook sends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ALERT_BODY_H
#define MRB_ALERT_BODY_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* One alert; what is not said otherwise is never NULL. */
typedef struct MrbAlert
{
	bool		firing;			/* else resolved */
	const char *fingerprint;
	TimestampTz starts_at;
	TimestampTz ends_at;		/* if it is resolved */
	Jsonb	   *labels;
	Jsonb	   *annotations;	/* may be empty */
	const char *deployment;		/* label miosa_deployment, or NULL */
	const char *name;			/* label alertname, or NULL */
	const char *reason;			/* name and summary, on one line */
} MrbAlert;

/*
 * Read the alerts of a body.  Raises INVALID_ARGUMENT with the place of the
 * mistake, unless it is of version 4 and all of its alerts are whole.
 */
extern MrbAlert *mrb_alert_body_read(Jsonb *payload, int *n);

#endif							/* MRB_ALERT_BODY_H */
