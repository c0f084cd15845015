/*-------------------------------------------------------------------------
 *
 * zone_barrier.h
 *	  Caches wait for the routers of their zone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ZONE_BARRIER_H
#define MRB_ZONE_BARRIER_H

#include "delivery/item.h"

typedef void (*MrbZoneBarrierRelease) (MrbItem *item);

extern void mrb_zone_barrier_init(MemoryContext context,
								  MrbZoneBarrierRelease release);

/* A router owes an epoch; it has acknowledged or was given up. */
extern void mrb_zone_barrier_hold(MrbItem *item);
extern void mrb_zone_barrier_clear(MrbItem *item);

/* A cache waits, if it has to; false when it may go on. */
extern bool mrb_zone_barrier_wait(MrbItem *item);
extern void mrb_zone_barrier_leave(MrbItem *item);

#endif							/* MRB_ZONE_BARRIER_H */
