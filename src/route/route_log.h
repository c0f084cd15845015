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
	MRB_ROUTE_CHANGE_OTHER,		/* not delivered to edges */
} MrbRouteChangeKind;

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
} MrbRouteChange;

/* Changes that one transaction took from the outbox or read from the log. */
typedef struct MrbRouteChanges
{
	bool		settings;		/* settings have changed */
	bool		more;			/* there can be more to take or read */
	int			nchanges;
	MrbRouteChange *changes;	/* by epoch */
	int			nroutes;
	MrbRoute   *routes;			/* present routes of their deployments */
	int64		last_epoch;
} MrbRouteChanges;

/*
 * SQL: the columns of a change, of row t of the outbox or of the log.  The
 * host of a row of kind host_removed can be routed again.
 */
#define MRB_ROUTE_LOG_COLUMNS(t) \
	t ".deployment_id, " t ".kind, " t ".route_seq, " t ".host, " \
	t ".created_at, " t ".kind = 'host_removed' AND " \
	MRB_HOST_IS_ROUTED(t ".host")

/* These columns, in order; columns that a statement adds follow. */
enum
{
	MRB_ROUTE_LOG_DEPLOYMENT_ID = 1,
	MRB_ROUTE_LOG_KIND,
	MRB_ROUTE_LOG_ROUTE_SEQ,
	MRB_ROUTE_LOG_HOST,
	MRB_ROUTE_LOG_CREATED_AT,
	MRB_ROUTE_LOG_ROUTED_AGAIN,
	MRB_ROUTE_LOG_NEXT
};

/*
 * Read the changes from the last result, which begins with the columns of
 * MRB_ROUTE_LOG_COLUMNS(), into memory of the context.
 */
extern void mrb_route_log_fetch(MrbRouteChanges *changes, uint64 n,
								MemoryContext context);

/* Append the changes, which have epochs, and read their present routes. */
extern void mrb_route_log_append(MrbRouteChanges *changes);

/* Read up to limit changes after an epoch, and their present routes. */
extern void mrb_route_log_read(int64 after, int limit,
							   MrbRouteChanges *changes);

#endif							/* MRB_ROUTE_LOG_H */
