/*-------------------------------------------------------------------------
 *
 * route_book.h
 *	  Present routes of deployments with pending deliveries.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROUTE_BOOK_H
#define MRB_ROUTE_BOOK_H

#include "route/route.h"

/* When edges acknowledge its newest operation; see delivery/edge_times.c. */
typedef struct MrbEdgeTimes MrbEdgeTimes;

/* A deployment with pending deliveries. */
typedef struct MrbRouteEntry
{
	char	   *id;
	MrbRoute   *route;			/* the present one */
	int			users;			/* items, barriers and times */
	MrbEdgeTimes *times;		/* NULL: nothing is measured */
	bool		confirm;		/* a host moved here: deliver it twice */
} MrbRouteEntry;

extern void mrb_route_book_init(MemoryContext context);

/*
 * Copy a route into the book as the present one of its deployment.  The hosts
 * in removed are added to those that edges have to remove.
 */
extern MrbRouteEntry *mrb_route_book_enter(const MrbRoute *from,
										   char **removed, int nremoved);

/* The entry of a deployment; NULL if the book has none. */
extern MrbRouteEntry *mrb_route_book_find(const char *id);

/* Free the entry if it has no users. */
extern void mrb_route_book_release(MrbRouteEntry *entry);

/* Release a reference to a route. */
extern void mrb_route_book_unref(MrbRoute *route);

/* The i-th host to remove; NULL if it is routed again. */
extern char *mrb_route_book_removed_host(const MrbRoute *route, int i);

#endif							/* MRB_ROUTE_BOOK_H */
