/*-------------------------------------------------------------------------
 *
 * handover.h
 *	  Deployments that lose a host wait for the one that gets it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HANDOVER_H
#define MRB_HANDOVER_H

#include "delivery/item.h"

/* How often a waiting item looks again. */
#define MRB_HANDOVER_MS 10

/* Have the item wait for the endpoint's item of another deployment. */
extern void mrb_handover_set(MrbItem *item, MrbRouteEntry *taker);

/* Whether it still has to wait. */
extern bool mrb_handover_waits(MrbItem *item);

/* It waits no longer. */
extern void mrb_handover_clear(MrbItem *item);

#endif							/* MRB_HANDOVER_H */
