/*-------------------------------------------------------------------------
 *
 * route_book.h
 *	  Present routes of deployments that some edge has still to be told of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROUTE_BOOK_H
#define MRB_ROUTE_BOOK_H

#include "route/route.h"

/* A deployment that somebody has still to be told of. */
typedef struct MrbRouteEntry
{
	char	   *id;
	MrbRoute   *route;			/* the present one */
	int			users;			/* items and barriers */
	bool		confirm;		/* a host moved here: tell it twice */
} MrbRouteEntry;

extern void mrb_route_book_init(MemoryContext context);

/*
 * Make a picture the present one of its deployment.  A host in removed is
 * added to what edges are told to remove.
 */
extern MrbRouteEntry *mrb_route_book_enter(const MrbRoute *picture,
										   char **removed, int nremoved);

/* Forget the entry once nobody uses it. */
extern void mrb_route_book_release(MrbRouteEntry *entry);

/* Give back a reference to a picture. */
extern void mrb_route_book_unref(MrbRoute *route);

/* The i-th host to remove; NULL when it is routed again. */
extern char *mrb_route_book_gone_host(const MrbRoute *route, int i);

#endif							/* MRB_ROUTE_BOOK_H */
