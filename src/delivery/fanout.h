/*-------------------------------------------------------------------------
 *
 * fanout.h
 *	  Turn route changes into items of endpoints.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FANOUT_H
#define MRB_FANOUT_H

#include "endpoint/endpoint_list.h"
#include "route/outbox.h"

/*
 * Queue each change for the endpoints that it concerns.  With a list of
 * endpoints the changes are old ones, replayed for these; NIL: new changes.
 */
extern void mrb_fanout_apply(const MrbRouteChanges *changes, List *only);

#endif							/* MRB_FANOUT_H */
