/*-------------------------------------------------------------------------
 *
 * caller_request.h
 *	  The arguments of a call, and calls that hints propose.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CALLER_REQUEST_H
#define MRB_CALLER_REQUEST_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* What a call does. */
typedef enum MrbAction
{
	MRB_ROLLBACK,
	MRB_PROMOTE,
	MRB_UNDO,
	MRB_UNPUBLISH,				/* no version is active afterwards */
	/* Those that follow move nothing (note.h). */
	MRB_HOLD,
	MRB_RELEASE,
	MRB_MARK_BAD,
	MRB_CLEAR_BAD,
	MRB_RENAME,
	MRB_MOVE_HOST,
	MRB_REMOVE,
	MRB_WATCH,
	MRB_UNWATCH,
	MRB_ALERT,
	/* These use no key, too. */
	MRB_ROLLBACK_REFUSED,
	MRB_PROMOTE_REFUSED,
	MRB_ACTIONS					/* their number */
} MrbAction;

/* An argument that may be left to a setting. */
typedef enum MrbChoice
{
	MRB_BY_SETTING,
	MRB_YES,
	MRB_NO,
} MrbChoice;

/* The arguments of a call; all but the deployment may be NULL. */
typedef struct MrbCallerRequest
{
	MrbAction	action;
	bool		tried;			/* its condition is returned */
	bool		waiting;		/* a promotion of the version that waits for
								 * the end of a hold */
	const char *operation_id;	/* to undo; NULL: the newest one */
	const char *deployment_id;
	const char *version_id;		/* NULL: the previous one, or none */
	const char *key;			/* idempotency key */
	const char *reason;
	const char *expected_active;	/* refuse if another one is active */
	const char *cutover;		/* when_healthy (NULL too) or immediate */
	Jsonb	   *attribution;	/* an object: the tenant's own ids */
	bool		accept_unverified;	/* proceed if storage does not answer */
	MrbChoice	hold;			/* of a rollback: open a hold */
	Interval   *hold_for;		/* how long; NULL: until it is lifted */
	bool		mark_bad;		/* of a rollback: mark the version it leaves */
	TimestampTz served_at;		/* of a rollback: to what served then; 0: not
								 * given */
	MrbChoice	automatic;		/* of a promotion: no person decides */
	bool		accept_bad;		/* of a promotion: also a version marked as
								 * bad */
	bool		break_glass;	/* of a promotion: also in a freeze */
	const char *fleet_id;		/* fleet that it belongs to, or NULL */
	const char *alert;			/* of a rollback: the alert that makes it, as
								 * JSON for the audit event; or NULL */
	const char *console_name;	/* name that the caller of a console function
								 * gave; NULL: not a console function */
} MrbCallerRequest;

/* A reason as it counts: a blank one is none. */
extern char *mrb_caller_request_reason(char *reason);

/*
 * The caller's call with another version, for a hint.  With accept_unverified
 * it proceeds also if storage does not answer.  request may be NULL: the
 * change was no call of a function.
 */
extern char *mrb_caller_request_again(const MrbCallerRequest *request, bool promotion,
									  const char *deployment_id,
									  const char *version_id,
									  bool accept_unverified);

/*
 * Append the arguments of a rollback that are the same for many deployments, each
 * after a comma.
 */
extern void mrb_caller_request_show_options(StringInfo buf,
											const MrbCallerRequest *request);

/* The caller's call to undo an operation of this number, for a hint. */
extern char *mrb_caller_request_undo(const MrbCallerRequest *request,
									 const char *deployment_id, int64 seq);

/* The caller's call to lift the hold without a promotion, for a hint. */
extern char *mrb_caller_request_release(const MrbCallerRequest *request,
										const char *deployment_id);

/* A call to unpublish the deployment instead, for a hint. */
extern char *mrb_caller_request_unpublish(const MrbCallerRequest *request,
										  const char *deployment_id);

/* A call of a console function about the deployment, for a hint. */
extern char *mrb_caller_request_show(const MrbCallerRequest *request, const char *function,
									 const char *deployment_id);

#endif							/* MRB_CALLER_REQUEST_H */
