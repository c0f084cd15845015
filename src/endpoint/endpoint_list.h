/*-------------------------------------------------------------------------
 *
 * endpoint_list.h
 *	  The enabled endpoints.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_LIST_H
#define MRB_ENDPOINT_LIST_H

#include "nodes/pg_list.h"

#include "endpoint/endpoint.h"
#include "route/route.h"

/* Endpoints of stage 0 come first. */
extern dlist_head mrb_endpoint_list_all;

#define mrb_endpoint_list_foreach(iter) dlist_foreach(iter, &mrb_endpoint_list_all)
#define mrb_endpoint_list_current(iter) \
	dlist_container(MrbEndpoint, node, (iter).cur)

/*
 * Read the endpoints in the caller's transaction.  Return those that are new
 * or have changed, made in the current context, stage 0 first; endpoints that
 * have not changed are marked as listed.  With a name only that endpoint is
 * read, even if it is disabled.
 */
extern List *mrb_endpoint_list_read(int64 term, int64 newest_epoch,
									const char *name);

/* Add the endpoint to mrb_endpoint_list_all; remove it from there and free it. */
extern void mrb_endpoint_list_adopt(MrbEndpoint *endpoint, MemoryContext context);
extern void mrb_endpoint_list_drop(MrbEndpoint *endpoint);
extern MrbEndpoint *mrb_endpoint_list_find(const char *name);
extern int	mrb_endpoint_list_count(void);

/* Whether the endpoint's selector matches the deployment. */
extern bool mrb_endpoint_list_selects(const MrbEndpoint *endpoint,
									  const MrbRoute *route);

#endif							/* MRB_ENDPOINT_LIST_H */
