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
} MrbHealth;

typedef struct MrbVitals
{
	MrbHealth	health;
	uint32		round;			/* rises when that changes */
	int			failures;		/* in a row */
	int64		successes;		/* in all */
	bool		probing;		/* one request at a time */
	int			last_status;	/* of HTTP; 0: none */
	char		last_error[256];
	TimestampTz last_error_at;	/* 0: never */
	TimestampTz last_success_at;	/* 0: never */
	TimestampTz next_try_at;	/* 0: it is not waited */
	MrbTimer	retry_timer;
} MrbVitals;

#endif							/* MRB_VITALS_H */
