/*-------------------------------------------------------------------------
 *
 * listeners.h
 *	  NOTIFY, for edges that listen.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_LISTENERS_H
#define MRB_LISTENERS_H

#include "common/registry.h"
#include "route/route.h"

/* Remember that listeners are to be told of the route. */
extern void mrb_listeners_add(const MrbRoute *route);

/* Tell them, if there is anything and it is time to. */
extern void mrb_listeners_step(MrbRegistrySlot *slot);

#endif							/* MRB_LISTENERS_H */
