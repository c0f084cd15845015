/*-------------------------------------------------------------------------
 *
 * fanout.h
 *	  Route changes become work for endpoints.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FANOUT_H
#define MRB_FANOUT_H

#include "endpoint/endpoint_list.h"
#include "route/outbox.h"

/*
 * Give every endpoint that is concerned what it lacks; only is NULL for new
 * changes, or the endpoints that are told of old ones again.
 */
extern void mrb_fanout_apply(const MrbRouteChanges *taken, List *only);

#endif							/* MRB_FANOUT_H */
