/*-------------------------------------------------------------------------
 *
 * vitals.h
 *	  How an endpoint is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_VITALS_H
#define MRB_VITALS_H

#include "timer.h"

typedef enum MrbHealth
{
	MRB_HEALTH_NEW,
	MRB_HEALTH_HEALTHY,
	MRB_HEALTH_BACKING_OFF,
	MRB_HEALTH_MISCONFIGURED,
	MRB_HEALTH_GONE,			/* answers that it is gone */
	MRB_HEALTH_UNVERIFIED,		/* healthy, but does not keep its marker; only
								 * shown, see mrb_health_shown() */
} MrbHealth;

typedef struct MrbVitals
{
	MrbHealth	health;
	uint32		round;			/* rises when that changes */
	int			failures;		/* in a row */
	int64		taken;			/* messages, in all */
	bool		probing;		/* one request at a time */
	bool		unreachable;	/* the last failure was a connection's */
	int			last_status;	/* of HTTP; 0: none */
	char		last_error[256];
	TimestampTz last_error_at;	/* 0: never */
	TimestampTz last_success_at;	/* 0: never */
	TimestampTz next_try_at;	/* 0: it is not waited */
	MrbTimer	retry_timer;
} MrbVitals;

#endif							/* MRB_VITALS_H */
