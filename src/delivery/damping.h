/*-------------------------------------------------------------------------
 *
 * damping.h
 *	  Damp deployments that change many times within a second.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DAMPING_H
#define MRB_DAMPING_H

#include "delivery/item.h"

/* Milliseconds until the item may be sent again. */
extern int	mrb_damping_wait(const MrbItem *item);

/* Whether the item was sent so recently that it must be kept. */
extern bool mrb_damping_is_hot(const MrbItem *item);

/* The item is being sent. */
extern void mrb_damping_sent(MrbItem *item);

#endif							/* MRB_DAMPING_H */
