/*-------------------------------------------------------------------------
 *
 * route_log.h
 *	  The log of route changes, in the order of their epochs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROUTE_LOG_H
#define MRB_ROUTE_LOG_H

#include "route/route.h"

typedef enum MrbRouteChangeKind
{
	MRB_ROUTE_CHANGE_ROUTE,
	MRB_ROUTE_CHANGE_HOST_REMOVED,
	MRB_ROUTE_CHANGE_REPURGE,
	MRB_ROUTE_CHANGE_OTHER,		/* nothing that edges are told */
} MrbRouteChangeKind;

/* One row of the route log. */
typedef struct MrbRouteChange
{
	int64		epoch;
	MrbRouteChangeKind kind;
	char	   *deployment_id;
	char	   *host;			/* removed host, or zone; NULL otherwise */
	int64		route_seq;
	TimestampTz since;
	bool		routed;			/* the removed host is routed again */
} MrbRouteChange;

/* Changes that one transaction took from the outbox, or read again. */
typedef struct MrbRouteChanges
{
	bool		settings;		/* settings have changed */
	bool		more;			/* there is more to take */
	int			nchanges;
	MrbRouteChange *changes;	/* by epoch */
	int			nroutes;
	MrbRoute   *routes;			/* of all their deployments */
	int64		last_epoch;
} MrbRouteChanges;

/*
 * Make changes of the last result, whose first columns are deployment, kind,
 * route_seq, host, time, and whether a removed host is routed again.
 */
extern void mrb_route_log_fetch(MrbRouteChanges *taken, uint64 n,
								MemoryContext context);

/* Append the changes, which have their epochs, with their present routes. */
extern void mrb_route_log_append(MrbRouteChanges *taken);

/* Read again what has come after an epoch, at most limit changes of it. */
extern void mrb_route_log_read(int64 after, int limit,
							   MrbRouteChanges *taken);

/* SQL: whether the host that row t of kind host_removed names is routed again. */
#define MRB_HOST_ROUTED_AGAIN(t) \
	t ".kind = 'host_removed' AND " MRB_HOST_IS_ROUTED(t ".host")

#endif							/* MRB_ROUTE_LOG_H */
