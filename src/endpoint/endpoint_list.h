/*-------------------------------------------------------------------------
 *
 * endpoint_list.h
 *	  All endpoints that are enabled.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_LIST_H
#define MRB_ENDPOINT_LIST_H

#include "nodes/pg_list.h"

#include "endpoint/endpoint.h"
#include "route/route.h"

/* Those of stage 0 first. */
extern dlist_head mrb_endpoints;

#define mrb_endpoint_list_foreach(iter) dlist_foreach(iter, &mrb_endpoints)
#define mrb_endpoint_list_current(iter) \
	dlist_container(MrbEndpoint, node, (iter).cur)

/*
 * Read what is set up, in the caller's transaction.  Returns the endpoints
 * that are new or were changed, those of stage 0 first, made in the current
 * context; those that are known and unchanged are marked as listed.  With a
 * name only that one is read, also when it is disabled.
 */
extern List *mrb_endpoint_list_read(int64 term, int64 newest_epoch,
									const char *name);

/* Make the endpoint one of mrb_endpoints; take it away again and free it. */
extern void mrb_endpoint_list_adopt(MrbEndpoint *endpoint, MemoryContext context);
extern void mrb_endpoint_list_drop(MrbEndpoint *endpoint);
extern MrbEndpoint *mrb_endpoint_list_find(const char *name);
extern int	mrb_endpoint_list_count(void);

/* Whether it is told of the deployment. */
extern bool mrb_endpoint_list_selects(const MrbEndpoint *endpoint,
									  const MrbRoute *route);

#endif							/* MRB_ENDPOINT_LIST_H */
