/*-------------------------------------------------------------------------
 *
 * quota.h
 *	  What limits the requests to an endpoint.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_QUOTA_H
#define MRB_QUOTA_H

#include "lib/ilist.h"

#include "timer.h"

typedef struct MrbServer MrbServer;

typedef struct MrbQuota
{
	int			window;			/* may be in flight, by health.c */
	double		tokens;			/* of its rate, by rate_limit.c */
	MrbTick		filled_at;		/* when they were counted; 0: never */
	MrbTimer	rate_timer;
	MrbServer  *server;			/* by breaker.c */
	dlist_node	server_node;
} MrbQuota;

#endif							/* MRB_QUOTA_H */
