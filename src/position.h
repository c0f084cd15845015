/*-------------------------------------------------------------------------
 *
 * position.h
 *	  Where an endpoint stands and what was counted of it, for others to see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_POSITION_H
#define MRB_POSITION_H

#include "latency.h"
#include "vitals.h"

/* As long as a deployment's id can be, with its end. */
#define MRB_POSITION_ID 256

typedef struct MrbPosition
{
	char		name[NAMEDATALEN];
	int64		generation;
	int64		acked_epoch;	/* nothing that it passes is unwritten */
	int64		settled_epoch;
	int64		verified_epoch;
	TimestampTz acked_at;		/* when acked_epoch was last moved */
	MrbHealth	health;
	bool		probing;		/* it is tried again */
	bool		breaker_open;	/* nothing is sent to it */
	int			failures;		/* in a row */
	int			last_status;	/* 0: none */
	TimestampTz last_error_at;	/* 0: never */
	TimestampTz last_success_at;	/* 0: never */
	TimestampTz next_try_at;	/* 0: it is not waited */
	bool		resyncing;		/* it has everything up to resync_after */
	char		resync_after[MRB_POSITION_ID];
	char		last_error[256];
} MrbPosition;

/* Counted since the entry was taken, or reset. */
typedef struct MrbTally
{
	int64		sent;			/* requests, */
	int64		retried;		/* of which of what had failed before */
	int64		succeeded;
	int64		failed;
	MrbLatency	latency;		/* from commit to acknowledgement */
} MrbTally;

#endif							/* MRB_POSITION_H */
