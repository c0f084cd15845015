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

/* A router's item holds the barrier until it is acknowledged or parked. */
extern void mrb_zone_barrier_hold(MrbItem *item);
extern void mrb_zone_barrier_clear(MrbItem *item);

/* A cache's item waits, if it has to; false if it need not.  It leaves. */
extern bool mrb_zone_barrier_wait(MrbItem *item);
extern void mrb_zone_barrier_leave(MrbItem *item);

#endif							/* MRB_ZONE_BARRIER_H */
