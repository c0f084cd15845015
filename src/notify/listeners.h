/*-------------------------------------------------------------------------
 *
 * listeners.h
 *	  Notify the sessions that LISTEN for route changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_LISTENERS_H
#define MRB_LISTENERS_H

#include "common/registry.h"
#include "route/route.h"

/* Queue a notification of a route change. */
extern void mrb_listeners_add(const MrbRoute *route);

/* Send the queued notifications, if it is time to. */
extern void mrb_listeners_step(MrbRegistrySlot *slot);

#endif							/* MRB_LISTENERS_H */
