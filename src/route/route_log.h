/*-------------------------------------------------------------------------
 *
 * route_log.h
 *	  The log of route changes, in the order of their epochs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROUTE_LOG_H
#define MRB_ROUTE_LOG_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"

#include "route/route.h"

typedef enum MrbRouteChangeKind
{
	MRB_ROUTE_CHANGE_ROUTE,
	MRB_ROUTE_CHANGE_HOST_REMOVED,
	MRB_ROUTE_CHANGE_REPURGE,
	MRB_ROUTE_CHANGE_OTHER,		/* not delivered to edges */
} MrbRouteChangeKind;

/* Deployments that one which has lost hosts to them waits for, at most. */
#define MRB_ROUTE_TAKERS 4

/* One row of the route log. */
typedef struct MrbRouteChange
{
	int64		epoch;
	MrbRouteChangeKind kind;
	char	   *deployment_id;
	char	   *host;			/* removed host, or zone to purge, or NULL */
	int64		route_seq;
	TimestampTz since;
	bool		routed;			/* the removed host is routed again */
	List	   *given;			/* of a route: hosts that the deployment has
								 * lost to others, one of each */
} MrbRouteChange;

/* Changes that one transaction took from the outbox or read from the log. */
typedef struct MrbRouteChanges
{
	bool		settings;		/* settings have changed */
	bool		alerts;			/* there are alerts for hooks */
	bool		more;			/* there can be more to take or read */
	int			nchanges;
	MrbRouteChange *changes;	/* by epoch */
	int			nroutes;
	MrbRoute   *routes;			/* present routes of their deployments */
	int64		last_epoch;
	int64		origin_epoch;	/* newest one of the primary site, or 0 */
	int			nrows;			/* of the outbox */
	ItemPointerData *rows;
	XLogRecPtr	lsn;			/* what they show is flushed with this */
} MrbRouteChanges;

/*
 * Add a change of a kind to the array, which has room for it.  The kind
 * "settings" and "alert" only set a flag: they are no changes of a route.
 */
extern void mrb_route_log_add(MrbRouteChanges *changes,
							  const MrbRouteChange *change, const char *kind);

/* Make a list of hosts that are joined by commas, in place. */
extern List *mrb_route_log_split(char *hosts);

/* Append the changes, which have epochs, and read their present routes. */
extern void mrb_route_log_append(MrbRouteChanges *changes);

/* Read up to limit changes after an epoch, and their present routes. */
extern void mrb_route_log_read(int64 after, int limit,
							   MrbRouteChanges *changes);

#endif							/* MRB_ROUTE_LOG_H */
